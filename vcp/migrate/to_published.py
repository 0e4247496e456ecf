"""v0.5 to published v0.3: the tables backwards, and what the carry-over of an earlier upgrade still knows.

What v0.3 cannot hold is left out; `route.py` finds out what that was.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from vcp.migrate import made
from vcp.migrate.carry import CarryOver
from vcp.migrate.fields import at, fits, unknown_fields
from vcp.migrate.report import MigrationReport
from vcp.models import MESSAGE_SHAPE
from vcp.scalars import Path, wire_timestamp
from vcp.versions.forms import PUBLISHED
from vcp.versions.reading import OLDER_FORMS
from vcp.versions.rules import is_uuid
from vcp.versions.v03 import GapDriver, PerceivedOutcome

_NEW: Final = OLDER_FORMS[PUBLISHED].shape
_NEW_PAYLOAD: Final = at(_NEW, "vcp_payload")
_OLD_PAYLOAD: Final = at(MESSAGE_SHAPE, "vcp_payload")
_PAYLOAD: Path = ("vcp_payload",)
_WORDS: Final = re.compile(r"(?s)(\w+): sentiment (\S+) by (.+), confidence (\S+)")
_STATUS: Final[Mapping[str, str]] = {
    "success": "success",
    "partial": "partial",
    "failure": "failed",
    "timeout": "failed",
    "error": "failed",
    "unknown": "filtered",
}
_GAP_CLASS: Final[Mapping[str, str]] = {
    "aligned": "aligned",
    "minor_deviation": "mild_misalignment",
    "major_deviation": "significant_gap",
    "contradictory": "significant_gap",
}


def to_published(message: dict[str, Any], carry: CarryOver | None, report: MigrationReport) -> dict[str, Any]:
    """The published v0.3 message of a v0.5 one in normal form; `differences` of the carry-over are left out."""
    old = message["vcp_payload"]
    payload = unknown_fields(old, _OLD_PAYLOAD, _NEW_PAYLOAD)
    payload["call"] = _call(old["call"], carry, report)
    payload["outcomes"] = _outcomes(old, payload["call"], carry, report)
    payload["artifacts"] = _artifacts(old["artifacts"])
    payload["custom"] = _custom(old, payload["call"], carry)
    payload["audit"] = _audit(message["audit"], report)
    synthesized = carry.synthesized if carry else []
    if not ("model_selection" in synthesized and _is_made_selection(old)):
        payload["model_selection"] = _model_selection(old["model_selection"])
    if not ("hcr" in synthesized and _is_made_hcr(old, payload)):
        payload["hcr"] = _hcr(old["hcr"])
    wrapper = {"call_id": payload["call"]["call_id"], "vcp_version": "0.3", "vcp_payload": payload}
    return unknown_fields(message, MESSAGE_SHAPE, _NEW) | wrapper


def _call(old: dict[str, Any], carry: CarryOver | None, report: MigrationReport) -> dict[str, Any]:
    call = unknown_fields(old, at(_OLD_PAYLOAD, "call"), at(_NEW_PAYLOAD, "call"))
    call |= {name: old[name] for name in ("session_id", "provider", "start_time")}
    call["call_id"] = _call_id(old, report)
    call["end_time"] = old.get("end_time") or _end_time(old, report)
    call["duration_sec"] = _duration_sec(old, call["end_time"], report)
    call["capabilities_invoked"] = [
        capability if isinstance(capability, str) else capability["capability_id"]
        for capability in old["capabilities_invoked"]
    ]
    purpose = carry.purpose_contract if carry else None
    if purpose is None:
        purpose = {"declared_intent": "unknown", "success_criteria": []}
        report.made_up((*_PAYLOAD, "call", "purpose_contract"), "v0.5 has no purpose contract")
    call["purpose_contract"] = purpose
    return call


def _call_id(call: dict[str, Any], report: MigrationReport) -> str:
    """v0.3 takes only UUIDs: any other id becomes one that follows from provider and id."""
    call_id = str(call["call_id"])
    if is_uuid(call_id):
        return call_id
    report.made_up((*_PAYLOAD, "call", "call_id"), "the call's id is no UUID; one was derived from provider and id")
    return _derived_uuid(f"{call['provider']}:{call_id}")


def _derived_uuid(name: str) -> str:
    """A UUID of version 8 (RFC 9562): the first bits of the name's SHA-256."""
    digits = hashlib.sha256(name.encode()).hexdigest()
    variant = "89ab"[int(digits[16], 16) % 4]
    return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def _end_time(call: dict[str, Any], report: MigrationReport) -> str:
    report.made_up((*_PAYLOAD, "call", "end_time"), "v0.3 needs an end: start_time plus duration_sec")
    start = datetime.fromisoformat(call["start_time"])
    try:
        return wire_timestamp(start + timedelta(seconds=call.get("duration_sec") or 0))
    except OverflowError:
        return wire_timestamp(start)


def _duration_sec(call: dict[str, Any], end_time: str, report: MigrationReport) -> int:
    if call.get("duration_sec") is not None:
        return int(call["duration_sec"])
    report.made_up((*_PAYLOAD, "call", "duration_sec"), "v0.3 needs a duration: end_time minus start_time")
    span = datetime.fromisoformat(end_time) - datetime.fromisoformat(call["start_time"])
    return int(span.total_seconds() + 0.5)


def _outcomes(
    old: dict[str, Any], call: dict[str, Any], carry: CarryOver | None, report: MigrationReport
) -> dict[str, Any]:
    outcomes = old["outcomes"]
    result = unknown_fields(outcomes, at(_OLD_PAYLOAD, "outcomes"), at(_NEW_PAYLOAD, "outcomes"))
    result["perceived"] = _perceived(old, carry)
    result["objective"] = _objective(outcomes["objective"], call, carry, report)
    result["perception_gap"] = _gap(outcomes["perception_gap"], carry, report)
    return result


def _perceived(old: dict[str, Any], carry: CarryOver | None) -> list[dict[str, Any]]:
    pool = list(carry.perceived) if carry else []
    entries = []
    for words in old["outcomes"]["perceived"]:
        entry = next((one for one in pool if _words_of(one) == words), None)
        if entry is not None:
            pool.remove(entry)
        else:
            entry = _perceived_of(words)
        if entry is not None:
            entries.append(entry)
    return _with_changed_satisfaction(entries, old)


def _words_of(entry: Any) -> str | None:
    try:
        return made.perceived_words(PerceivedOutcome.model_validate(entry))
    except ValidationError:
        return None


def _perceived_of(words: str) -> dict[str, Any] | None:
    match = _WORDS.fullmatch(words)
    if match is None:
        return None
    by, score, model, confidence = match.groups()
    try:
        entry = {"by": by, "sentiment": {"model": model, "score": float(score)}, "confidence": float(confidence)}
    except ValueError:
        return None
    return entry if _words_of(entry) == words else None


def _with_changed_satisfaction(entries: list[dict[str, Any]], old: dict[str, Any]) -> list[dict[str, Any]]:
    """A score that the upgrade took from the caller's sentiment goes back there, also when it was changed since."""
    score = old["outcomes"].get("user_satisfaction_score")
    was_taken = made.SATISFACTION_STEP in old["provenance"]["transformation_history"]
    callers = [index for index, entry in enumerate(entries) if entry["by"] == "caller"]
    if score is None or not was_taken or len(callers) != 1:
        return entries
    entry = entries[callers[0]]
    if float(entry["sentiment"]["score"]) == score:
        return entries
    changed = entry | {"sentiment": entry["sentiment"] | {"score": score}}
    return [changed if index == callers[0] else one for index, one in enumerate(entries)]


def _objective(
    old: dict[str, Any], call: dict[str, Any], carry: CarryOver | None, report: MigrationReport
) -> dict[str, Any]:
    path: Path = (*_PAYLOAD, "outcomes", "objective")
    own, target = at(_OLD_PAYLOAD, "outcomes", "objective"), at(_NEW_PAYLOAD, "outcomes", "objective")
    if old.get("confidence") is None:
        report.made_up((*path, "confidence"), "v0.3 needs a confidence; the message tells none")
    return unknown_fields(old, own, target) | {
        "status": _status(old["status"], carry),
        "scored_criteria": [_criterion(entry, index, report) for index, entry in enumerate(old["scored_criteria"])],
        "metrics": _metrics(old["metrics"], call, report),
        "confidence": old.get("confidence") or 0.0,
    }


def _status(status: str, carry: CarryOver | None) -> str:
    kept = carry.status if carry else None
    return kept if isinstance(kept, str) and made.STATUS_FROM_V03.get(kept) == status else _STATUS[status]


def _criterion(old: dict[str, Any], index: int, report: MigrationReport) -> dict[str, Any]:
    place = ("outcomes", "objective", "scored_criteria")
    evidence = old.get("evidence_ref") or ""
    if not evidence.strip():
        evidence = "not_recorded"
        report.made_up((*_PAYLOAD, *place, index, "evidence_ref"), "v0.3 needs an evidence_ref")
    kept = unknown_fields(old, at(_OLD_PAYLOAD, *place, "*"), at(_NEW_PAYLOAD, *place, "*"))
    return kept | {"id": old["id"], "met": old["met"], "evidence_ref": evidence}


def _metrics(old: dict[str, Any], call: dict[str, Any], report: MigrationReport) -> dict[str, Any]:
    place = ("outcomes", "objective", "metrics")
    known = at(_NEW_PAYLOAD, *place).fields
    metrics = {key: value for key, value in old.items() if key not in known or fits(value, known[key])}
    needed = {"aht_sec": call["duration_sec"], "first_contact_resolution": False}
    for name, value in needed.items():
        if name not in metrics:
            metrics[name] = value
            report.made_up((*_PAYLOAD, *place, name), "v0.3 needs this metric; the message tells none")
    return metrics


def _gap(old: dict[str, Any], carry: CarryOver | None, report: MigrationReport) -> dict[str, Any]:
    place = ("outcomes", "perception_gap")
    result = unknown_fields(old, at(_OLD_PAYLOAD, *place), at(_NEW_PAYLOAD, *place))
    kept = carry.gap_score if carry else None
    was_capped = old["gap_score"] == 1 and kept is not None
    result |= {"gap_score": kept if was_capped else old["gap_score"], "gap_class": _GAP_CLASS[old["gap_class"]]}
    result["drivers"] = _carried_drivers(old, carry) or _drivers(old, report)
    return result


def _carried_drivers(old: dict[str, Any], carry: CarryOver | None) -> list[Any] | None:
    kept = carry.drivers if carry else []
    try:
        words = made.gap_words([GapDriver.model_validate(one) for one in kept])
    except ValidationError:
        return None
    unchanged = (old.get("factors") or [], old.get("analysis")) == (words["factors"], words["analysis"])
    return kept if unchanged else None


def _drivers(old: dict[str, Any], report: MigrationReport) -> list[dict[str, Any]]:
    factors = [factor for factor in old.get("factors") or [] if factor.strip()]
    drivers: list[dict[str, Any]] = [{"type": factor, "weight": round(1 / len(factors), 4)} for factor in factors]
    if drivers:
        path = (*_PAYLOAD, "outcomes", "perception_gap", "drivers")
        report.made_up(path, "v0.3 needs a weight for each driver; all got the same")
        if old.get("analysis"):
            drivers[0]["note"] = old["analysis"]
    return drivers


def _artifacts(old: dict[str, Any]) -> dict[str, Any]:
    names = {
        "recording_url": "audio_recording_ref",
        "transcript_url": "transcript_ref",
        "provider_raw_payload_ref": "provider_raw_payload_ref",
    }
    kept = unknown_fields(old, at(_OLD_PAYLOAD, "artifacts"), at(_NEW_PAYLOAD, "artifacts"))
    return kept | {new: old[name] for new, name in names.items() if old.get(name) is not None}


def _custom(old: dict[str, Any], call: dict[str, Any], carry: CarryOver | None) -> dict[str, Any]:
    parts = {name: part["data"] for name, part in old["custom"]["provider_specific"].items()}
    way = old["call"].get("direction")
    provider = call["provider"]
    if way is not None and made.direction(parts, provider) != way:
        parts[provider] = parts.get(provider, {}) | {"channel": way}
    custom = unknown_fields(old["custom"], at(_OLD_PAYLOAD, "custom"), at(_NEW_PAYLOAD, "custom"))
    custom["provider_specific"] = parts
    for name in ("outcome_hint", "synthetic", "synthetic_recipe"):
        value = getattr(carry, name) if carry else None
        if value is not None:
            custom[name] = value
    return custom


def _audit(old: dict[str, Any], report: MigrationReport) -> dict[str, Any]:
    if old.get("processed_at") is None:
        report.made_up((*_PAYLOAD, "audit", "normalized_at"), "v0.3 needs a time of processing: received_at")
    return unknown_fields(old, at(MESSAGE_SHAPE, "audit"), at(_NEW_PAYLOAD, "audit")) | {
        "received_at": old["received_at"],
        "normalized_at": old.get("processed_at") or old["received_at"],
        "schema_version": "0.3",
    }


def _is_made_selection(old: dict[str, Any]) -> bool:
    return bool(old["model_selection"] == made.model_selection(old["call"]["provider"], old["call"]["start_time"]))


def _is_made_hcr(old: dict[str, Any], payload: dict[str, Any]) -> bool:
    """Whether these are still the upgrade's words; the status in them follows the outcome's."""
    topic = payload["custom"].get("outcome_hint") or payload["call"]["purpose_contract"].get("declared_intent")
    words = made.hcr(old["call"]["provider"], topic, old["hcr"]["outcome_status"])
    return bool(old["hcr"] == {**words, "key_points": [], "impact_metrics": {}})


def _model_selection(old: dict[str, Any]) -> dict[str, Any]:
    own, target = at(_OLD_PAYLOAD, "model_selection"), at(_NEW_PAYLOAD, "model_selection")
    roles = at(target, "roles").fields
    return unknown_fields(old, own, target) | {
        "policy_id": old["policy_id"],
        "resolved_at": old["resolved_at"],
        "roles": {name: _role(choice) for name, choice in old["roles"].items() if name in roles},
    }


def _role(old: dict[str, Any]) -> dict[str, Any]:
    own, target = at(_OLD_PAYLOAD, "model_selection", "roles", "*"), at(_NEW_PAYLOAD, "model_selection", "roles", "LLM")
    kept = unknown_fields(old, own, target)
    return kept | {name: old[name] for name in ("chosen", "alternatives", "reason")}


def _hcr(old: dict[str, Any]) -> dict[str, Any]:
    own, target = at(_OLD_PAYLOAD, "hcr"), at(_NEW_PAYLOAD, "hcr")
    hcr = unknown_fields(old, own, target) | {name: old[name] for name in ("audience", "headline", "key_points")}
    hcr["outcome_status"] = _STATUS[old["outcome_status"]]
    if fits(old["impact_metrics"], at(target, "impact_metrics")):
        hcr["impact_metrics"] = old["impact_metrics"]
    return hcr
