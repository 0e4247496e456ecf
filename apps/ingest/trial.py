"""What VoiceLens would make of captured deliveries: proved, mapped and folded as in earnest, with nothing written.

The same steps as the real path, on rows that are never saved.
"""

from collections.abc import Mapping as MappingType
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

import orjson

from apps.ingest import messages
from apps.ingest.ids import derived_id
from apps.ingest.inbox import storable
from apps.ingest.models import CallKey, InboundEvent
from apps.ingest.reading import Reading, fold_event, of_one_call, read, stored_report, take_out_artifacts
from apps.ingest.url_tokens import token_in
from apps.providers.engine.fold import Folded, fold
from apps.providers.engine.mapping import Mapping, Report
from apps.providers.engine.signatures import Scheme, Secret, SignedRequest, Verdict, best_verdict, verify
from apps.providers.publishing import SAMPLE_TIME
from vcp.errors import PROVIDER_MAPPING_FAILED, ErrorObject

ACCOUNT, ENVIRONMENT, ENDPOINT = "default", "test", "trial"


@dataclass(frozen=True)
class Candidate:
    """A way in which deliveries may be proved."""

    scheme: Scheme
    secrets: tuple[Secret, ...]


@dataclass(frozen=True)
class Subject:
    """The provider as it would run: its mapping, its ways of proof and its names."""

    slug: str
    name: str
    mapping: Mapping
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True)
class Case:
    """One captured delivery. `headers` have lower-case names; `candidates` override the subject's. None: not to be
    proved."""

    body: bytes
    received_at: datetime
    headers: MappingType[str, str] = field(default_factory=dict)
    url: str = ""
    candidates: tuple[Candidate, ...] | None = None


@dataclass
class CaseResult:
    """What one delivery came to."""

    verdict: Verdict
    reading: Reading
    row: InboundEvent
    errors: list[ErrorObject]


@dataclass
class Trial:
    """What the deliveries came to together; `message` is None when they make none, and `errors` says why."""

    cases: list[CaseResult]
    message: dict[str, Any] | None
    cost_usd: Decimal | None
    errors: list[ErrorObject]
    warnings: list[ErrorObject]
    folded: Folded | None = None

    def refuse(self) -> None:
        """What is not authentic becomes nothing."""
        self.message = self.cost_usd = None
        refused = next(one.verdict for one in self.cases if not one.verdict.authentic)
        self.errors.insert(0, ErrorObject("HTTP_401", f"not authentic ({refused.reason.value}): {refused.detail}"))


def sample_case(payload: Any, mapping: Mapping) -> Case:
    """A sample as a delivery: received when it happened, for it has no other clock."""
    occurred_at = mapping.identify(payload).occurred_at
    received_at = datetime.fromisoformat(occurred_at) if occurred_at else SAMPLE_TIME
    return Case(orjson.dumps(payload), received_at)


def prove(case: Case, subject: Subject) -> Verdict:
    """The first way that proves the case, else the verdict that says most."""
    candidates = subject.candidates if case.candidates is None else case.candidates
    request = SignedRequest(case.headers, case.body, "POST", case.url, token_in(case.url))
    verdicts = [verify(way.scheme, way.secrets, request, case.received_at) for way in candidates]
    return best_verdict(verdicts)


def run(cases: Sequence[Case], subject: Subject) -> Trial:
    """Prove, read and fold the cases as deliveries of one call. Never raises for what they hold."""
    results = [_run_case(case, subject) for case in cases]
    errors = [error for result in results for error in result.errors]
    readable = [result for result in results if result.reading.fragment is not None]
    if not readable:
        return Trial(results, None, None, errors, [])
    readings = of_one_call([result.reading for result in readable])
    mine = [result for result in readable if any(result.reading is one for one in readings)]
    key = _key(readings)
    strangers = len(readable) - len(mine)
    if strangers:
        errors.append(_error(subject.slug, f"{strangers} of the cases are of another call than the last one"))
    return _fold(results, mine, key, subject, errors)


def _run_case(case: Case, subject: Subject) -> CaseResult:
    row = _row(case, subject)
    reading = read(row, subject.mapping)
    if reading.fragment is not None:
        reading.artifacts = take_out_artifacts(
            reading, "\x1f".join((reading.provider, ACCOUNT, ENVIRONMENT, reading.call_id))
        )
    row.event, row.rank, row.opens_call = reading.event, reading.rank, reading.opens_call
    row.proves, row.occurred_at = reading.proves, reading.occurred_at
    row.report = stored_report(reading.report)
    errors = []
    if reading.failure is not None:
        failure = reading.failure
        context = {"rule": failure.rule} if failure.rule else {}
        errors.append(ErrorObject(failure.code, failure.detail, failure.path or None, subject.slug, context=context))
    return CaseResult(prove(case, subject), reading, row, errors)


def _row(case: Case, subject: Subject) -> InboundEvent:
    content_type = case.headers.get("content-type", "")
    digest = sha256(case.body).hexdigest()
    kept = storable(subject.mapping, case.body, content_type)
    return InboundEvent(
        delivery_id=derived_id("delivery", subject.slug, ENDPOINT, f"sha256:{digest}"),
        provider=subject.slug,
        account=ACCOUNT,
        environment=ENVIRONMENT,
        received_at=case.received_at,
        content_type=content_type,
        body=kept.body,
        file_id=kept.file.sha256 if kept.file else None,
        body_sha256=digest,
    )


def _key(readings: list[Reading]) -> CallKey:
    """The call of these readings, by that of its names which is no other name of it."""
    aliases = {alias for reading in readings for alias in reading.aliases}
    reading = next((one for one in reversed(readings) if one.call_id not in aliases), readings[-1])
    return CallKey(provider=reading.provider, account=ACCOUNT, environment=ENVIRONMENT, call_id=reading.call_id)


def _fold(
    results: list[CaseResult],
    mine: list[CaseResult],
    key: CallKey,
    subject: Subject,
    errors: list[ErrorObject],
) -> Trial:
    events = [fold_event(result.row, result.reading.fragment) for result in mine]
    folded = fold(events, subject.mapping, messages.context(key, subject.name))
    if folded is None:
        names = ", ".join(sorted({result.reading.event for result in mine}))
        text = f"{names} may not open a call: it waits until another event of its call has come"
        return Trial(results, None, None, [*errors, _error(subject.slug, text)], [])
    now = max(result.row.received_at for result in mine)
    built = messages.build(folded, [], now)
    if built.message is None:
        return Trial(results, None, None, [*errors, *built.errors], [], folded)
    message = messages.plain(built.message, folded, now, 0.0)
    return Trial(results, message, messages.cost_usd(built.message), errors, built.warnings, folded)


def _error(provider: str, text: str) -> ErrorObject:
    return ErrorObject(PROVIDER_MAPPING_FAILED, text, provider=provider)


def _in_words(told: Report, mapping: Mapping) -> dict[str, Any]:
    report = asdict(told)
    for name in ("used", "missing", "defaulted"):
        report[name] = [mapping.rule(number).describe() for number in report[name]]
    report["failed"] = [item | {"rule": mapping.rule(item["rule"]).describe()} for item in report["failed"]]
    return report


def merge_reports(trial: Trial, mapping: Mapping) -> dict[str, Any]:
    """One report over all cases: a rule that any case used is used, one that no case had a source for is missing."""
    merged: dict[str, Any] = {
        "used": [],
        "defaulted": [],
        "missing": [],
        "failed": [],
        "unseen": [],
        "warnings": [],
        "migrations": [],
    }
    reports = [result.reading.report for result in trial.cases]
    reports += [trial.folded.report] if trial.folded is not None else []
    for report in reports:
        for name, items in _in_words(report, mapping).items():
            merged[name] += [item for item in items if item not in merged[name]]
    told = {*merged["used"], *merged["defaulted"]}
    merged["missing"] = [rule for rule in merged["missing"] if rule not in told]
    if trial.folded is not None:
        merged["unseen"] += [item for item in trial.folded.unseen if item not in merged["unseen"]]
    return merged
