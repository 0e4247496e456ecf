"""From a folded call to the stored message: checked, sealed, its hot columns read off it, compared with what is
there."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import orjson
from django.conf import settings

from apps.ingest.ids import artifact_id, artifact_ref, call_text
from apps.ingest.models import CallKey, Message
from apps.ingest.pseudonyms import pseudonym
from apps.providers import registry
from apps.providers.engine.fold import Context, Folded, sort_keys
from apps.providers.engine.mapping import BELOW
from vcp import VCPMessage, checksum, validate
from vcp.errors import SCHEMA_VALIDATION_FAILED, ErrorObject

# Left out when two messages are compared: they differ at every processing.
PROCESSING_FIELDS = ("processed_at", "processing_duration_ms", "checksum")


@dataclass(frozen=True)
class Built:
    """A message that is valid and may be stored, or the errors why not."""

    message: VCPMessage | None
    errors: list[ErrorObject]
    warnings: list[ErrorObject]


def context(key: CallKey, provider_name: str, corrections: Sequence[dict[str, Any]] = ()) -> Context:
    name = call_text(key.provider, key.account, key.environment, key.call_id)
    return Context(
        provider=key.provider,
        provider_name=provider_name,
        call_id=key.call_id,
        retention_policy=settings.DATA_RETENTION_POLICY,
        pseudonym=lambda number: pseudonym(key.provider, number),
        corrections={item["path"]: item["value"] for item in corrections},
        artifact_ref=lambda kind, content: artifact_ref(artifact_id(name, kind, content)),
        prices=lambda model, at_iso: registry.rates(key.provider, model, datetime.fromisoformat(at_iso)),
    )


def build(folded: Folded, corrections: list[dict[str, Any]], now: datetime) -> Built:
    """Check the folded message, corrections of people laid on top."""
    raw = apply_corrections(folded.message, corrections)
    report = validate(raw, now=now)
    errors = report.errors or _beyond_columns(report.message)
    return Built(None if errors else report.message, errors, report.warnings)


def _beyond_columns(message: VCPMessage | None) -> list[ErrorObject]:
    """What the protocol allows and the database's columns cannot hold."""
    if message is None:
        return []
    told = {
        "call.duration_sec": message.vcp_payload.call.duration_sec,
        "outcomes.model_outcome_attribution.total_cost_usd": cost_usd(message),
    }
    return [
        ErrorObject(SCHEMA_VALIDATION_FAILED, f"must be below {BELOW[path]:g}", f"$.vcp_payload.{path}")
        for path, value in told.items()
        if value is not None and value >= BELOW[path]
    ]


def apply_corrections(message: dict[str, Any], corrections: list[dict[str, Any]]) -> dict[str, Any]:
    """The message with each corrected path set and noted in provenance; the given message is left as it is."""
    if not corrections:
        return message
    corrected = orjson.loads(orjson.dumps(message))
    payload = corrected["vcp_payload"]
    corrected["audit"].pop("checksum", None)  # that of a ready-made message was of its uncorrected content
    for correction in corrections:
        _set(payload, correction["path"].split("."), correction["value"])
    objective = payload["outcomes"].get("objective") if isinstance(payload.get("outcomes"), dict) else None
    if isinstance(payload.get("hcr"), dict) and isinstance(objective, dict) and "status" in objective:
        # One truth for the outcome: what people read follows what was measured.
        payload["hcr"]["outcome_status"] = objective["status"]
    history = payload["provenance"].setdefault("transformation_history", [])
    history += [f"corrected:{item['path']} by {item['author']} at {item['at']}" for item in corrections]
    return corrected  # type: ignore[no-any-return]


def _set(node: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        inner = node.get(key)
        node = inner if isinstance(inner, dict) else node.setdefault(key, {})
    if value is None:
        node.pop(keys[-1], None)
    else:
        node[keys[-1]] = value


def content_digest(message: dict[str, Any]) -> str:
    """SHA-256 of what the message says, without when and how long it was processed."""
    audit = {name: value for name, value in message["audit"].items() if name not in PROCESSING_FIELDS}
    text = orjson.dumps({**message, "audit": audit}, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()


def seal(message: VCPMessage, now: datetime, processing_duration_ms: float) -> dict[str, Any]:
    """The message as plain JSON with its processing times and, last, its checksum."""
    message.audit.processed_at = now
    message.audit.processing_duration_ms = round(processing_duration_ms, 3)
    message.audit.checksum = checksum(message)
    # Free-form objects come in the order of the events that filled them; sorted, equal content is equal bytes.
    sealed: dict[str, Any] = message.to_dict()
    sealed["vcp_payload"]["custom"] = _in_key_order(sealed["vcp_payload"]["custom"])
    return sealed


def _in_key_order(content: Any) -> Any:
    try:
        return orjson.loads(orjson.dumps(content, option=orjson.OPT_SORT_KEYS))  # a third of what sort_keys costs
    except orjson.JSONEncodeError:  # an integer beyond 64 bits
        return sort_keys(content)


def plain(
    message: VCPMessage, folded: Folded, now: datetime, processing_duration_ms: float, corrected: bool = False
) -> dict[str, Any]:
    """The message as it is stored: sealed, unless it came ready-made; then its sender's word stands as it is.

    Once somebody has corrected it, it is no longer its sender's word.
    """
    as_it_came = folded.ready_made and not corrected
    return message.to_dict() if as_it_came else seal(message, now, processing_duration_ms)


def cost_usd(message: VCPMessage) -> Decimal | None:
    """The message's total cost; what it does not tell is unknown, and no sum of the parts that happen to be known."""
    total = message.vcp_payload.outcomes.model_outcome_attribution.total_cost_usd
    return None if total is None else Decimal(str(total)).quantize(Decimal("1e-9"), ROUND_HALF_UP)


def columns(message: VCPMessage) -> dict[str, Any]:
    """The hot columns of a message."""
    call, outcomes = message.vcp_payload.call, message.vcp_payload.outcomes
    score = outcomes.user_satisfaction_score
    return {
        "vcp_version": message.vcp_version,
        "start_time": call.start_time.astimezone(UTC),
        "end_time": call.end_time,
        "duration_sec": call.duration_sec,
        "channel": call.channel,
        "direction": call.direction,
        "status": outcomes.objective.status,
        "user_satisfaction_score": None
        if score is None
        else Decimal(str(score)).quantize(Decimal("0.0001"), ROUND_HALF_UP),
        "cost_usd": cost_usd(message),
        "capabilities_count": len(call.capabilities_invoked),
    }


def fill(
    stored: Message,
    message: VCPMessage,
    folded: Folded,
    now: datetime,
    processing_duration_ms: float,
    *,
    corrected: bool = False,
) -> bool:
    """Put the message into its row, unsaved; False, and nothing changed, when it says what is stored already."""
    sealed = plain(message, folded, now, processing_duration_ms, corrected=corrected)
    digest = content_digest(sealed)
    if digest == stored.content_digest and folded.stage == stored.stage:
        return False
    stored.vcp, stored.content_digest, stored.stage = sealed, digest, folded.stage
    for name, value in columns(message).items():
        setattr(stored, name, value)
    return True
