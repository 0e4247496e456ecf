"""Reads a message of any supported form into the models of that form."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from vcp.errors import SchemaError
from vcp.findings import Finding
from vcp.models import MESSAGE_SHAPE, VCPMessage
from vcp.shape import Shape, shape_of
from vcp.structure import broken_fields, in_order, lenient_readings, read_json
from vcp.versions.forms import COMPLETE, CURRENT, INCOMPLETE, LINEAGE, PUBLISHED, RELABELLED, Form, detect
from vcp.versions.rules import Findings, lineage_findings, published_findings, v04_findings
from vcp.versions.v03 import LineageMessage, PublishedMessage
from vcp.versions.v04 import MessageV04

Message = VCPMessage | PublishedMessage | LineageMessage | MessageV04


@dataclass(frozen=True)
class OlderForm:
    """What is needed to check an older message: its model, the tree of its fields, its rules across fields."""

    model: type[PublishedMessage | LineageMessage | MessageV04]
    shape: Shape
    findings: Findings


_V04: Final = OlderForm(MessageV04, shape_of(MessageV04), v04_findings)
OLDER_FORMS: Final[dict[Form, OlderForm]] = {
    PUBLISHED: OlderForm(PublishedMessage, shape_of(PublishedMessage), published_findings),
    LINEAGE: OlderForm(LineageMessage, shape_of(LineageMessage), lineage_findings),
    COMPLETE: _V04,
    INCOMPLETE: _V04,
}


def model_of(form: Form) -> type[Message]:
    """The root model of a form."""
    return VCPMessage if form in (CURRENT, RELABELLED) else OLDER_FORMS[form].model


def shape_of_form(form: Form) -> Shape:
    """The tree of fields of a form."""
    return MESSAGE_SHAPE if form in (CURRENT, RELABELLED) else OLDER_FORMS[form].shape


def read(message: str | bytes | dict[str, Any]) -> Message:
    """The message of JSON text or parsed JSON in the models of its own version and shape.

    Raises SchemaError with all findings when it cannot be read.
    """
    content = read_json(message) if isinstance(message, (str, bytes)) else message
    form = detect(content)
    try:
        return model_of(form).model_validate(content)
    except ValidationError as error:
        shape = shape_of_form(form)
        found = in_order(broken_fields(error, shape), shape)
        raise SchemaError([finding.to_error() for finding in found]) from None


def read_current(message: str | bytes | dict[str, Any]) -> VCPMessage:
    """The message of JSON text or parsed JSON in the models of v0.5, for what only that version has.

    Raises SchemaError when it cannot be read, or is of an older version and has to be upgraded first.
    """
    content = read_json(message) if isinstance(message, (str, bytes)) else message
    form = detect(content)
    if form in OLDER_FORMS:
        text = f"this is version {form.version}; upgrade it to 0.5 first"
        raise SchemaError([Finding("S3", ("vcp_version",), text, "0.5").to_error()])
    return VCPMessage.from_dict(content)


def older_findings(content: Any, form: OlderForm, now: datetime) -> list[Finding]:
    """Everything wrong or odd about a message of an older form, in document order."""
    lenient = lenient_readings(content, form.shape)
    try:
        message = form.model.model_validate(content)
    except ValidationError as error:
        broken = broken_fields(error, form.shape)
    else:
        broken = list(form.findings(message, now))
    # What a rule refuses is not told again as read leniently.
    named = {finding.path for finding in broken if finding.is_error}
    return in_order([finding for finding in lenient if finding.path not in named] + broken, form.shape)
