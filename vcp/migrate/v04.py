"""v0.4, complete or not, to v0.5 by the tables of the schema. What v0.5 has no field for goes to the carry-over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from vcp.checksum import jcs
from vcp.migrate import made
from vcp.migrate.carry import V04
from vcp.migrate.fields import at, fits, unknown_fields, wire_form
from vcp.migrate.report import MigrationReport
from vcp.models import MESSAGE_SHAPE, OUTCOME_STATUSES, VCPMessage
from vcp.scalars import Path
from vcp.shape import Shape
from vcp.versions.forms import COMPLETE
from vcp.versions.reading import OLDER_FORMS
from vcp.versions.v03 import PerceivedOutcome

_OLD: Final = OLDER_FORMS[COMPLETE].shape
_OLD_PAYLOAD: Final = at(_OLD, "vcp_payload")
_NEW_PAYLOAD: Final = at(MESSAGE_SHAPE, "vcp_payload")
_PAYLOAD: Path = ("vcp_payload",)
_STEP: Final = "upgraded_from_v0.4"

_STATUS: Final[Mapping[str, str]] = {"completed": "success", "failed": "failure", "filtered": "unknown"}
_STATUS_BY_DISCONNECT: Final[Mapping[str, str]] = {
    "completed": "success",
    "transferred": "partial",
    "timeout": "timeout",
    "technical_error": "error",
}
_GAP_CLASS: Final[Mapping[str, str]] = {
    "aligned": "aligned",
    "minor": "minor_deviation",
    "moderate": "major_deviation",
    "major": "major_deviation",
}


def from_v04(content: dict[str, Any], report: MigrationReport) -> dict[str, Any]:
    """The v0.5 message of a valid v0.4 one, in normal form, with its carry-over."""
    return _Upgrade(wire_form(content, _OLD), report).message()


class _Upgrade:
    """One upgrade: what is found on the way ends in `carry` and `report`."""

    def __init__(self, content: dict[str, Any], report: MigrationReport) -> None:
        self.content = content
        self.old: dict[str, Any] = content["vcp_payload"]
        self.report = report
        self.synthesized: list[str] = []
        self.carry: dict[str, Any] = {"synthesized": self.synthesized}

    def message(self) -> dict[str, Any]:
        old = self.old
        is_complete = "provenance" in old and "consent" in old
        self.carry["shape"] = "complete" if is_complete else "incomplete"
        if self.content.get("call_id", old["call"]["call_id"]) != old["call"]["call_id"]:
            self.carry["call_id"] = self.content["call_id"]
        message = self._kept((), self.content, _OLD, MESSAGE_SHAPE)
        message |= {"vcp_version": "0.5", "vcp_payload": self._payload(), "audit": self._audit()}
        custom = message["vcp_payload"]["custom"]
        custom["experimental"] = custom.get("experimental", {}) | {V04: self.carry}
        return VCPMessage.from_dict(message).to_dict()

    def _kept(self, path: Path, part: dict[str, Any], own: Shape, target: Shape) -> dict[str, Any]:
        """Unknown fields that v0.5 has room for; the others go to the carry-over."""
        kept = unknown_fields(part, own, target)
        for key, value in part.items():
            if key not in kept and own.wire_name(key) not in own.fields:
                self.carry.setdefault("unplaced", []).append({"path": [*path, key], "value": value})
        return kept

    def _kept_at(self, *names: str) -> dict[str, Any]:
        """The unknown fields of a part that has the same place in both versions."""
        part: Any = self.old
        for name in names:
            part = part.get(name, {})
        return self._kept((*_PAYLOAD, *names), part, at(_OLD_PAYLOAD, *names), at(_NEW_PAYLOAD, *names))

    def _make_up(self, reason: str, *names: str) -> None:
        self.synthesized.append(".".join(names))
        self.report.made_up((*_PAYLOAD, *names), reason)

    def _payload(self) -> dict[str, Any]:
        payload = self._kept_at()
        payload["call"] = self._call()
        payload["model_selection"] = self._model_selection(payload)
        payload["outcomes"] = self._outcomes()
        payload["artifacts"] = self._artifacts()
        payload["custom"] = self._custom()
        payload["hcr"] = self._hcr(payload)
        payload["provenance"] = self._provenance()
        if "consent" in self.old:
            payload["consent"] = self._consent(payload["provenance"])
        if made.satisfaction(self._judged()) is not None:
            payload["provenance"]["transformation_history"].append(made.SATISFACTION_STEP)
        return payload

    def _call(self) -> dict[str, Any]:
        old = self.old["call"]
        call = self._kept_at("call")
        call |= {name: old[name] for name in ("call_id", "provider", "start_time", "end_time", "duration_sec")}
        call |= {name: old[name] for name in ("from", "to") if name in old}
        call["session_id"] = old.get("session_id")
        if not (call["session_id"] or "").strip():
            call["session_id"] = old["call_id"]
            self._make_up("the message tells no session: the call_id", "call", "session_id")
        way = old.get("channel") or made.direction(self._provider_specific(), old["provider"])
        if way is not None:
            call["direction"] = way
        names = old.get("capabilities_invoked", [])
        call["capabilities_invoked"] = [made.invocation(name, old["start_time"]) for name in names]
        for index, _name in enumerate(names):
            path = (*_PAYLOAD, "call", "capabilities_invoked", index)
            self.report.made_up(path, "v0.4 tells only the capability's name")
        self._carry("purpose_contract", old)
        return call

    def _carry(self, name: str, part: Mapping[str, Any]) -> None:
        if name in part:
            self.carry[name] = part[name]

    def _provider_specific(self) -> dict[str, Any]:
        return dict(self.old.get("custom", {}).get("provider_specific", {}))

    def _model_selection(self, payload: dict[str, Any]) -> dict[str, Any]:
        if "model_selection" in payload:  # an extension that v0.5 takes as it is
            return dict(payload["model_selection"])
        self._make_up("the message names no models", "model_selection")
        call = self.old["call"]
        return made.model_selection(call["provider"], call["start_time"])

    def _outcomes(self) -> dict[str, Any]:
        old = self.old["outcomes"]
        outcomes = self._kept_at("outcomes")
        outcomes["perceived"] = [_words(entry) for entry in old.get("perceived", [])]
        if old.get("perceived"):
            self.carry["perceived"] = old["perceived"]
        outcomes["objective"] = self._objective()
        outcomes["perception_gap"] = self._gap()
        score = made.satisfaction(self._judged())
        if score is not None:
            outcomes["user_satisfaction_score"] = score
        if "model_outcome_attribution" not in outcomes:
            outcomes["model_outcome_attribution"] = {"roles": {}, "kpis": {}}
            self._make_up("v0.4 attributes nothing to models", "outcomes", "model_outcome_attribution")
        return outcomes

    def _judged(self) -> list[PerceivedOutcome]:
        """The entries that are written as published v0.3 writes them; v0.4 takes any object."""
        found = [_perceived(entry) for entry in self.old["outcomes"].get("perceived", [])]
        return [entry for entry in found if entry is not None]

    def _objective(self) -> dict[str, Any]:
        old = self.old["outcomes"]["objective"]
        result = self._kept_at("outcomes", "objective")
        result["status"] = self._status(old)
        result["scored_criteria"] = self._criteria(old.get("scored_criteria", []))
        result["metrics"] = dict(old.get("metrics", {}))
        if "disconnect_reason" in old:
            result["metrics"]["disconnect_reason"] = old["disconnect_reason"]
        if "confidence" in old:
            result["confidence"] = old["confidence"]
        return result

    def _status(self, old: dict[str, Any]) -> str:
        told = old["status"]
        if told in OUTCOME_STATUSES:
            return str(told)
        self.carry["status"] = told
        return _STATUS.get(told) or _STATUS_BY_DISCONNECT.get(old.get("disconnect_reason", ""), "unknown")

    def _criteria(self, old: list[dict[str, Any]]) -> list[dict[str, Any]]:
        place = at(_NEW_PAYLOAD, "outcomes", "objective", "scored_criteria", "*")
        result = []
        for number, entry in enumerate(old, start=1):
            named = entry if entry.get("id") is not None else entry | {"id": f"criterion_{number}"}
            path = ("outcomes", "objective", "scored_criteria", number - 1)
            if fits(named, place):
                result.append(named)
                if named is not entry:
                    self.report.made_up((*_PAYLOAD, *path, "id"), "the criterion has no id")
            else:
                self.carry.setdefault("scored_criteria", []).append(entry)
                self.report.warn((*_PAYLOAD, *path), "a criterion that v0.5 cannot hold went to the carry-over")
        return result

    def _gap(self) -> dict[str, Any]:
        old = self.old["outcomes"].get("perception_gap")
        if old is None:
            self._make_up("the message assesses no gap", "outcomes", "perception_gap")
            return {"gap_score": 0.0, "gap_class": "aligned", "factors": ["not_assessed"]}
        gap = self._kept_at("outcomes", "perception_gap")
        gap |= {"gap_score": old["gap_score"], "gap_class": _GAP_CLASS[old["gap_class"]]}
        gap["factors"] = old.get("drivers", [])
        if gap["gap_class"] != old["gap_class"]:
            self.carry["gap_class"] = old["gap_class"]
        self._carry("components", old)
        return gap

    def _artifacts(self) -> dict[str, Any]:
        old = self.old.get("artifacts", {})
        names = {
            "recording_url": "audio_recording_ref",
            "transcript_url": "transcript_ref",
            "provider_raw_payload_ref": "provider_raw_payload_ref",
        }
        return self._kept_at("artifacts") | {names[name]: value for name, value in old.items() if name in names}

    def _custom(self) -> dict[str, Any]:
        old = self.old.get("custom", {})
        custom = self._kept_at("custom")
        for name in ("outcome_hint", "synthetic_recipe", "synthetic"):
            self._carry(name, old)
        parts: dict[str, Any] = {}
        for name, part in self._provider_specific().items():
            data = made.provider_data(part)
            if data is not None:
                parts[name] = data
            else:
                path = ["vcp_payload", "custom", "provider_specific", name]
                self.carry.setdefault("unplaced", []).append({"path": path, "value": part})
        self._place_extractions(parts)
        custom["provider_specific"] = parts
        return custom

    def _place_extractions(self, parts: dict[str, Any]) -> None:
        extractions = self.old["outcomes"].get("extractions")
        if extractions is None:
            return
        provider = self.old["call"]["provider"]
        part = parts.get(provider, {"data": {}})
        if "extractions" in part["data"]:
            self.carry["provider_extractions"] = part["data"]["extractions"]
        parts[provider] = part | {"data": part["data"] | {"extractions": extractions}}

    def _hcr(self, payload: dict[str, Any]) -> dict[str, Any]:
        status = payload["outcomes"]["objective"]["status"]
        words = payload.get("hcr")
        if words is None:
            self._make_up("the message has no words of its own", "hcr")
            words = made.hcr(self.old["call"]["provider"], self._topic(), status)
        summary = self.old.get("artifacts", {}).get("summary")
        return words if summary is None else words | {"summary": summary}

    def _topic(self) -> str | None:
        intent = self.old["call"].get("purpose_contract", {}).get("declared_intent")
        topic = self.old.get("custom", {}).get("outcome_hint") or intent
        return topic if isinstance(topic, str) else None

    def _provenance(self) -> dict[str, Any]:
        old = self.old.get("provenance")
        if old is None:
            self._make_up("the message has no provenance", "provenance")
            return made.provenance(self.old["call"]["provider"], self.old["audit"]["received_at"], _STEP)
        self.carry["data_quality_score"] = old["data_quality_score"]
        chain = [*old.get("processing_chain", []), _STEP]
        result = self._kept_at("provenance") | made.provenance(old["source_system"], old["captured_at"], *chain)
        return result | {"created_by": old["captured_by"]}

    def _consent(self, provenance: dict[str, Any]) -> dict[str, Any]:
        """The consent as v0.5 has it; what it says of keeping and hiding data belongs to the provenance there."""
        old = self.old["consent"]
        self.carry["consent"] = old
        provenance["data_retention_policy"] = f"retain_{int(old['data_retention_days'])}_days"
        if old["anonymization_required"]:
            provenance["compliance_flags"] = [*provenance.get("compliance_flags", []), "ANONYMIZATION_REQUIRED"]
        status = "granted" if old["recording_consent"] else "denied"
        if old["consent_method"] == "inferred":
            status = "pending"
        consent = {"consent_id": f"consent_{self.old['call']['call_id']}", "status": status, "version": "v0.4"}
        scope = ["recording"] * (status == "granted") + ["sharing"] * bool(old["sharing_allowed"])
        dates = {"granted_at": old["consent_timestamp"]} if status == "granted" else {}
        return {**consent, "scope": scope, **dates}

    def _audit(self) -> dict[str, Any]:
        old = self.old["audit"]
        kept = self._kept((*_PAYLOAD, "audit"), old, at(_OLD_PAYLOAD, "audit"), at(MESSAGE_SHAPE, "audit"))
        times = {"received_at": old["received_at"], "processed_at": old["normalized_at"]}
        return kept | times | {"schema_version": "0.5"}


def _perceived(entry: dict[str, Any]) -> PerceivedOutcome | None:
    try:
        return PerceivedOutcome.model_validate(entry)
    except ValidationError:
        return None


def _words(entry: dict[str, Any]) -> str:
    judged = _perceived(entry)
    return jcs(entry).decode() if judged is None else made.perceived_words(judged)
