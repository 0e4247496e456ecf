"""`validate`: everything that is wrong or odd about a message, in document order, never an exception.

Three stages: version and structure (`structure.py`), what was read leniently, and the rules across
fields (`rules.py`), which need a message that can be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from vcp.errors import ErrorObject, SchemaError
from vcp.findings import Finding
from vcp.models import MESSAGE_SHAPE, VCPMessage, VCPModel, read
from vcp.rules import CROSS_FIELD_RULES
from vcp.structure import in_order, lenient_readings, read_json
from vcp.versions.forms import Form, detect
from vcp.versions.reading import OLDER_FORMS, older_findings


@dataclass(frozen=True)
class Report:
    """What validation found.

    `message` is None when the structure is broken, and for the older forms, which have other fields (`vcp.read` and
    `vcp.migrate` take those); `form` is None when no version could be told.
    """

    errors: list[ErrorObject]
    warnings: list[ErrorObject]
    message: VCPMessage | None
    form: Form | None = None

    @property
    def ok(self) -> bool:
        """No errors; warnings do not count."""
        return not self.errors

    def to_dict(self) -> dict[str, list[dict[str, Any]]]:
        """`{"errors": [...], "warnings": [...]}` of plain error objects."""
        return {
            "errors": [error.to_dict() for error in self.errors],
            "warnings": [warning.to_dict() for warning in self.warnings],
        }


def validate(message: str | bytes | dict[str, Any] | VCPModel, *, now: datetime, provider: str | None = None) -> Report:
    """Check JSON text, parsed JSON or a message by every rule of its own version: 0.3, 0.4 or 0.5.

    `now` (aware) decides whether a consent has expired; `provider` is only copied into the findings. Any
    other value, a list at top level for instance, is reported like a message of the wrong type.
    """
    try:
        content = _content(message)
        form = detect(content)
    except SchemaError as error:
        return Report([replace(found, provider=provider) for found in error.errors], [], None)
    older = OLDER_FORMS.get(form)
    if older is not None:
        return _report(older_findings(content, older, now), None, form, provider)
    findings = lenient_readings(content, MESSAGE_SHAPE)
    result = read(content)
    if not isinstance(result, VCPMessage):
        refused = {finding.path for finding in result}
        kept = [finding for finding in findings if finding.path not in refused]
        return _report(in_order(kept + result, MESSAGE_SHAPE), None, form, provider)
    for rule in CROSS_FIELD_RULES:
        findings.extend(rule(result, now))
    return _report(in_order(findings, MESSAGE_SHAPE), result, form, provider)


def _content(message: Any) -> Any:
    if isinstance(message, VCPModel):
        # Read again: attributes of a model may have been set to anything.
        return message.model_dump(warnings=False)
    return read_json(message) if isinstance(message, (str, bytes)) else message


def _report(findings: Sequence[Finding], message: VCPMessage | None, form: Form, provider: str | None) -> Report:
    return Report(
        errors=[finding.to_error(provider) for finding in findings if finding.is_error],
        warnings=[finding.to_error(provider) for finding in findings if not finding.is_error],
        message=message,
        form=form,
    )
