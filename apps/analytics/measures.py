"""What our own traffic says of a provider at a moment, and what is usual there: one function a metric.

Live calls and endpoints only. Every query is bounded by a window and served by an index. What follows from a reading
is known by `traffic`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from statistics import median
from typing import Any

from django.db.models import Count, Min, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from apps.analytics import missing
from apps.analytics.models import DailyProviderStats, TrafficCondition
from apps.analytics.usual import Reading, Share, Verdict, judge, judge_low, quantile
from apps.ingest import notices
from apps.ingest.models import InboundEvent, Message, Refusal, Tally
from apps.providers.models import Endpoint, Environment, Provider

Metric = TrafficCondition.Metric
State = InboundEvent.State
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)
USUAL_DAYS = 14
# A call that ended now may have begun so long ago.
LONGEST_CALL = timedelta(hours=6)
# Silence and volume: the same hours of so many weeks, of which so many must be known; a longer silence counts as one of
# a week.
WEEKS, LEAST_WEEKS = 4, 3
# Whether some calls are usual shows in so many times as many deliveries.
ENOUGH_TIMES = 50
# A delivery is late when it came so much later after its event than 95 % usually do.
LATE_BY_SEC = 30
# Where every delivery must be read, the usual is that of the same time of so many days before.
SAME_TIME_DAYS = 7
LAG_SAMPLE = 5000


def read(provider: Provider, condition: TrafficCondition, now: datetime) -> Reading:
    """What the condition's metric says of the provider in the window that ends `now`."""
    return _MEASURES[Metric(condition.metric)](provider, condition, now)


def endpoints_of(provider: Provider) -> list[int]:
    """Keys of the endpoints where live calls may come in."""
    rows = Endpoint.objects.filter(provider=provider, environment=Environment.LIVE, enabled=True)
    return list(rows.order_by("pk").values_list("pk", flat=True))


def _window(condition: TrafficCondition) -> timedelta:
    return timedelta(minutes=condition.window_min)


def _deliveries(endpoints: Sequence[int], since: datetime, until: datetime) -> QuerySet[InboundEvent]:
    return InboundEvent.objects.filter(endpoint__in=endpoints, received_at__gt=since, received_at__lte=until).order_by()


def _compared(condition: TrafficCondition, window: Share, usual: Share, text: str, **data: Any) -> Reading:
    verdict = judge(window, usual, min_sample=condition.min_sample, factor=condition.factor)
    counts = {"count": window.count, "total": window.total, "share": round(window.value, 4)}
    counts |= {"usual_share": round(usual.value, 4), "usual_total": usual.total, "window_min": condition.window_min}
    return Reading(verdict, text, counts | data)


def _shares(window: Share, usual: Share, days: int) -> str:
    """`30.0 %, usually 3.0 % (14 days): 10.0 times as often`."""
    text = f"{window.value:.1%}, usually {usual.value:.1%} ({days} days)".replace("%", " %")
    return f"{text}: {window.value / usual.value:.1f} times as often" if usual.value and window.count else text


# --- failed calls -------------------------------------------------------------------------------------------------


def _failure_rate(provider: Provider, condition: TrafficCondition, now: datetime) -> Reading:
    found = _ended_calls(provider, now - _window(condition), now)
    usual = _usual_calls(provider, now)
    window = _failed(found)
    apart = [(found[status], status) for status in ("timeout", "unknown") if found[status]]
    text = f"{window.count} of {window.total} calls of the last {condition.window_min} minutes failed: "
    text += f"{_shares(window, _failed(usual), USUAL_DAYS)}."
    if apart:
        text += f" Counted apart: {', '.join(f'{count} {status}' for count, status in apart)}."
    return _compared(condition, window, _failed(usual), text, timeout=found["timeout"], unknown=found["unknown"])


def _ended_calls(provider: Provider, since: datetime, until: datetime) -> Counter[str]:
    """Live calls that ended in that time, by status."""
    rows = Message.objects.filter(
        provider=provider.slug,
        environment=Environment.LIVE,
        start_time__gt=since - LONGEST_CALL,
        start_time__lte=until,
        stage__in=(Message.Stage.ENDED, Message.Stage.ANALYSED),
    ).annotate(ended_at=Coalesce("end_time", "start_time"))
    rows = rows.filter(ended_at__gt=since, ended_at__lte=until)
    return Counter(dict(rows.order_by().values_list("status").annotate(Count("id"))))


def _usual_calls(provider: Provider, now: datetime) -> Counter[str]:
    """Live calls of the days before today, by status."""
    rows = DailyProviderStats.objects.filter(
        provider=provider.slug,
        environment=Environment.LIVE,
        date__gte=now.date() - USUAL_DAYS * DAY,
        date__lt=now.date(),
    )
    sums = rows.aggregate(**{status: Sum(f"{status}_count", default=0) for status in Message.Status.values})
    return Counter(sums)


def _failed(calls: Counter[str]) -> Share:
    """Failures and errors among calls whose outcome is known."""
    failed = calls["failure"] + calls["error"]
    return Share(failed, failed + calls["success"] + calls["partial"])


# --- refused deliveries -------------------------------------------------------------------------------------------

_BECAUSE = {
    "signature_mismatch": "their secret or their way of signing changed",
    "token_mismatch": "their token changed",
    "no_secret": "no secret is entered here",
    "timestamp_too_old": "they send late, or a clock is wrong",
    "timestamp_in_future": "a clock is wrong",
}


def _refused(provider: Provider, condition: TrafficCondition, now: datetime) -> Reading:
    """Of endpoints whose refusals jumped, as the admin tells it: anybody can send something that is refused."""
    mine = set(endpoints_of(provider))
    jumped = [jump.endpoint.pk for jump in notices.jumps(now) if jump.endpoint.pk in mine]
    # Refusals are counted by the hour, so what was accepted is too.
    since = (now - _window(condition)).replace(minute=0, second=0, microsecond=0)
    reasons = _refusals(jumped, since, now)
    window = Share(reasons.total(), reasons.total() + _accepted(jumped, since, now))
    usual = Share(0, 0)
    if jumped:
        before = _refusals(jumped, since - USUAL_DAYS * DAY, since - HOUR).total()
        usual = Share(before, before + _accepted(jumped, since - USUAL_DAYS * DAY, since))
    text = f"{window.count} of {window.total} deliveries since {since:%H:%M} UTC were refused"
    text += f": {_shares(window, usual, USUAL_DAYS)}." if jumped else "; refusals did not jump."
    if reasons:
        [(reason, count)] = reasons.most_common(1)
        likely = f" Most likely {_BECAUSE[reason]}." if reason in _BECAUSE else ""
        text += f" {count} of them: {reason}.{likely}"
    if not jumped:
        return Reading(Verdict.CALM, text, {"count": 0, "window_min": condition.window_min})
    return _compared(condition, window, usual, text, reasons=dict(reasons.most_common()))


def _refusals(endpoints: Sequence[int], since: datetime, until: datetime) -> Counter[str]:
    """By reason; `since` and `until` are hours, both included."""
    rows = Refusal.objects.filter(endpoint__in=endpoints, hour__gte=since, hour__lte=until)
    return Counter(dict(rows.values_list("reason").annotate(Sum("count"))))


def _accepted(endpoints: Sequence[int], since: datetime, until: datetime) -> int:
    return _deliveries(endpoints, since, until).count() if endpoints else 0


# --- silence ------------------------------------------------------------------------------------------------------


def _silence(provider: Provider, condition: TrafficCondition, now: datetime) -> Reading:
    """Nothing came for as long as usually some calls are told of. Calls count, since their deliveries come together."""
    endpoints = endpoints_of(provider)
    last, first = _ends(endpoints, "-received_at"), _ends(endpoints, "received_at")
    if not last or not first:
        return Reading(Verdict.CALM, "Nothing was ever delivered.")
    last_at, first_at = max(last), min(first)
    since = f"The last delivery came at {last_at:%Y-%m-%d %H:%M} UTC."
    data: dict[str, Any] = {"last_delivery_at": last_at.isoformat(), "window_min": condition.window_min}
    if now - last_at < _window(condition):
        return Reading(Verdict.CALM, since, data)
    start = max(last_at, now - WEEK)
    weeks = [k * WEEK for k in range(1, WEEKS + 1) if start - k * WEEK >= first_at]
    if len(weeks) < LEAST_WEEKS:
        return Reading(Verdict.BETWEEN, f"{since} Too little is known of other weeks.", data)
    enough = ENOUGH_TIMES * condition.min_sample
    counts = [_calls_told(endpoints, start - week, now - week, enough) for week in weeks]
    usual = median(counts)
    text = (
        f"{since} In the same hours of the last {len(weeks)} weeks at least {usual:g} calls were told of (the median)."
    )
    verdict = Verdict.RAISED if usual >= condition.min_sample else Verdict.BETWEEN
    return Reading(verdict, text, data | {"usual_calls": usual})


def _ends(endpoints: Sequence[int], order: str) -> list[datetime]:
    """The first arrival of each endpoint in that order: one step into the index each."""
    found = (
        InboundEvent.objects.filter(endpoint=pk).order_by(order).values_list("received_at", flat=True).first()
        for pk in endpoints
    )
    return [at for at in found if at is not None]


def _calls_told(endpoints: Sequence[int], since: datetime, until: datetime, enough: int) -> int:
    """Counts among the first `enough` deliveries: in a long silence of a busy provider there are very many."""
    return len(set(_deliveries(endpoints, since, until).values_list("call_id", flat=True)[:enough]))


# --- volume -------------------------------------------------------------------------------------------------------


def _volume(provider: Provider, condition: TrafficCondition, now: datetime) -> Reading:
    """Far fewer deliveries than in the same hours of other weeks. None at all is the matter of silence."""
    endpoints = endpoints_of(provider)
    until = now.replace(minute=0, second=0, microsecond=0)
    hours = max(1, condition.window_min // 60)
    since = until - hours * HOUR
    count = _counted(endpoints, since, until)
    first_at = Tally.objects.filter(endpoint__in=endpoints).aggregate(at=Min("hour"))["at"]
    weeks = [k * WEEK for k in range(1, WEEKS + 1) if first_at is not None and since - k * WEEK >= first_at]
    text = f"{count} deliveries came from {since:%H:%M} to {until:%H:%M} UTC"
    data: dict[str, Any] = {"count": count, "window_min": 60 * hours}
    if len(weeks) < LEAST_WEEKS:
        return Reading(Verdict.UNSURE, f"{text}. Too little is known of other weeks.", data)
    usual = median(_counted(endpoints, since - week, until - week) for week in weeks)
    text += f"; in the same hours of the last {len(weeks)} weeks at least {usual:g} did (the median)."
    verdict = judge_low(count, usual, min_sample=condition.min_sample, factor=condition.factor)
    if verdict is Verdict.RAISED and not count:
        verdict = Verdict.BETWEEN  # while nothing comes at all, a low volume neither begins nor ends
    return Reading(verdict, text, data | {"usual": usual})


def _counted(endpoints: Sequence[int], since: datetime, until: datetime) -> int:
    """New deliveries of whole hours, as they were counted at the door."""
    rows = Tally.objects.filter(endpoint__in=endpoints, hour__gte=since, hour__lt=until)
    return int(rows.aggregate(n=Sum("accepted", default=0))["n"])


# --- late deliveries ----------------------------------------------------------------------------------------------


def _lag(provider: Provider, condition: TrafficCondition, now: datetime) -> Reading:
    """How long after their events deliveries come, against the same time of the days before."""
    endpoints, window = endpoints_of(provider), _window(condition)
    lags = _lags_sec(endpoints, _within(now - window, now))
    usual = _lags_sec(endpoints, _same_time(now - window, now))
    if len(lags) < condition.min_sample or not usual:
        text = f"{len(lags)} deliveries of the last {condition.window_min} minutes tell the time of their event"
        return Reading(Verdict.UNSURE, f"{text}{'' if usual else '; nothing is known of other days'}.")
    limit = quantile(usual, 0.95) + LATE_BY_SEC
    late, usually_late = (Share(sum(lag > limit for lag in many), len(many)) for many in (lags, usual))
    text = (
        f"{late.count} of {late.total} deliveries of the last {condition.window_min} minutes came more than "
        f"{limit:.0f} s after their event: {_shares(late, usually_late, SAME_TIME_DAYS)}. "
        f"Half came within {quantile(lags, 0.5):.0f} s (usually {quantile(usual, 0.5):.0f} s), "
        f"95 % within {quantile(lags, 0.95):.0f} s (usually {quantile(usual, 0.95):.0f} s)."
    )
    data = {"p50_sec": quantile(lags, 0.5), "p95_sec": quantile(lags, 0.95)}
    data |= {"usual_p50_sec": quantile(usual, 0.5), "usual_p95_sec": quantile(usual, 0.95)}
    return _compared(condition, late, usually_late, text, **data)


def _within(since: datetime, until: datetime) -> Q:
    return Q(received_at__gt=since, received_at__lte=until)


def _same_time(since: datetime, until: datetime) -> Q:
    """That time of the days before."""
    days = (k * DAY for k in range(1, SAME_TIME_DAYS + 1))
    return reduce(or_, (_within(since - day, until - day) for day in days))


def _lags_sec(endpoints: Sequence[int], when: Q) -> list[float]:
    rows = InboundEvent.objects.filter(when, endpoint__in=endpoints).exclude(occurred_at="")
    # The provider's clock may run ahead of ours.
    return [
        max(0.0, (received_at - datetime.fromisoformat(occurred_at)).total_seconds())
        for received_at, occurred_at in rows.order_by().values_list("received_at", "occurred_at")[:LAG_SAMPLE]
    ]


# --- deliveries that cannot be mapped -------------------------------------------------------------------------------


def _processing(provider: Provider, condition: TrafficCondition, now: datetime) -> Reading:
    endpoints, since = endpoints_of(provider), now - _window(condition)
    window = _not_mapped(endpoints, _within(since, now))
    usual = _not_mapped(endpoints, _same_time(since, now))
    text = f"{window.count} of {window.total} deliveries of the last {condition.window_min} minutes could not be mapped"
    text += f": {_shares(window, usual, SAME_TIME_DAYS)}."
    return _compared(condition, window, usual, text + _where(endpoints, since, now) if window.count else text)


def _not_mapped(endpoints: Sequence[int], when: Q) -> Share:
    """Deliveries that failed among those that are worked off."""
    worked_off = ~Q(state__in=(State.RECEIVED, State.WAITING))
    found = InboundEvent.objects.filter(when, endpoint__in=endpoints).aggregate(
        failed=Count("id", filter=Q(state=State.FAILED)), total=Count("id", filter=worked_off)
    )
    return Share(found["failed"], found["total"])


def _where(endpoints: Sequence[int], since: datetime, now: datetime) -> str:
    """Where most of them failed: the event and the place, never a value."""
    failed = _deliveries(endpoints, since, now).filter(state=State.FAILED)
    found = failed.values("event", "error_code", "error_path").annotate(n=Count("id")).order_by("-n", "event")[:1]
    [row] = found
    told = " ".join(filter(None, (row["event"], row["error_code"], row["error_path"])))
    return f" Most of them: {told}." if told else ""


_MEASURES: dict[Metric, Callable[[Provider, TrafficCondition, datetime], Reading]] = {
    Metric.FAILURE_RATE: _failure_rate,
    Metric.REFUSED: _refused,
    Metric.SILENCE: _silence,
    Metric.LAG: _lag,
    Metric.PROCESSING: _processing,
    Metric.VOLUME: _volume,
    Metric.NO_END: missing.no_end,
    Metric.NO_ANALYSIS: missing.no_analysis,
}
