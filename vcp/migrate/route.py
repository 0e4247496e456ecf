"""`migrate`: any supported form to v0.5 or v0.3; checks what comes in and what goes out, and reports.

Reads no clock and no randomness, so equal input gives equal output; the input is never changed.
"""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any, Final

from vcp.errors import ErrorObject, MigrationError, SchemaError
from vcp.migrate.carry import carried, without_carry
from vcp.migrate.differences import restore
from vcp.migrate.fields import wire_form
from vcp.migrate.lineage import from_lineage, relabel, to_lineage
from vcp.migrate.losses import note_losses
from vcp.migrate.published import from_published
from vcp.migrate.report import Migration, MigrationReport, Note
from vcp.migrate.to_published import to_published
from vcp.migrate.to_v04 import to_v04
from vcp.migrate.v04 import from_v04
from vcp.models import VCPMessage, VCPModel
from vcp.structure import read_json
from vcp.validate import validate
from vcp.versions.forms import COMPLETE, CURRENT, LINEAGE, PUBLISHED, RELABELLED, Form
from vcp.versions.reading import shape_of_form

# Only whether a consent has expired depends on the time, and that hinders no migration.
_ANY_TIME: Final = datetime.min.replace(tzinfo=UTC)
_REFUSING_CONSENTS: Final = ("denied", "revoked")
_TARGETS: Final = {"0.5": (None, "current"), "0.4": (None,), "0.3": (None, "published", "lineage")}


def migrate(
    message: str | bytes | dict[str, Any] | VCPModel, to: str = "0.5", shape: str | None = None, *, force: bool = False
) -> Migration:
    """A message of any supported version as one of version `to`.

    `to` is `0.5`, `0.3`, or `0.4` (made of published v0.3 only, for tests). For 0.3 `shape` is `lineage` or
    `published`; without it published when the message has a carry-over of that shape, else lineage. `force` also gives
    out a message without the consent that was denied or revoked, which v0.3 cannot tell.

    Raises MigrationError (VCP_E003) when the message is not valid in its own version, or cannot become another; that
    v0.4 lacks provenance or consent is only a warning, and so is what consent forbids.
    """
    if shape not in _TARGETS.get(to, ()):
        raise MigrationError("cannot migrate to this version and shape; possible: 0.5, 0.3 published, 0.3 lineage")
    report = MigrationReport()
    content = _content(message)
    source = _checked(content, "the message is not valid", report)
    # Only now: what is valid is not nested too deeply to be copied.
    content = _json_copy(content)
    target = _target(content, source, to, shape)
    result = content if source == target else _moved(content, source, target, force, report)
    return Migration(result, report, source, target)


def _content(message: Any) -> Any:
    try:
        content = read_json(message) if isinstance(message, (str, bytes)) else message
    except SchemaError as error:
        raise MigrationError(error.message, error.field_path, error.errors) from None
    return content.model_dump(mode="json") if isinstance(content, VCPModel) else content


def _json_copy(content: Any) -> Any:
    """A copy in JSON's own types: a dict may hold bytes or datetimes, which the models read as text and time."""
    try:
        return json.loads(json.dumps(content))
    except TypeError:
        raise MigrationError("the message holds a value that is none of JSON") from None


def _checked(content: Any, problem: str, report: MigrationReport) -> Form:
    checked = validate(content, now=_ANY_TIME)
    hindering = [error for error in checked.errors if not _is_tolerated(error)]
    if hindering or checked.form is None:
        first = hindering[0]
        raise MigrationError(f"{problem}: {first.message}", first.field_path, hindering)
    for error in checked.errors:
        note = Note(str(error.field_path), error.message)
        if note not in report.warnings:
            report.warnings.append(note)
    return checked.form


def _is_tolerated(error: ErrorObject) -> bool:
    """Consent says what may be done with a record, not which version it may have."""
    return error.context["rule"] in ("V2", "C1", "C3")


def _target(content: dict[str, Any], source: Form, to: str, shape: str | None) -> Form:
    if to == "0.5":
        return CURRENT
    if to == source.version == "0.4":
        return source
    if to == "0.4":
        if source != PUBLISHED:
            raise MigrationError("v0.4 is deprecated and made of published v0.3 only, for tests")
        return COMPLETE
    if shape is not None:
        return PUBLISHED if shape == "published" else LINEAGE
    if source.version == "0.3":
        return source
    return PUBLISHED if source in (CURRENT, RELABELLED) and carried(_normal(content)) else LINEAGE


def _moved(content: dict[str, Any], source: Form, target: Form, force: bool, report: MigrationReport) -> dict[str, Any]:
    if target == COMPLETE:
        to_v04(content, report)
        _checked(content, "the result would not be valid", report)
        return content
    try:
        message = upgraded(content, source, report)
        if target != CURRENT:
            return _downgraded(message, target, force, report)
    except SchemaError as error:
        text = f"the result would not be valid: {error.message}"
        raise MigrationError(text, error.field_path, error.errors) from None
    _checked(message, "the result would not be valid", report)
    return message


def upgraded(content: dict[str, Any], source: Form, report: MigrationReport) -> dict[str, Any]:
    """The v0.5 message of one that is valid in its own form."""
    if source == PUBLISHED:
        return copy.deepcopy(from_published(content, report))
    if source.version == "0.4" and source != RELABELLED:
        return copy.deepcopy(from_v04(content, report))
    message: dict[str, Any] = wire_form(content, shape_of_form(source))
    if source == LINEAGE:
        from_lineage(message, report)
    if source == RELABELLED:
        relabel(message)
    return message


def _downgraded(message: dict[str, Any], target: Form, force: bool, report: MigrationReport) -> dict[str, Any]:
    normal = _normal(message)
    _refuse_to_hide_consent(normal, force)
    if target == LINEAGE:
        result = copy.deepcopy(message)
        to_lineage(result)
    else:
        carry = carried(normal)
        result = copy.deepcopy(to_published(normal, carry, report))
        if carry is not None:
            restore(result, carry.differences)
    _checked(result, "the result would not be valid", MigrationReport())
    again = _normal(upgraded(result, target, MigrationReport()))
    if target == PUBLISHED:
        normal, again = without_carry(normal), without_carry(again)
    note_losses(normal, again, report)
    return result


def _refuse_to_hide_consent(message: dict[str, Any], force: bool) -> None:
    consent = message["vcp_payload"].get("consent")
    if consent is not None and consent["status"] in _REFUSING_CONSENTS and not force:
        text = f"consent is {consent['status']}, which v0.3 cannot tell; only force gives the message out without it"
        raise MigrationError(text, "$.vcp_payload.consent.status")


def _normal(message: dict[str, Any]) -> dict[str, Any]:
    return VCPMessage.from_dict(message).to_dict()
