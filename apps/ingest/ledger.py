"""The ledger: what the door accepted held against what is stored, by endpoint and hour or day.

Accepted and repeated come from the door's own count (tally.py), states from the rows, refusals from theirs. So a row
that is lost, or came in around the door, shows as a difference.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from django.db.models import Count, Q, QuerySet, Sum, TextField, Value
from django.db.models.functions import Cast, Substr

from apps.ingest.models import InboundEvent, Refusal, Tally
from apps.ingest.one_view import one_view
from apps.ingest.tally import hour_of
from apps.providers.models import Endpoint

By = Literal["hour", "day", "all"]
State = InboundEvent.State
# The four words of the promise, and the states that each stands for.
WORDS: dict[str, tuple[State, ...]] = {
    "processed": (State.PROCESSED,),
    "waiting": (State.RECEIVED, State.WAITING),
    "failed": (State.FAILED,),
    "ignored": (State.IGNORED, State.STORED, State.ERASED),
}
# How much of a time's text names its period. Both databases write times alike, and their own functions for this take
# SQLite ten times as long.
_LETTERS = {"hour": 13, "day": 10}
_FORMATS = {"hour": "%Y-%m-%d %H", "day": "%Y-%m-%d"}

Place = tuple[datetime | None, str, str]  # start of the period, provider, endpoint


@dataclass(frozen=True)
class Line:
    """What came to one endpoint in one period, and what became of it. `start` is None for all time."""

    start: datetime | None
    provider: str
    endpoint: str
    accepted: int = 0
    repeated: int = 0
    states: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """The deliveries stored, whatever their state."""
        return sum(self.states.values())

    @property
    def difference(self) -> int:
        """Accepted and not there; negative: there and never counted. 0 where the ledger adds up."""
        return self.accepted - self.rows

    @property
    def words(self) -> dict[str, int]:
        """The rows under the four words of the promise; together they are all rows."""
        return {word: sum(self.states.get(state, 0) for state in states) for word, states in WORDS.items()}

    @property
    def all_refused(self) -> int:
        return sum(self.refused.values())


def lines(
    since: datetime | None = None, until: datetime | None = None, by: By = "hour", provider: str = ""
) -> list[Line]:
    """The ledger of [since, until), all of it seen at one moment, newest period first and by provider and endpoint.

    Periods are whole, in UTC: `since` is brought to the beginning of its period and `until` to its end. Periods
    without anything are left out.
    """
    since, until = _bounds(since, until, by)
    with one_view():
        places = {
            pk: (slug, name)
            for pk, slug, name in Endpoint.objects.filter(Q(provider__slug=provider) if provider else Q())
            .order_by()
            .values_list("pk", "provider__slug", "slug")
        }
        counted = list(_within(Tally.objects, "hour", since, until, places, by, Sum("accepted"), Sum("repeated")))
        stored = list(_within(InboundEvent.objects, "received_at", since, until, places, by, Count("pk"), of="state"))
        refused = list(_within(Refusal.objects, "hour", since, until, places, by, Sum("count"), of="reason"))
    return _joined(places, counted, stored, refused, by)


def _bounds(since: datetime | None, until: datetime | None, by: By) -> tuple[datetime | None, datetime | None]:
    length = timedelta(days=1) if by == "day" else timedelta(hours=1)
    first = since and _period_of(since, by)
    last = until and _period_of(until, by)
    return first, last + length if last and until and last < until.astimezone(UTC) else last


def _period_of(moment: datetime, by: By) -> datetime:
    hour = hour_of(moment)
    return hour.replace(hour=0) if by == "day" else hour


def _within(
    rows: Any, column: str, since: datetime | None, until: datetime | None, places: Iterable[int], by: By,
    *sums: Any, of: str = "",
) -> QuerySet[Any, Any]:  # fmt: skip
    """(period, endpoint, [`of`,] sums), grouped by what stands before them."""
    # The endpoints by name: an index begins with them.
    chosen = rows.filter(endpoint_id__in=list(places)).order_by()
    if since:
        chosen = chosen.filter(**{f"{column}__gte": since})
    if until:
        chosen = chosen.filter(**{f"{column}__lt": until})
    period = Value("") if by == "all" else Substr(Cast(column, TextField()), 1, _LETTERS[by])
    groups = ("period", "endpoint_id", of) if of else ("period", "endpoint_id")
    named = {f"sum_{number}": one for number, one in enumerate(sums)}
    found: QuerySet[Any, Any] = chosen.annotate(period=period).values(*groups).annotate(**named)
    return found.values_list(*groups, *named)


def _joined(places: Mapping[int, tuple[str, str]], counted: Any, stored: Any, refused: Any, by: By) -> list[Line]:
    tallies = {(period, endpoint): (accepted, repeated) for period, endpoint, accepted, repeated in counted}
    states, reasons = _by_word(stored), _by_word(refused)
    found = [
        Line(_start(period, by), *places[endpoint], *tallies.get((period, endpoint), (0, 0)),
             states.get((period, endpoint), {}), reasons.get((period, endpoint), {}))
        for period, endpoint in {*tallies, *states, *reasons}
    ]  # fmt: skip
    found.sort(key=lambda line: (line.provider, line.endpoint))
    return sorted(found, key=lambda line: line.start or datetime.min.replace(tzinfo=UTC), reverse=True)


def _by_word(rows: Any) -> dict[tuple[str, int], dict[str, int]]:
    words: dict[tuple[str, int], dict[str, int]] = defaultdict(dict)
    for period, endpoint, word, count in rows:
        words[period, endpoint][word] = count
    return words


def _start(period: str, by: By) -> datetime | None:
    return None if by == "all" else datetime.strptime(period, _FORMATS[by]).replace(tzinfo=UTC)


def together(of: Iterable[Line], *, by_endpoint: bool = False) -> list[Line]:
    """These lines added up over their endpoints: one a period and provider, in their order. `by_endpoint`: over time,
    one an endpoint."""
    sums: dict[Place, list[Counter[str]]] = {}
    for line in of:
        place = (None, line.provider, line.endpoint) if by_endpoint else (line.start, line.provider, "")
        numbers, states, refused = sums.setdefault(place, [Counter(), Counter(), Counter()])
        numbers.update(accepted=line.accepted, repeated=line.repeated)
        states.update(line.states)
        refused.update(line.refused)
    return [
        Line(*place, numbers["accepted"], numbers["repeated"], states, refused)
        for place, (numbers, states, refused) in sums.items()
    ]


def differing(of: Iterable[Line]) -> list[Line]:
    """The lines that do not add up."""
    return [line for line in of if line.difference]


def explained(line: Line) -> str:
    """In words: where, and whether rows are missing or are too many."""
    where = f"{line.start:%Y-%m-%d %H:%M} UTC " if line.start else ""
    missing = f"{line.difference} missing" if line.difference > 0 else f"{-line.difference} never counted"
    return f"{where}{line.provider}/{line.endpoint}: {line.accepted} accepted, {line.rows} stored, {missing}"
