"""Looks at pages here and now, and shows what was seen as a table. Ends with 0 where all is up, with 1 where not."""

import sys
from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet
from django.utils import timezone

from apps.monitoring import claims, pages, watch
from apps.monitoring.fetch import default_door
from apps.monitoring.models import Change, Kind, Monitor
from apps.monitoring.outcome import Outcome, Standing
from apps.monitoring.runs import Runner
from apps.providers.models import Provider

# A run in the foreground goes on until all checks were looked at; this only bounds a machine gone wrong.
AT_MOST_SEC = 3600


class Command(BaseCommand):
    help = "Look at all checks that are switched on, or those chosen, and store what was seen, as the service does."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="look at all checks (as without any option)")
        parser.add_argument("--provider", help="only checks of this provider (its slug)")
        parser.add_argument("--kind", choices=Kind.values, help="only checks of this kind")
        parser.add_argument("--test", action="store_true", help="look and show, store and tell nothing")

    def handle(self, *args: Any, provider: str | None, kind: str | None, test: bool, **options: Any) -> None:
        chosen = list(_chosen(provider, kind))
        if not chosen:
            raise CommandError("no check that is switched on fits; see Monitoring, Checks in the admin", returncode=2)
        rows = self._try(chosen) if test else self._look(chosen)
        if any(outcome.standing != Standing.UP for outcome in rows):
            sys.exit(1)

    def _try(self, chosen: Iterable[Monitor]) -> list[Outcome]:
        door, outcomes = default_door(), []
        self._show_head()
        for monitor in chosen:
            before = pages.newest_snapshot(monitor) if monitor.kind in watch.COMPARED else None
            seen = watch.see(monitor, before, door)
            self._show(monitor, seen.outcome)
            if seen.difference is not None:
                self.stdout.write(f"{seen.difference.summary}\n{seen.difference.diff}\n")
            outcomes.append(seen.outcome)
        return outcomes

    def _look(self, chosen: list[Monitor]) -> list[Outcome]:
        ids = [monitor.pk for monitor in chosen]
        claims.make_due(ids, timezone.now())
        done = Runner(default_door(), timezone.now).work(AT_MOST_SEC, only=ids)
        self._show_head()
        for look in sorted(done.looks, key=lambda look: ids.index(look.monitor.pk)):
            self._show(look.monitor, look.seen.outcome)
        left = len(set(ids) - {look.monitor.pk for look in done.looks})
        if left:
            self.stdout.write(f"\n{left} left to a worker that looks at the same hosts just now")
        self._show_changes(done.changes)
        return [look.seen.outcome for look in done.looks]

    def _show_head(self) -> None:
        self.stdout.write(f"{'provider':<18}{'kind':<11}{'stands':<10}{'HTTP':>5}{'ms':>7}  page")

    def _show(self, monitor: Monitor, outcome: Outcome) -> None:
        code, latency = outcome.status_code or "", "" if outcome.latency_ms is None else outcome.latency_ms
        place = f"{monitor.provider.slug:<18}{monitor.kind:<11}{outcome.standing:<10}"
        self.stdout.write(f"{place}{code:>5}{latency:>7}  {monitor.url}")
        if outcome.error:
            self.stdout.write(f"{'':<18}{outcome.error}")

    def _show_changes(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self.stdout.write(f"\n{change.severity}: {change.title}")
            self.stdout.write("\n".join(filter(None, (change.description, change.diff))))


def _chosen(provider: str | None, kind: str | None) -> QuerySet[Monitor]:
    rows = Monitor.objects.filter(enabled=True, provider__monitored=True).select_related("provider", "schedule")
    if provider is not None:
        if not Provider.objects.filter(slug=provider).exists():
            slugs = ", ".join(Provider.objects.order_by("slug").values_list("slug", flat=True))
            raise CommandError(f"--provider {provider}: there is none; there are {slugs or 'none at all'}", returncode=2)
        rows = rows.filter(provider__slug=provider)
    return rows.filter(kind=kind) if kind is not None else rows
