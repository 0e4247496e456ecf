"""The Voice Context Protocol, version 0.5: read, check and write the record of one voice call, and read 0.3 and 0.4.

    report = vcp.validate(text, now=datetime.now(UTC))
    if report.ok:
        store(report.message.to_json(), vcp.checksum(report.message))

Needs pydantic and nothing else; reads no clock, no settings and no network. Only `vcp.exports.otlp_http`, which has
to be asked for by its own name, sends something.
"""

from vcp import examples
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
    MigrationError,
    SchemaError,
    VCPError,
)
from vcp.exports.otel import to_spans
from vcp.exports.vcon import content_hash, from_vcon, to_vcon
from vcp.gap import perception_gap
from vcp.json_schema import json_schema
from vcp.migrate import Migration, migrate
from vcp.models import VCPMessage, field_type
from vcp.validate import Report, validate
from vcp.versions.forms import Form, detect
from vcp.versions.reading import read

__all__ = [
    "ERROR_NAMES",
    "FIELD_TYPE_MISMATCH",
    "IMPLEMENTATION",
    "PROVIDER_MAPPING_FAILED",
    "REQUIRED_FIELD_MISSING",
    "SCHEMA_VALIDATION_FAILED",
    "VERSION_MIGRATION_FAILED",
    "ErrorObject",
    "Form",
    "MappingError",
    "Migration",
    "MigrationError",
    "Report",
    "SchemaError",
    "VCPError",
    "VCPMessage",
    "canonical_json",
    "checksum",
    "content_hash",
    "detect",
    "examples",
    "field_type",
    "from_vcon",
    "jcs",
    "json_schema",
    "migrate",
    "perception_gap",
    "read",
    "to_spans",
    "to_vcon",
    "validate",
]
