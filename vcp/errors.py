"""Error codes, the error object every answer carries, and the exceptions of the protocol.

    VCPError                any of the five codes
    ├── SchemaError         a message cannot be read; carries every finding
    ├── MappingError        VCP_E002: a webhook cannot become a message
    └── MigrationError      VCP_E003: a message cannot become one of another version

Which rule leads to which code is known by `vcp.findings`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

IMPLEMENTATION = "voicelens-django/1.0"

SCHEMA_VALIDATION_FAILED = "VCP_E001"
PROVIDER_MAPPING_FAILED = "VCP_E002"
VERSION_MIGRATION_FAILED = "VCP_E003"
FIELD_TYPE_MISMATCH = "VCP_E004"
REQUIRED_FIELD_MISSING = "VCP_E005"

ERROR_NAMES: Mapping[str, str] = {
    SCHEMA_VALIDATION_FAILED: "SCHEMA_VALIDATION_FAILED",
    PROVIDER_MAPPING_FAILED: "PROVIDER_MAPPING_FAILED",
    VERSION_MIGRATION_FAILED: "VERSION_MIGRATION_FAILED",
    FIELD_TYPE_MISMATCH: "FIELD_TYPE_MISMATCH",
    REQUIRED_FIELD_MISSING: "REQUIRED_FIELD_MISSING",
}


@dataclass(frozen=True)
class ErrorObject:
    """One finding, as it goes to people and over the wire.

    `code` is one of the five above, or `HTTP_401` and the like where a request itself is refused.
    `message` holds no payload value, stack or secret. `field_path` is a JSONPath.
    """

    code: str
    message: str
    field_path: str | None = None
    provider: str | None = None
    implementation: str = IMPLEMENTATION
    context: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON object; `field_path` and `provider` are left out when they are not known."""
        content = {
            "code": self.code,
            "message": self.message,
            "field_path": self.field_path,
            "provider": self.provider,
            "implementation": self.implementation,
            "context": self.context,
        }
        return {key: value for key, value in content.items() if value is not None}


class VCPError(Exception):
    """A failure with a code; the text of the exception is `message`."""

    def __init__(
        self,
        code: str,
        message: str,
        field_path: str | None = None,
        provider: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field_path = field_path
        self.provider = provider
        self.context = dict(context or {})

    def to_error(self) -> ErrorObject:
        """The same failure as an error object."""
        return ErrorObject(self.code, self.message, self.field_path, self.provider, context=dict(self.context))


class SchemaError(VCPError):
    """A message cannot be read. `errors` holds all findings (never empty), the first gives the text."""

    def __init__(self, errors: Sequence[ErrorObject]) -> None:
        first = errors[0]
        super().__init__(first.code, first.message, first.field_path, first.provider, first.context)
        self.errors = list(errors)


class MappingError(VCPError):
    """A webhook cannot become a message."""

    def __init__(
        self,
        message: str,
        field_path: str | None = None,
        provider: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(PROVIDER_MAPPING_FAILED, message, field_path, provider, context)


class MigrationError(VCPError):
    """A message cannot become one of another version. `errors` holds what hinders it; may be empty."""

    def __init__(
        self,
        message: str,
        field_path: str | None = None,
        errors: Sequence[ErrorObject] = (),
    ) -> None:
        context = {"errors": [error.to_dict() for error in errors]} if errors else {}
        super().__init__(VERSION_MIGRATION_FAILED, message, field_path, context=context)
        self.errors = list(errors)
