"""Published v0.3 to v0.5 by the tables of the schema; `to_published.py` knows the way back.

Both mappings take and give plain JSON and leave what they are given unchanged.
"""

from __future__ import annotations

from typing import Any, Final

from vcp.migrate import made
from vcp.migrate.carry import V03, CarryOver
from vcp.migrate.differences import differences
from vcp.migrate.fields import at, fits, unknown_fields
from vcp.migrate.report import MigrationReport
from vcp.migrate.to_published import to_published
from vcp.models import MESSAGE_SHAPE, VCPMessage
from vcp.scalars import Path
from vcp.versions.forms import PUBLISHED
from vcp.versions.reading import OLDER_FORMS
from vcp.versions.v03 import PublishedMessage

_OLD: Final = OLDER_FORMS[PUBLISHED].shape
_OLD_PAYLOAD: Final = at(_OLD, "vcp_payload")
_NEW_PAYLOAD: Final = at(MESSAGE_SHAPE, "vcp_payload")
_PAYLOAD: Path = ("vcp_payload",)


def from_published(content: dict[str, Any], report: MigrationReport) -> dict[str, Any]:
    """The v0.5 message of a valid published v0.3 one, in normal form, with its carry-over."""
    read = PublishedMessage.model_validate(content)
    message = unknown_fields(content, _OLD, MESSAGE_SHAPE) | {
        "vcp_version": "0.5",
        "vcp_payload": _payload(content["vcp_payload"], read, report),
        "audit": _audit(content["vcp_payload"]["audit"]),
    }
    message = VCPMessage.from_dict(message).to_dict()
    return _with_carry_over(message, content, read)


def _payload(old: dict[str, Any], read: PublishedMessage, report: MigrationReport) -> dict[str, Any]:
    payload = unknown_fields(old, _OLD_PAYLOAD, _NEW_PAYLOAD)
    payload["call"] = _call(old, report)
    payload["model_selection"] = _model_selection(old, report)
    payload["outcomes"] = _outcomes(old["outcomes"], read, report)
    payload["hcr"] = _hcr(old, report)
    payload["artifacts"] = _artifacts(old["artifacts"])
    payload["custom"] = _custom(old["custom"], read)
    told = made.satisfaction(read.vcp_payload.outcomes.perceived) is not None
    payload["provenance"] = _provenance(old, told, report)
    return payload


def _call(payload: dict[str, Any], report: MigrationReport) -> dict[str, Any]:
    old = payload["call"]
    provider_specific = payload["custom"].get("provider_specific") or {}
    call = unknown_fields(old, at(_OLD_PAYLOAD, "call"), at(_NEW_PAYLOAD, "call"))
    way = made.direction(provider_specific, old["provider"])
    if way is not None:
        call.setdefault("direction", way)
    for name in ("call_id", "session_id", "provider", "start_time", "end_time", "duration_sec"):
        call[name] = old[name]
    names = old.get("capabilities_invoked") or []
    call["capabilities_invoked"] = [made.invocation(name, old["start_time"]) for name in names]
    for index, _name in enumerate(names):
        path = (*_PAYLOAD, "call", "capabilities_invoked", index)
        report.made_up(path, "v0.3 tells only the capability's name")
    return call


def _model_selection(payload: dict[str, Any], report: MigrationReport) -> dict[str, Any]:
    old = payload.get("model_selection")
    if old is None:
        report.made_up((*_PAYLOAD, "model_selection"), "the message names no models")
        return made.model_selection(payload["call"]["provider"], payload["call"]["start_time"])
    own, target = at(_OLD_PAYLOAD, "model_selection"), at(_NEW_PAYLOAD, "model_selection")
    selection = unknown_fields(old, own, target)
    selection |= {"policy_id": old["policy_id"], "resolved_at": old["resolved_at"]}
    role, keys = at(target, "roles", "*"), at(target, "roles").keys or ()
    # A role that only v0.5 knows may already stand here.
    selection["roles"] = {name: choice for name, choice in old["roles"].items() if name in keys and fits(choice, role)}
    return selection


def _outcomes(old: dict[str, Any], read: PublishedMessage, report: MigrationReport) -> dict[str, Any]:
    own, target = at(_OLD_PAYLOAD, "outcomes"), at(_NEW_PAYLOAD, "outcomes")
    outcomes = unknown_fields(old, own, target)
    perceived = read.vcp_payload.outcomes.perceived
    outcomes["perceived"] = [made.perceived_words(entry) for entry in perceived]
    outcomes["objective"] = _objective(old["objective"])
    outcomes["perception_gap"] = _gap(old["perception_gap"], read, report)
    score = made.satisfaction(perceived)
    if score is not None:
        outcomes["user_satisfaction_score"] = score
    if "model_outcome_attribution" not in outcomes:
        outcomes["model_outcome_attribution"] = {"roles": {}, "kpis": {}}
        report.made_up((*_PAYLOAD, "outcomes", "model_outcome_attribution"), "v0.3 attributes nothing to models")
    return outcomes


def _objective(old: dict[str, Any]) -> dict[str, Any]:
    own, target = at(_OLD_PAYLOAD, "outcomes", "objective"), at(_NEW_PAYLOAD, "outcomes", "objective")
    criterion = (at(own, "scored_criteria", "*"), at(target, "scored_criteria", "*"))
    criteria = [
        unknown_fields(entry, *criterion) | {name: entry[name] for name in ("id", "met", "evidence_ref")}
        for entry in old["scored_criteria"]
    ]
    return unknown_fields(old, own, target) | {
        "status": made.STATUS_FROM_V03[old["status"]],
        "scored_criteria": criteria,
        "metrics": old["metrics"],
        "confidence": old["confidence"],
    }


def _gap(old: dict[str, Any], read: PublishedMessage, report: MigrationReport) -> dict[str, Any]:
    place = ("outcomes", "perception_gap")
    gap = read.vcp_payload.outcomes.perception_gap
    if gap.gap_score > 1:
        report.warn((*_PAYLOAD, *place, "gap_score"), "gap_score was above 1 and became 1")
    result = unknown_fields(old, at(_OLD_PAYLOAD, *place), at(_NEW_PAYLOAD, *place))
    result |= {"gap_score": min(gap.gap_score, 1.0), "gap_class": made.GAP_CLASS_FROM_V03[gap.gap_class]}
    return result | made.gap_words(gap.drivers)


def _hcr(payload: dict[str, Any], report: MigrationReport) -> dict[str, Any]:
    old = payload.get("hcr")
    if old is None:
        report.made_up((*_PAYLOAD, "hcr"), "the message has no words of its own")
        topic = payload["custom"].get("outcome_hint") or payload["call"]["purpose_contract"]["declared_intent"]
        status = made.STATUS_FROM_V03[payload["outcomes"]["objective"]["status"]]
        return made.hcr(payload["call"]["provider"], topic, status)
    return unknown_fields(old, at(_OLD_PAYLOAD, "hcr"), at(_NEW_PAYLOAD, "hcr")) | {
        "audience": old["audience"],
        "headline": old["headline"],
        "outcome_status": made.STATUS_FROM_V03[old["outcome_status"]],
        "key_points": old.get("key_points") or [],
        "impact_metrics": old.get("impact_metrics") or {},
    }


def _artifacts(old: dict[str, Any]) -> dict[str, Any]:
    return unknown_fields(old, at(_OLD_PAYLOAD, "artifacts"), at(_NEW_PAYLOAD, "artifacts")) | {
        "audio_recording_ref": old.get("recording_url"),
        "transcript_ref": old.get("transcript_url"),
        "provider_raw_payload_ref": old.get("provider_raw_payload_ref"),
    }


def _custom(old: dict[str, Any], read: PublishedMessage) -> dict[str, Any]:
    custom = unknown_fields(old, at(_OLD_PAYLOAD, "custom"), at(_NEW_PAYLOAD, "custom"))
    parts = {name: made.provider_data(part) for name, part in read.vcp_payload.custom.provider_specific.items()}
    custom["provider_specific"] = {name: part for name, part in parts.items() if part is not None}
    return custom


def _provenance(old: dict[str, Any], told: bool, report: MigrationReport) -> dict[str, Any]:
    steps = ["upgraded_from_v0.3"]
    if told:
        steps.append(made.SATISFACTION_STEP)
    report.made_up((*_PAYLOAD, "provenance"), "v0.3 has no provenance")
    return made.provenance(old["call"]["provider"], old["audit"]["received_at"], *steps)


def _audit(old: dict[str, Any]) -> dict[str, Any]:
    return unknown_fields(old, at(_OLD_PAYLOAD, "audit"), at(MESSAGE_SHAPE, "audit")) | {
        "received_at": old["received_at"],
        "processed_at": old["normalized_at"],
        "schema_version": "0.5",
    }


def _with_carry_over(message: dict[str, Any], content: dict[str, Any], read: PublishedMessage) -> dict[str, Any]:
    payload = message["vcp_payload"]
    carry = _carry_over(content["vcp_payload"], read)
    way_back = to_published(message, carry, MigrationReport())
    found = list(differences(way_back, content))
    if found:
        carry.differences = found
    experimental = (payload["custom"].get("experimental") or {}) | {V03: carry.stored()}
    return message | {"vcp_payload": payload | {"custom": payload["custom"] | {"experimental": experimental}}}


def _carry_over(old: dict[str, Any], read: PublishedMessage) -> CarryOver:
    missing = [name for name in ("model_selection", "hcr") if old.get(name) is None]
    carry = CarryOver(shape="published", mode="gtm" if len(missing) == 2 else "full", synthesized=missing)
    carry.purpose_contract = old["call"]["purpose_contract"]
    for name in ("outcome_hint", "synthetic", "synthetic_recipe"):
        if old["custom"].get(name) is not None:
            setattr(carry, name, old["custom"][name])
    outcomes = old["outcomes"]
    if made.STATUS_FROM_V03[outcomes["objective"]["status"]] != outcomes["objective"]["status"]:
        carry.status = outcomes["objective"]["status"]
    if read.vcp_payload.outcomes.perception_gap.gap_score > 1:
        carry.gap_score = outcomes["perception_gap"]["gap_score"]
    carry.perceived = outcomes["perceived"]
    if outcomes["perception_gap"].get("drivers"):
        carry.drivers = outcomes["perception_gap"]["drivers"]
    return carry
