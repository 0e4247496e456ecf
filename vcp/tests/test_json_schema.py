"""The JSON Schema against the models, both ways: what it takes they read, and where the two differ is known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ValidationError

from vcp import examples
from vcp.errors import VCPError
from vcp.json_schema import json_schema
from vcp.models import MESSAGE_SHAPE, VCPMessage, read
from vcp.scalars import Amount, Count, Number, Score
from vcp.shape import ANYTHING, Shape
from vcp.tests.samples import changed, full, vector, without
from vcp.tests.strategies import extended_messages
from vcp.tests.test_validate import PLACES_OF_THE_SAMPLE
from vcp.tests.tries import tries
from vcp.versions.forms import detect
from vcp.versions.reading import model_of

SCHEMA = Draft202012Validator(json_schema())
CALL = "vcp_payload.call"


def test_it_is_a_schema_with_a_name_of_its_own():
    told = json_schema()
    Draft202012Validator.check_schema(told)
    assert told["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert (told["$id"], told["title"]) == ("urn:voicelens:vcp:0.5", "Voice Context Protocol 0.5")
    assert told["description"] == "One call, complete."
    assert all(part["description"] for part in told["$defs"].values())


def test_the_callers_number_stands_under_its_wire_name():
    properties = json_schema()["$defs"]["Call"]["properties"]
    assert "from" in properties
    assert "from_" not in properties


def test_a_version_that_is_not_known_is_refused_with_those_that_are():
    for version, shape in [("0.6", None), ("0.4", "published"), ("0.5", "lineage")]:
        with pytest.raises(VCPError, match=r"no such version or shape; known: 0\.5 current, 0\.4 .*lineage") as caught:
            json_schema(version, shape)
        assert caught.value.code == "VCP_E001"


@pytest.mark.parametrize("message", [full(), vector(), VCPMessage.from_dict(vector()).to_dict()])
def test_the_samples_and_what_is_written_of_them_are_valid(message):
    SCHEMA.validate(message)


@tries(25)
@given(extended_messages)
def test_any_message_that_the_models_can_make_is_valid_before_and_after_it_is_written(message):
    SCHEMA.validate(message)
    SCHEMA.validate(VCPMessage.from_dict(message).to_dict())


PLACES = [
    *PLACES_OF_THE_SAMPLE,
    *(f"{CALL}.capabilities_invoked.{rest}" for rest in ("0", "1.success", "1.invoked_at")),
]
HUGE = 10**400
VALUES = [
    None, True, 0, -1, 7, 1.5, 2.0, "", "  ", "text", "7", "0.5", "2025-10-14", "2025-10-14T12:00:00",
    "2025-10-14T12:00:00+02:00", "2025-10-14 12:00:00Z", "2025-13-01T00:00:00Z", "2025-10-14t12:00:00z",
    [], ["a"], [1], {}, {"a": 1}, HUGE, math.nan,
]  # fmt: skip
# Read leniently, though nobody should write it so.
ONLY_THE_MODELS: dict[str, list[Any]] = {
    "timestamp": [
        0, -1, 7, 1.5, 2.0, "7", "0.5", "2025-10-14", "2025-10-14T12:00:00", "2025-10-14 12:00:00Z",
    ],
    "number": ["7", "0.5"],
    "score": ["0.5"],
    "count": ["7"],
    "boolean": [0],
}  # fmt: skip
# What a schema cannot say: which days there are, and that a number fits a double.
ONLY_THE_SCHEMA: dict[str, list[Any]] = {
    "timestamp": ["2025-13-01T00:00:00Z"],
    "number": [HUGE, math.nan],
    "score": [math.nan],
    "free": [HUGE, math.nan],
}


def _shape(path: str) -> Shape:
    place: Shape | None = MESSAGE_SHAPE
    for name in path.split("."):
        place = place.child(int(name) if name.isdigit() else name) if place is not None else None
    assert place is not None
    return place


def _kind(place: Shape) -> str:
    if place.kind == "free" and place is not ANYTHING:
        return "object"
    kinds = [(Number, "number"), (Amount, "number"), (Score, "score"), (Count, "count"), (bool, "boolean")]
    return next((kind for hint, kind in kinds if hint == place.hint), place.kind)


# One place of each type; what each field's type is, schema and models have from the same line.
ONE_OF_EACH_TYPE = {repr(_shape(place).hint): place for place in PLACES}.values()


@pytest.mark.parametrize("place", ONE_OF_EACH_TYPE)
def test_schema_and_models_judge_any_value_at_any_place_alike_but_for_the_known_differences(place):
    kind = _kind(_shape(place))
    for value in VALUES:
        message = changed(full(), place, value)
        models, schema = isinstance(read(message), VCPMessage), SCHEMA.is_valid(message)
        lenient, unsaid = ONLY_THE_MODELS.get(kind, []), ONLY_THE_SCHEMA.get(kind, [])
        assert (models and not schema) == _among(value, lenient), repr(value)
        assert (schema and not models) == _among(value, unsaid), repr(value)


def _among(value: Any, values: list[Any]) -> bool:
    """By type and text, for True equals 1 and nothing equals NaN."""
    return repr(value) in map(repr, values)


@pytest.mark.parametrize("place", PLACES)
def test_schema_and_models_agree_on_what_is_required(place):
    message = without(full(), place)
    assert SCHEMA.is_valid(message) == isinstance(read(message), VCPMessage)


# --- older versions ------------------------------------------------------------------------------------------------

OLDER = {
    "0.3 published": ("v03_full_mode", "0.3", "published"),
    "0.3 lineage": ("v03_lineage", "0.3", "lineage"),
    "0.4": ("v04_complete", "0.4", None),
}


def test_each_version_and_shape_has_a_schema_with_a_name_of_its_own():
    names = [(told["$id"], told["title"]) for told in (json_schema(*rest) for _, *rest in OLDER.values())]
    assert names == [
        ("urn:voicelens:vcp:0.3:published", "Voice Context Protocol 0.3, shape published"),
        ("urn:voicelens:vcp:0.3:lineage", "Voice Context Protocol 0.3, shape lineage"),
        ("urn:voicelens:vcp:0.4", "Voice Context Protocol 0.4"),
    ]
    assert json_schema("0.3") == json_schema("0.3", "published")


@pytest.mark.parametrize("name", examples.names())
def test_every_example_is_valid_by_the_schema_of_its_form(name):
    message = examples.load(name)
    form = detect(message)
    schema = json_schema(form.version, form.shape if form.version == "0.3" else None)
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(message)


def _paths(value: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in members:
        path = f"{above}.{key}" if above else str(key)
        yield path, inner
        yield from _paths(inner, path)


# What decides the form, and the places that only look like fields.
_NOT_TRIED = ("vcp_version", "vcp_payload.audit", "vcp_payload.provenance", "vcp_payload.consent")


@pytest.mark.parametrize("form", OLDER)
def test_schema_and_models_agree_on_wrong_and_missing_values_in_older_versions(form):
    name, version, shape = OLDER[form]
    whole, schema = examples.load(name), Draft202012Validator(json_schema(version, shape))
    model = model_of(detect(whole))
    for path, value in _paths(whole):
        if path.startswith(_NOT_TRIED) and path.count(".") < 2:
            continue
        # A number in place of a timestamp is read leniently.
        others: list[Any] = [["x"], {"a": []}, True, "", *([-3] if type(value) in (int, float) else [])]
        tries = [without(whole, path), *(changed(whole, path, other) for other in others)]
        for message in tries:
            assert schema.is_valid(message) == _reads(model, message), path


def _reads(model: type[BaseModel], message: dict[str, Any]) -> bool:
    try:
        model.model_validate(message)
    except ValidationError:
        return False
    return True
