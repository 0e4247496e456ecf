"""`validate`: everything that is wrong or odd about a message, in document order, never an exception.

Three stages: version and structure (`structure.py`), what was read leniently, and the rules across
fields (`rules.py`), which need a message that can be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from vcp.errors import ErrorObject, SchemaError
from vcp.findings import Finding
from vcp.models import MESSAGE_SHAPE, VCPMessage, read
from vcp.rules import CROSS_FIELD_RULES
from vcp.structure import in_order, lenient_readings, read_json

SUPPORTED_VERSIONS: Final = ("0.5",)
# Real versions of the protocol whose shapes this program does not know.
_OTHER_VERSIONS: Final = ("0.3", "0.4")


@dataclass(frozen=True)
class Report:
    """What validation found. `message` is None when the structure is broken."""

    errors: list[ErrorObject]
    warnings: list[ErrorObject]
    message: VCPMessage | None

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


def validate(
    message: str | bytes | dict[str, Any] | VCPMessage, *, now: datetime, provider: str | None = None
) -> Report:
    """Check JSON text, parsed JSON or a message by every rule of v0.5.

    `now` (aware) decides whether a consent has expired; `provider` is only copied into the findings. Any
    other value, a list at top level for instance, is reported like a message of the wrong type.
    """
    try:
        content = _content(message)
    except SchemaError as error:
        return _report([Finding("S2", (), error.message, error.context["expected"])], None, provider)
    unsupported = _unsupported_version(content)
    if unsupported is not None:
        return _report([unsupported], None, provider)
    findings = lenient_readings(content, MESSAGE_SHAPE)
    result = read(content)
    if not isinstance(result, VCPMessage):
        refused = {finding.path for finding in result}
        kept = [finding for finding in findings if finding.path not in refused]
        return _report(kept + result, None, provider)
    for rule in CROSS_FIELD_RULES:
        findings.extend(rule(result, now))
    return _report(findings, result, provider)


def _content(message: Any) -> Any:
    if isinstance(message, VCPMessage):
        # Read again: attributes of a model may have been set to anything.
        return message.model_dump(warnings=False)
    return read_json(message) if isinstance(message, (str, bytes)) else message


def _unsupported_version(content: Any) -> Finding | None:
    version = content.get("vcp_version") if isinstance(content, dict) else None
    if version is None or version in SUPPORTED_VERSIONS:
        return None
    known = f"version {version} cannot be read yet" if version in _OTHER_VERSIONS else "unknown version"
    supported = ", ".join(SUPPORTED_VERSIONS)
    return Finding("S3", ("vcp_version",), f"{known}; supported: {supported}", supported)


def _report(findings: Sequence[Finding], message: VCPMessage | None, provider: str | None) -> Report:
    ordered = in_order(findings, MESSAGE_SHAPE)
    return Report(
        errors=[finding.to_error(provider) for finding in ordered if finding.is_error],
        warnings=[finding.to_error(provider) for finding in ordered if not finding.is_error],
        message=message,
    )
