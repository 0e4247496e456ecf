"""The JSON Schema (2020-12) of a message, made from the models: for programs in other languages.

It says what a writer may send. Unknown fields and null in place of an absent optional field are allowed; what is only
read leniently is not: timestamps without offset or as numbers, numbers as text. The rules across fields (X, C, A), a
number's being finite and a free-form value's depth are beyond it.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from vcp.errors import SCHEMA_VALIDATION_FAILED, VCPError
from vcp.versions.forms import CURRENT, INCOMPLETE, LINEAGE, PUBLISHED
from vcp.versions.reading import model_of

DIALECT: Final = GenerateJsonSchema.schema_dialect
# Most validators take `format` as a remark only, so the form is told as a pattern too.
_TIMESTAMP: Final = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$",
}
# The first of a version is what is meant where no shape is named. A complete message of 0.4 has what an incomplete one
# may leave out.
FORMS: Final = (CURRENT, INCOMPLETE, PUBLISHED, LINEAGE)


def json_schema(version: str = "0.5", shape: str | None = None) -> dict[str, Any]:
    """The schema of the messages of a version (0.3: of its `published` or its `lineage` shape), a new dict each time.

    Raises VCPError (VCP_E001) for a version or shape that there is not, naming those that there are.
    """
    form = next((form for form in FORMS if form.version == version and shape in (None, form.shape)), None)
    if form is None:
        raise VCPError(SCHEMA_VALIDATION_FAILED, f"no such version or shape; known: {', '.join(map(str, FORMS))}")
    name = f"{form.version}:{form.shape}" if form.version == "0.3" else form.version
    told = model_of(form).model_json_schema(by_alias=True, schema_generator=_Generator)
    title = f"Voice Context Protocol {name.replace(':', ', shape ')}"
    return {"$schema": DIALECT, "$id": f"urn:voicelens:vcp:{name}", **told, "title": title}


class _Generator(GenerateJsonSchema):
    """What pydantic cannot know of the types in `vcp.scalars`."""

    def lax_or_strict_schema(self, schema: core_schema.LaxOrStrictSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["strict_schema"])

    def str_schema(self, schema: core_schema.StringSchema) -> JsonSchemaValue:
        """Without the bound of `AnyText`, which every text meets."""
        told = super().str_schema(schema)
        return {name: value for name, value in told.items() if (name, value) != ("minLength", 0)}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """A field with a default may be null; for the others with one, null is the default."""
        told = super().default_schema(schema)
        if schema["schema"]["type"] == "nullable":
            return told
        default = {"default": told.pop("default")} if "default" in told else {}
        return {"anyOf": [told, {"type": "null"}], **default}

    def datetime_schema(self, schema: core_schema.DatetimeSchema) -> JsonSchemaValue:
        return dict(_TIMESTAMP)
