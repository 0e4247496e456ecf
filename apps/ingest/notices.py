"""What an operator must be told of the traffic: refusals that jumped, and endpoints that are asked for decisions.

Read from hourly counts and from one row an event, never from the deliveries. How it is shown is left to the admin.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from apps.ingest import refused
from apps.ingest.models import DecisionRequest, Refusal
from apps.providers.models import Endpoint, Secret

DAY = timedelta(days=1)
USUAL_DAYS = 14
# A jump: within a day at least so many, and so many times the endpoint's usual.
MIN_REFUSED = 10
MIN_TIMES_USUAL = 3
# A jump is over when nothing waits to be checked again, and nothing was refused for so long or since a new secret.
QUIET_AFTER = timedelta(hours=1)
NOTE_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class Jump:
    """An endpoint that refuses far more than usual, mostly for `reason`; `since` is the hour in which that began.

    `count` is of 24 hours, `usual` of its median day; `waiting` can be checked again, `not_kept` could not be kept.
    """

    endpoint: Endpoint
    reason: str
    count: int
    usual: float
    since: datetime
    last_at: datetime
    waiting: int
    not_kept: int


def jumps(now: datetime) -> Iterator[Jump]:
    """The endpoints whose refusals jumped, by name."""
    rows = Refusal.objects.filter(hour__gt=now - (USUAL_DAYS + 1) * DAY).order_by("hour")
    recent = rows.filter(hour__gt=now - DAY).values_list("endpoint", "count")
    totals: Counter[int] = Counter()
    for endpoint_id, count in recent:
        totals[endpoint_id] += count
    many = [endpoint_id for endpoint_id, total in totals.items() if total >= MIN_REFUSED]
    by_endpoint: dict[int, list[Refusal]] = defaultdict(list)
    for row in rows.filter(endpoint__in=many) if many else ():
        by_endpoint[row.endpoint_id].append(row)
    for endpoint in Endpoint.objects.filter(pk__in=many).select_related("provider"):
        found = _jump(endpoint, by_endpoint[endpoint.pk], now)
        if found is not None:
            yield found


def _jump(endpoint: Endpoint, rows: list[Refusal], now: datetime) -> Jump | None:
    """`rows` of the endpoint's last days, oldest first."""
    days: Counter[int] = Counter()
    for row in rows:
        days[(now - row.hour) // DAY] += row.count
    usual = median(days[day] for day in range(1, USUAL_DAYS + 1))
    least = max(MIN_REFUSED, MIN_TIMES_USUAL * usual)
    first_day = next(day for day in range(USUAL_DAYS + 2) if days[day] < least)
    waiting = refused.waiting(now).filter(endpoint=endpoint).count()
    last_at = max(row.last_at for row in rows)
    if first_day == 0 or (not waiting and _over(endpoint, last_at, now)):
        return None
    meant = [row for row in rows if (now - row.hour) // DAY < first_day]
    reasons: Counter[str] = Counter()
    for row in meant:
        reasons[row.reason] += row.count
    [(reason, _)] = reasons.most_common(1)
    return Jump(
        endpoint=endpoint,
        reason=reason,
        count=days[0],
        usual=usual,
        since=next(row.hour for row in meant if row.reason == reason),
        last_at=last_at,
        waiting=waiting,
        not_kept=sum(row.not_kept for row in meant),
    )


def _over(endpoint: Endpoint, last_at: datetime, now: datetime) -> bool:
    entered = Secret.objects.filter(auth_config__endpoint=endpoint, created_at__gt=last_at)
    return now - last_at > QUIET_AFTER or entered.exists()


# --- requests for decisions -------------------------------------------------------------------------------------


def note_decision_request(endpoint_id: int, event: str, now: datetime) -> None:
    """Remember, at most once a minute, that the endpoint was asked for a decision and answered neutrally."""
    noted = DecisionRequest.objects.filter(endpoint_id=endpoint_id, event=event)
    last_at = noted.values_list("last_at", flat=True).first()
    if last_at is None:
        row = DecisionRequest(endpoint_id=endpoint_id, event=event, last_at=now)
        DecisionRequest.objects.bulk_create([row], ignore_conflicts=True)
    elif now - last_at >= NOTE_EVERY:
        noted.update(last_at=now)


def decision_requests(now: datetime) -> list[DecisionRequest]:
    """Those of the last 24 hours, by endpoint and event."""
    lately = DecisionRequest.objects.filter(last_at__gt=now - DAY).select_related("endpoint__provider")
    return list(lately.order_by("endpoint__provider__name", "endpoint__slug", "event"))
