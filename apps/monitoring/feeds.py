"""Our own changes as RSS and Atom: through the API with its login, and for readers at an address with a token."""

import re
from typing import Any
from urllib.parse import urljoin

from django.conf import settings
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import feedgenerator, timezone
from django.utils.crypto import constant_time_compare
from django.utils.html import escape
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from apps.monitoring.feed_tokens import feed_token_of
from apps.monitoring.models import Change
from apps.monitoring.selectors import CHANGES_DAYS, changes, days_before
from apps.providers.models import Provider

FORMATS: dict[str, Any] = {
    "rss": feedgenerator.Rss201rev2Feed,
    "atom": feedgenerator.Atom1Feed,
}
ENTRIES = 50
MAX_DIFF = 4000
# XML has no way to write them.
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@never_cache
@require_safe
def feed_by_token(request: HttpRequest, feed_format: str) -> HttpResponse:
    """For readers that cannot log in. 404 without MONITORING_FEED_TOKEN or with another one: nothing is told."""
    expected = settings.MONITORING_FEED_TOKEN
    if not expected or not constant_time_compare(feed_token_of(request), expected):
        raise Http404
    return feed(changes(days_before(timezone.now(), CHANGES_DAYS)), feed_format)


def feed(rows: QuerySet[Change], feed_format: str) -> HttpResponse:
    """The newest of these changes, at most 50, as `rss` or `atom`. Links lead to the admin, which asks for a login."""
    kind = FORMATS[feed_format]
    written = kind(
        title="VoiceLens: changes at voice-AI providers",
        link=_absolute(reverse("admin:monitoring_change_changelist")),
        description="Outages, changed documentation and webhooks, news of the providers that are watched.",
    )
    names = dict(Provider.objects.values_list("slug", "name"))
    for change in rows.order_by("-detected_at", "-id")[:ENTRIES]:
        written.add_item(**_entry(change, names.get(change.provider, change.provider or "VoiceLens")))
    return HttpResponse(written.writeString("utf-8"), content_type=written.content_type)


def _entry(change: Change, provider: str) -> dict[str, Any]:
    link = _absolute(reverse("admin:monitoring_change_change", args=[change.pk]))
    return {
        "title": _clean(f"[{change.severity}] {provider}: {change.title}"),
        "link": link,
        "description": _clean(_html(change)),
        "unique_id": feedgenerator.get_tag_uri(link, change.detected_at),
        "unique_id_is_permalink": False,
        "pubdate": change.detected_at,
        "updateddate": change.detected_at,
        "categories": [_clean(word) for word in (change.severity, change.change_type, change.provider) if word],
        "author_name": "VoiceLens",
    }


def _html(change: Change) -> str:
    parts = [f"<p>{escape(change.description)}</p>" if change.description else ""]
    if change.diff:
        more = "\n…" if len(change.diff) > MAX_DIFF else ""
        parts.append(f"<pre>{escape(change.diff[:MAX_DIFF])}{more}</pre>")
    if change.url.startswith(("https://", "http://")):
        parts.append(f'<p><a href="{escape(change.url)}">{escape(change.url)}</a></p>')
    return "".join(parts)


def _clean(text: str) -> str:
    return _NOT_IN_XML.sub("", text)


def _absolute(path: str) -> str:
    return urljoin(f"{settings.PUBLIC_BASE_URL}/", path)
