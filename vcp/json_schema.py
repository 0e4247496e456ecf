"""The JSON Schema (2020-12) of a message, made from the models: for programs in other languages.

It says what a writer may send. Unknown fields and null in place of an absent optional field are allowed; what is only
read leniently is not: timestamps without offset or as numbers, numbers as text. The rules across fields (X, C, A), a
number's being finite and a free-form value's depth are beyond it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from vcp.errors import SCHEMA_VALIDATION_FAILED, VCPError
from vcp.models import VCPMessage

DIALECT: Final = GenerateJsonSchema.schema_dialect
# Most validators take `format` as a remark only, so the form is told as a pattern too.
_TIMESTAMP: Final = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$",
}
_ROOTS: Final[Mapping[str, type[BaseModel]]] = {"0.5": VCPMessage}


def json_schema(version: str = "0.5") -> dict[str, Any]:
    """The schema of a version's messages, a new dict each time.

    Raises VCPError (VCP_E001) for a version that is not in the table, naming those that are.
    """
    if version not in _ROOTS:
        raise VCPError(SCHEMA_VALIDATION_FAILED, f"no such version; known: {', '.join(_ROOTS)}")
    return schema_of(_ROOTS[version], f"urn:voicelens:vcp:{version}", f"Voice Context Protocol {version}")


def schema_of(model: type[BaseModel], uri: str, title: str) -> dict[str, Any]:
    """The schema of one model class with all it refers to; `uri` is its $id."""
    told = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    return {"$schema": DIALECT, "$id": uri, **told, "title": title}


class _Generator(GenerateJsonSchema):
    """What pydantic cannot know of the types in `vcp.scalars`."""

    def lax_or_strict_schema(self, schema: core_schema.LaxOrStrictSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["strict_schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """A field with a default may be null; for the others with one, null is the default."""
        told = super().default_schema(schema)
        if schema["schema"]["type"] == "nullable":
            return told
        default = {"default": told.pop("default")} if "default" in told else {}
        return {"anyOf": [told, {"type": "null"}], **default}

    def datetime_schema(self, schema: core_schema.DatetimeSchema) -> JsonSchemaValue:
        return dict(_TIMESTAMP)
