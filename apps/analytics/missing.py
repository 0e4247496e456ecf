"""Calls that lack what usually comes: begun and never ended, ended and never analysed.

Only what the provider's event table knows, and what an account usually gets, can be missing. The last day counts: what
is older will not come any more, and stands in the list of messages. Live calls only.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.db.models import QuerySet
from django.db.models.functions import Coalesce
from django.urls import reverse

from apps.analytics.models import TrafficCondition
from apps.analytics.usual import Reading, Verdict
from apps.ingest.models import Message
from apps.providers import registry
from apps.providers.engine.spec import STAGES
from apps.providers.models import Environment, Provider

Stage = Message.Stage
DAY = timedelta(days=1)
# What an account usually gets is seen in so many calls of each of so many days, where there are as many as the least.
USUAL_DAYS, SAMPLE_A_DAY, LEAST_SAMPLE = 7, 100, 5
SHOWN = 5


def no_end(provider: Provider, condition: TrafficCondition, now: datetime) -> Reading:
    """Calls that began more than the condition's minutes ago and have no end. Of an account about which too little is
    known, every one counts."""
    return _missing(provider, condition, now, Stage.IN_PROGRESS, "an end", known_only=False)


def no_analysis(provider: Provider, condition: TrafficCondition, now: datetime) -> Reading:
    """Calls that ended more than the condition's minutes ago and have no analysis. Many never order one: only accounts
    that are known to get it count."""
    return _missing(provider, condition, now, Stage.ENDED, "their analysis", known_only=True)


def _missing(
    provider: Provider, condition: TrafficCondition, now: datetime, lacking: Stage, what: str, *, known_only: bool
) -> Reading:
    if not _is_told(provider, lacking):
        return Reading(Verdict.CALM, f"The event table knows nothing that tells of {what}.", {"count": 0})
    until = now - timedelta(minutes=condition.window_min)
    calls = _calls(provider, until - DAY, until).filter(stage=lacking, ended_at__lte=until)
    usual = _usual(provider, until, lacking, and_today=known_only)
    if known_only:
        calls = calls.filter(account__in=[account for account, gets in usual.items() if gets])
    else:
        calls = calls.exclude(account__in=[account for account, gets in usual.items() if not gets])
    count = calls.count()
    first = list(calls.order_by("start_time", "pk").values_list("call_id", "pk")[:SHOWN])
    return _reading(provider, condition, lacking, what, until, count, first)


def _reading(
    provider: Provider,
    condition: TrafficCondition,
    lacking: Stage,
    what: str,
    until: datetime,
    count: int,
    first: Sequence[tuple[str, Any]],
) -> Reading:
    since = f"since {until - DAY:%Y-%m-%d %H:%M} UTC"
    text = f"{count or 'No'} call{'s' * (count > 1)} {since} waited more than {condition.window_min} minutes for {what}"
    named = ", ".join(call_id for call_id, _ in first)
    text += f": {named}{' …' if count > len(first) else ''}." if first else "."
    query = urlencode({"provider": provider.slug, "environment__exact": "live", "missing": lacking.value})
    data = {
        "count": count,
        "window_min": condition.window_min,
        "first": [{"call_id": call_id, "message": str(pk)} for call_id, pk in first],
        "url": f"{settings.PUBLIC_BASE_URL}{reverse('admin:ingest_message_changelist')}?{query}",
    }
    raised = Verdict.RAISED if count >= condition.min_sample else Verdict.BETWEEN
    return Reading(raised if count else Verdict.CALM, text, data)


def _is_told(provider: Provider, lacking: Stage) -> bool:
    """Whether an event of the published mapping proves a later stage."""
    runtime = registry.provider(provider.slug)
    later = STAGES[STAGES.index(lacking.value) + 1 :]
    return runtime is not None and any(event.proves in later for event in runtime.mapping.spec.events)


def _calls(provider: Provider, since: datetime, until: datetime) -> QuerySet[Any]:
    """Calls that began in that time, with the time of their end as far as it is known."""
    rows = Message.objects.filter(provider=provider.slug, environment=Environment.LIVE)
    rows = rows.filter(start_time__gt=since, start_time__lte=until)
    return rows.annotate(ended_at=Coalesce("end_time", "start_time"))


def _usual(provider: Provider, until: datetime, lacking: Stage, *, and_today: bool) -> dict[str, bool]:
    """By account whether at least half of its calls get beyond that stage, as the days before the last one show;
    `and_today`: the last one too where they show too little. Accounts with too few calls are left out."""
    seen: dict[str, Counter[bool]] = {}
    for day in range(1, USUAL_DAYS + 1):
        _sample(seen, provider, until - day * DAY, lacking)
    if and_today and all(counts.total() < LEAST_SAMPLE for counts in seen.values()):
        _sample(seen, provider, until, lacking)
    known = {account: counts for account, counts in seen.items() if counts.total() >= LEAST_SAMPLE}
    return {account: counts[True] >= counts[False] for account, counts in known.items()}


def _sample(seen: dict[str, Counter[bool]], provider: Provider, until: datetime, lacking: Stage) -> None:
    """Counts by account the newest calls of the day that ends at `until`: did they get beyond that stage?"""
    rows = _calls(provider, until - DAY, until).order_by("-start_time", "-id")
    if lacking == Stage.ENDED:
        rows = rows.exclude(stage=Stage.IN_PROGRESS)  # without an end there is nothing to analyse
    beyond = STAGES[STAGES.index(lacking.value) + 1 :]
    for account, stage in rows.values_list("account", "stage")[:SAMPLE_A_DAY]:
        seen.setdefault(account, Counter())[stage in beyond] += 1
