"""Any message the models can make: up and back, twice alike, and never an exception on the way."""

from __future__ import annotations

import copy
import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vcp
from vcp.migrate.differences import same
from vcp.migrate.fields import wire_form
from vcp.models import MESSAGE_SHAPE
from vcp.shape import Shape
from vcp.tests.generated import free, values
from vcp.tests.samples import NOW
from vcp.tests.tries import tries
from vcp.versions.forms import COMPLETE, LINEAGE, PUBLISHED
from vcp.versions.reading import OLDER_FORMS

# The same examples on every run.
fixed = tries(25)


def _in_time(call: dict[str, Any]) -> None:
    """No rule across fields that is an error: the end is not before the start."""
    if call.get("end_time") is not None:
        call["end_time"] = call["start_time"]


def _published(message: dict[str, Any], number: int) -> dict[str, Any]:
    message["vcp_version"] = "0.3"
    message["call_id"] = message["vcp_payload"]["call"]["call_id"] = str(UUID(int=number))
    _in_time(message["vcp_payload"]["call"])
    for name in ("consent", "provenance"):
        message["vcp_payload"].pop(name, None)
    return message


def _current(message: dict[str, Any], version: str) -> dict[str, Any]:
    message["vcp_version"] = version
    message["audit"].pop("checksum", None)
    _in_time(message["vcp_payload"]["call"])
    consent = message["vcp_payload"].get("consent")
    if consent is not None:
        consent |= {"status": "granted", "granted_at": None, "expires_at": None, "ip_address_hash": None}
    return message


def _v04(message: dict[str, Any]) -> dict[str, Any]:
    message["vcp_version"] = "0.4"
    message.pop("audit", None)
    _in_time(message["vcp_payload"]["call"])
    return message


def _unwrapped(message: dict[str, Any]) -> dict[str, Any]:
    """Without what would make it the published shape."""
    message.pop("call_id", None)
    message["vcp_payload"].pop("audit", None)
    return message


published = st.builds(_published, values(OLDER_FORMS[PUBLISHED].shape), st.integers(0, 2**128 - 1))
lineage = st.builds(_current, values(OLDER_FORMS[LINEAGE].shape), st.just("0.3")).map(_unwrapped)
v04 = st.builds(_v04, values(OLDER_FORMS[COMPLETE].shape))
current = st.builds(_current, values(MESSAGE_SHAPE), st.just("0.5"))


def valid(message: Any) -> bool:
    return vcp.validate(message, now=NOW).ok


def assert_migrates(message: dict[str, Any], to: str, shape: str | None = None) -> vcp.Migration:
    """Migrated twice alike, the input unchanged, the result valid JSON of the version asked for."""
    before = copy.deepcopy(message)
    migration = vcp.migrate(message, to, shape)
    assert same(message, before)
    assert migration == vcp.migrate(message, to, shape)
    report = vcp.validate(json.dumps(migration.message), now=NOW)
    assert [error for error in report.errors if error.context["rule"] not in ("C3", "V2")] == []
    assert vcp.detect(migration.message) == migration.target
    return migration


@fixed
@given(published)
def test_a_published_message_comes_back_equal(message):
    assert valid(message)
    upgraded = assert_migrates(message, "0.5").message
    back = assert_migrates(upgraded, "0.3")
    assert same(back.message, message)
    assert back.report.lost == []
    assert same(vcp.migrate(vcp.VCPMessage.from_dict(upgraded).to_json(), "0.3").message, message)
    assert same(vcp.migrate(back.message).message, upgraded)


@fixed
@given(lineage)
def test_a_lineage_message_comes_back_but_for_details_of_capabilities(message):
    assert valid(message)
    upgraded = assert_migrates(message, "0.5").message
    back = assert_migrates(upgraded, "0.3").message
    call, was = back["vcp_payload"]["call"], message["vcp_payload"]["call"]
    names = [one if isinstance(one, str) else one["capability_id"] for one in was.get("capabilities_invoked") or []]
    assert call.get("capabilities_invoked", []) == names
    call["capabilities_invoked"] = was.get("capabilities_invoked")
    back["audit"]["schema_version"] = message["audit"]["schema_version"]
    shape = OLDER_FORMS[LINEAGE].shape
    assert same(_plain(back, shape), _plain(message, shape))


def _plain(message: Any, shape: Shape) -> Any:
    return wire_form(message, shape)


@fixed
@given(v04)
def test_a_message_of_v04_becomes_one_of_v05(message):
    errors = vcp.validate(message, now=NOW).errors
    assert {error.context["rule"] for error in errors} <= {"V2", "C3"}
    assert_migrates(message, "0.5")
    vcp.migrate(message, "0.3", "lineage", force=True)
    vcp.migrate(message, "0.3", "published", force=True)


@fixed
@given(current)
def test_a_message_of_v05_can_become_both_shapes_of_v03(message):
    assert valid(message)
    for shape in ("lineage", "published"):
        assert_migrates(message, "0.3", shape)


@fixed
@given(current)
def test_a_relabelled_message_keeps_everything_else(message):
    message["vcp_version"] = "0.4"
    upgraded = assert_migrates(message, "0.5").message
    assert upgraded["vcp_payload"]["provenance"]["transformation_history"][-1] == "relabelled_from_v0.4"


@fixed
@given(st.fixed_dictionaries({}, optional={
    "vcp_version": st.sampled_from(["0.3", "0.4", "0.5"]) | free,
    "call_id": free, "audit": free,
    "vcp_payload": st.dictionaries(st.sampled_from(["audit", "call", "outcomes", "provenance", "consent"]), free),
}) | free)  # fmt: skip
def test_any_json_gives_findings_and_the_one_error_of_migration(content):
    report = vcp.validate(content, now=NOW)
    assert report.errors
    with pytest.raises(vcp.MigrationError) as refused:
        vcp.migrate(content)
    assert refused.value.code == "VCP_E003"


@fixed
@given(
    published,
    st.sampled_from(["shape", "mode", "perceived", "drivers", "differences", "status", "purpose_contract"]),
    free,
)
def test_a_carry_over_that_was_tampered_with_gives_a_valid_message_or_a_clean_error(message, name, value):
    upgraded = vcp.migrate(message).message
    upgraded["vcp_payload"]["custom"]["experimental"]["vcp_v03"][name] = value
    try:
        back = vcp.migrate(upgraded, "0.3").message
    except vcp.MigrationError:
        return
    assert valid(back)
