"""The error object on the wire and the exceptions that carry it."""

from __future__ import annotations

import pytest

from vcp import errors
from vcp.errors import ErrorObject, MappingError, SchemaError, VCPError
from vcp.findings import Finding, jsonpath


def test_every_code_has_its_name():
    codes = {name: value for name, value in vars(errors).items() if str(value).startswith("VCP_E")}
    assert {code: name for name, code in codes.items()} == errors.ERROR_NAMES


def test_an_error_object_leaves_out_what_is_not_known():
    assert ErrorObject("VCP_E001", "broken").to_dict() == {
        "code": "VCP_E001",
        "message": "broken",
        "implementation": "voicelens-django/1.0",
        "context": {},
    }


def test_an_exception_becomes_the_error_object_it_carries():
    error = VCPError("VCP_E003", "no way back", "$.vcp_payload", "retell", {"rule": "V1"})
    assert str(error) == "no way back"
    assert error.to_error() == ErrorObject("VCP_E003", "no way back", "$.vcp_payload", "retell", context={"rule": "V1"})


def test_a_mapping_error_has_the_mapping_code():
    error = MappingError("no call id", provider="retell")
    assert isinstance(error, VCPError)
    assert error.to_error().to_dict()["code"] == "VCP_E002"


def test_a_schema_error_speaks_for_its_first_finding_and_keeps_all():
    found = [ErrorObject("VCP_E005", "missing", "$.a"), ErrorObject("VCP_E004", "wrong", "$.b")]
    error = SchemaError(found)
    assert (error.code, str(error), error.field_path) == ("VCP_E005", "missing", "$.a")
    assert error.errors == found


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), "$"),
        (("vcp_payload", "call", "from"), "$.vcp_payload.call.from"),
        (("tools", 0, "id"), "$.tools[0].id"),
        (("a b",), "$['a b']"),
        (("it's",), r"$['it\'s']"),
        (('say "x"',), "$['say \"x\"']"),
        (("back\\slash",), r"$['back\\slash']"),
        (("",), "$['']"),
        (("line\n",), r"$['line\n']"),
        (("\ud800é",), r"$['\ud800\u00e9']"),
        (("0",), "$['0']"),
    ],
)
def test_a_path_is_written_as_printable_jsonpath(path, text):
    assert jsonpath(path) == text


def test_a_finding_names_its_rule_and_what_was_expected():
    error = Finding("S6", ("score",), "outside", "0 to 1").to_error("retell")
    assert error.context == {"rule": "S6", "expected": "0 to 1"}
    assert error.provider == "retell"
