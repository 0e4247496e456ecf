"""Whether VoiceLens itself still does what it is to do: the compatibility cases, the time it takes, the ledger.

A deviation becomes an incident and a change without a provider. The caller tells the time.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from statistics import median

from django.db import transaction

from apps.analytics.models import ProcessingTimes
from apps.analytics.usual import quantile
from apps.ingest import ledger
from apps.ingest.models import Message
from apps.monitoring import incidents
from apps.monitoring.changes import Finding, record
from apps.monitoring.models import Change, ChangeType, Incident, Severity, State
from vcp.compat.answers import answer
from vcp.compat.cases import all_cases
from vcp.compat.judge import Verdict, judge

SOURCE = "self"
# Of so many messages a day, chosen by chance, and of so many days before it.
SAMPLE = 5000
USUAL_DAYS, LEAST_DAYS = 7, 3
MIN_MESSAGES = 200
# A loss of more than 5 %, measured from the slowest of the days before: days differ by themselves.
SLOWER = 1.05
SHOWN = 10

Problem = tuple[str, str, dict[str, object]]  # title, text, data


def check(now: datetime) -> list[Change]:
    """Run all checks of ourselves; gives the changes recorded."""
    yesterday = now.astimezone(UTC).date() - timedelta(days=1)
    told = [
        _tell("compat", compatibility_problem(), "VoiceLens passes its compatibility cases again", now),
        _tell("processing", processing_problem(yesterday), "Processing takes as long as usual again", now),
        _tell("ledger", ledger_problem(), "The ledger adds up again", now),
    ]
    return [change for change in told if change is not None]


@transaction.atomic
def _tell(name: str, problem: Problem | None, right: str, now: datetime) -> Change | None:
    """Open the incident of a problem, or end it where there is none any more; None where nothing changed."""
    key = f"{SOURCE}:{name}"
    if problem is None:
        incident = incidents.resolve(key, now, right)
        if incident is None:
            return None
        return _record(f"{key}:{incident.pk}:over", (right, "", {}), incident, State.UP, now)
    title, text, _ = problem
    incident, is_new = incidents.open_or_worsen(
        key, provider="", title=title, severity=Severity.HIGH, now=now, text=text
    )
    return _record(f"{key}:{incident.pk}:raised", problem, incident, "", now) if is_new else None


def _record(key: str, problem: Problem, incident: Incident, state: str, now: datetime) -> Change | None:
    title, text, data = problem
    finding = Finding(
        key=key,
        provider="",
        source=SOURCE,
        change_type=ChangeType.SERVICE_STATUS,
        title=title,
        description=text,
        data=data,
        state=state,
        severity=Severity.LOW if state else Severity.HIGH,
    )
    return record(finding, now, incident=incident)


# --- the protocol -------------------------------------------------------------------------------------------------


def compatibility_problem() -> Problem | None:
    """None where every compatibility case of the protocol passes, in this very process."""
    cases = all_cases()
    return _deviation(judge(cases, {case.id: answer(case) for case in cases}))


def _deviation(verdict: Verdict) -> Problem | None:
    if verdict.ok:
        return None
    failed = [failure.case.id for failure in verdict.failures]
    rules = sorted(verdict.missed())
    total = len(failed) + len(verdict.passed)
    shown = ", ".join(failed[:SHOWN]) + (", …" if len(failed) > SHOWN else "")
    text = f"{len(failed)} of {total} cases failed: {shown}. Rules that are missed: {', '.join(rules)}. "
    text += "`python -m vcp.compat` tells more."
    return "VoiceLens does not pass its compatibility cases", text, {"failed": failed[:100], "rules": rules}


# --- the ledger -----------------------------------------------------------------------------------------------------


def ledger_problem() -> Problem | None:
    """None where as many deliveries are stored as were accepted, at every endpoint on every day."""
    wrong = ledger.differing(ledger.lines(by="day"))
    if not wrong:
        return None
    shown = "; ".join(map(ledger.explained, wrong[:SHOWN])) + ("; …" if len(wrong) > SHOWN else "")
    data: dict[str, object] = {"differences": [ledger.explained(line) for line in wrong[:100]]}
    return "The ledger does not add up", f"{shown}. `manage.py ledger --all --check` tells more.", data


# --- the time processing takes --------------------------------------------------------------------------------------


def processing_problem(day: date) -> Problem | None:
    """Note how long processing took on that UTC day; None where that is as usual or too little to tell."""
    today = note_processing(day)
    known = ProcessingTimes.objects.filter(date__lt=day, date__gte=day - timedelta(days=USUAL_DAYS))
    before = list(known.filter(messages__gte=MIN_MESSAGES))
    if today is None or today.messages < MIN_MESSAGES or len(before) < LEAST_DAYS:
        return None
    if not all(_slower(getattr(today, name), [getattr(row, name) for row in before]) for name in ("p50_ms", "p95_ms")):
        return None
    parts = [
        f"{label} within {getattr(today, name):.1f} ms (usually {median(getattr(row, name) for row in before):.1f} ms)"
        for label, name in (("half", "p50_ms"), ("95 %", "p95_ms"), ("99 %", "p99_ms"))
    ]
    text = f"Of {today.messages} messages of {day} {', '.join(parts)}. "
    text += f"Usual is the median of the {len(before)} days before."
    data: dict[str, object] = {
        "p50_ms": today.p50_ms,
        "p95_ms": today.p95_ms,
        "p99_ms": today.p99_ms,
        "messages": today.messages,
    }
    return "Processing takes longer than usual", text, data


def _slower(now: float, before: Sequence[float]) -> bool:
    return now > SLOWER * max(before)


def note_processing(day: date) -> ProcessingTimes | None:
    """Measure the messages last written on that UTC day; None without any. Measured again, the row is written anew."""
    start = datetime.combine(day, time.min, tzinfo=UTC)
    rows = Message.objects.filter(updated_at__gte=start, updated_at__lt=start + timedelta(days=1)).order_by()
    # Ids are random, so the first by id are a sample by chance.
    sample = rows.order_by("id").values_list("vcp__audit__processing_duration_ms", flat=True)[:SAMPLE]
    times = [float(ms) for ms in sample if isinstance(ms, int | float)]
    if not times:
        return None
    values = {f"p{part}_ms": quantile(times, part / 100) for part in (50, 95, 99)}
    values |= {"messages": rows.count(), "sampled": len(times)}
    row, _ = ProcessingTimes.objects.update_or_create(date=day, defaults=values)
    return row
