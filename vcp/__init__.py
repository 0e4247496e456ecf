"""The Voice Context Protocol, version 0.5: read, check and write the record of one voice call.

    report = vcp.validate(text, now=datetime.now(UTC))
    if report.ok:
        store(report.message.to_json(), vcp.checksum(report.message))

Needs pydantic and nothing else; reads no clock, no settings and no network.
"""

from vcp.checksum import canonical_json, checksum, jcs
from vcp.errors import (
    ERROR_NAMES,
    FIELD_TYPE_MISMATCH,
    IMPLEMENTATION,
    PROVIDER_MAPPING_FAILED,
    REQUIRED_FIELD_MISSING,
    SCHEMA_VALIDATION_FAILED,
    VERSION_MIGRATION_FAILED,
    ErrorObject,
    MappingError,
    SchemaError,
    VCPError,
)
from vcp.gap import perception_gap
from vcp.json_schema import json_schema
from vcp.models import VCPMessage, field_type
from vcp.validate import Report, validate

__all__ = [
    "ERROR_NAMES",
    "FIELD_TYPE_MISMATCH",
    "IMPLEMENTATION",
    "PROVIDER_MAPPING_FAILED",
    "REQUIRED_FIELD_MISSING",
    "SCHEMA_VALIDATION_FAILED",
    "VERSION_MIGRATION_FAILED",
    "ErrorObject",
    "MappingError",
    "Report",
    "SchemaError",
    "VCPError",
    "VCPMessage",
    "canonical_json",
    "checksum",
    "field_type",
    "jcs",
    "json_schema",
    "perception_gap",
    "validate",
]
