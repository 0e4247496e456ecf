"""Which checks there are: one for each page of a provider, as far as nobody decided otherwise.

A check that somebody edited is that person's. A page that goes takes an unedited check out of service; it is switched
off, not deleted, so its history stays.
"""

from apps.monitoring import schedules
from apps.monitoring.models import Kind, Monitor
from apps.providers.models import Provider

Origin = Monitor.Origin
# The kind of a page, and what it is watched as. A status page for people is only asked whether it answers, and only
# where there is none for machines.
KIND_OF_PAGE = {
    "api": Kind.HEALTH,
    "status_json": Kind.STATUS,
    "docs": Kind.DOCS,
    "openapi": Kind.OPENAPI,
    "changelog": Kind.CHANGELOG,
    "feed": Kind.FEED,
}
# What an admin edits; a difference makes the check that person's own.
SETTINGS = (
    "kind", "url", "enabled", "selector", "ignored_selectors", "ok_statuses", "latency_budget_ms", "timeout_sec",
    "down_after", "up_after", "schedule",
)  # fmt: skip
PAGE_GONE = "switched off: its page is no longer among the provider's pages"


def ensure_monitors(provider: Provider) -> list[Monitor]:
    """Create the checks of the provider's pages that are missing, and their schedules; gives those created.

    Unedited checks whose page went are switched off, and on again when it returns.
    """
    wanted = _wanted(provider)
    there = {(row.kind, row.page_url): row for row in provider.monitors.exclude(page_url="")}
    edited = {row.page_url for row in there.values() if row.origin == Origin.ADMIN}
    taken = set(provider.monitors.values_list("kind", "url"))
    for key, row in there.items():
        _switch(row, on=key in wanted)
    missing = [key for key in wanted if key not in there and key not in taken and key[1] not in edited]
    created = [
        Monitor.objects.create(provider=provider, kind=kind, url=url, page_url=url, origin=Origin.CATALOGUE)
        for kind, url in missing
    ]
    if created:
        schedules.ensure_schedules(provider)
    return created


def _wanted(provider: Provider) -> list[tuple[str, str]]:
    pages = [(page["kind"], page["url"]) for page in provider.pages]
    found = [(KIND_OF_PAGE[kind].value, url) for kind, url in pages if kind in KIND_OF_PAGE]
    if "status_json" not in {kind for kind, _ in pages}:
        found += [(Kind.HEALTH.value, url) for kind, url in pages if kind == "status"]
    return list(dict.fromkeys(found))


def _switch(monitor: Monitor, *, on: bool) -> None:
    if monitor.origin == Origin.CATALOGUE and monitor.enabled != on:
        # By a query: saving it would make it an edited one.
        Monitor.objects.filter(pk=monitor.pk).update(enabled=on, last_error="" if on else PAGE_GONE)


def is_edited(monitor: Monitor) -> bool:
    """Whether a stored check is about to be saved with other settings."""
    stored = Monitor.objects.filter(pk=monitor.pk).first()
    columns = ["schedule_id" if name == "schedule" else name for name in SETTINGS]
    return stored is not None and any(getattr(monitor, name) != getattr(stored, name) for name in columns)
