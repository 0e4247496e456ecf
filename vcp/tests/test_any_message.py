"""Any message that the models can make survives being written and read, in any order of keys and at any offset; and
any JSON whatever gives findings instead of an exception."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from vcp.checksum import canonical_json, checksum
from vcp.models import MESSAGE_SHAPE, VCPMessage
from vcp.scalars import Timestamp
from vcp.shape import Shape
from vcp.structure import MAX_REFUSALS
from vcp.tests.samples import NOW, changed, full, without
from vcp.tests.strategies import extended_messages, offsets
from vcp.tests.test_validate import CALL, PAYLOAD, check, fixed, rules
from vcp.tests.tries import tries
from vcp.validate import validate

fewer = tries(25)


@fewer
@given(extended_messages)
def test_it_survives_being_written_and_read(content):
    message = VCPMessage.from_dict(content)
    for again in (VCPMessage.from_json(message.to_json()), VCPMessage.from_dict(message.to_dict())):
        assert again == message
        assert again.to_json() == message.to_json()
        assert canonical_json(again) == canonical_json(message)
    assert json.loads(message.to_json()) == message.to_dict()


@fewer
@given(extended_messages)
def test_its_structure_has_no_finding_but_unknown_fields(content):
    structural = {found for found, _ in rules(check(content)) if found.startswith("S")}
    assert structural <= {"S8"}


@fewer
@given(extended_messages, st.randoms(use_true_random=False))
def test_the_order_of_keys_changes_nothing(content, random):
    turned = _shuffled(content, random)
    assert VCPMessage.from_dict(turned) == VCPMessage.from_dict(content)
    assert checksum(turned) == checksum(content)
    assert check(turned) == check(content)


def _shuffled(value: Any, random: Any) -> Any:
    if isinstance(value, list):
        return [_shuffled(item, random) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _shuffled(value[key], random) for key in random.sample(list(value), len(value))}


@fewer
@given(extended_messages, offsets)
def test_another_offset_of_the_same_instant_changes_nothing(content, zone):
    moved = _moved(content, MESSAGE_SHAPE, zone)
    assert VCPMessage.from_dict(moved).to_json() == VCPMessage.from_dict(content).to_json()
    assert checksum(moved) == checksum(content)


def _moved(value: Any, place: Shape | None, zone: timezone) -> Any:
    if place is None or value is None or place.kind == "free":
        return value
    if place.kind == "timestamp":
        return datetime.fromisoformat(value).astimezone(zone).isoformat()
    if isinstance(value, list):
        return [_moved(item, place.child(index), zone) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    return {key: _moved(item, place.child(key), zone) for key, item in value.items()}


PLAIN = "2025-10-14T12:00:00.000Z"


@pytest.mark.parametrize(
    "text",
    [
        "2025-W42-2T12:00:00.00Z",
        "2025-10-14T120000.0000Z",
        "20251014T12:00:00.0000Z0",
        "2025-10-14T12:00:00.00Z",
        "2025-10-14T12:00:00,000Z",
        "2025-02-30T12:00:00.000Z",
        "2025-10-14T24:00:00.000Z",
        "2025-10-14T12:00:60.000Z",
        "0000-10-14T12:00:00.000Z",
        "٢٠٢٥-10-14T12:00:00.000Z",
        "2025-10-14T12:00:00+000Z",
        "2025-10-14T12:00:00.000z",
        "2025-10-14T12:00:00.1234567Z",
    ],
)
def test_a_timestamp_almost_of_the_plain_form_is_read_as_pydantic_reads_it(text):
    def read(hint: Any) -> Any:
        try:
            return TypeAdapter(hint).validate_python(text)
        except ValueError:
            return None

    assert read(Timestamp) == read(datetime)


@fixed
@given(st.datetimes(timezones=st.just(UTC)))
def test_the_plain_form_is_read_as_the_instant_it_tells(moment):
    content = without(full(), f"{CALL}.end_time")
    text = moment.isoformat().replace("+00:00", "Z")
    message = VCPMessage.from_dict(changed(content, f"{CALL}.start_time", text))
    assert message.vcp_payload.call.start_time == moment
    assert message.vcp_payload.call.start_time.tzinfo is UTC


# --- any JSON whatever ------------------------------------------------------------------------------------------


def text_with(member: str) -> str:
    """The full message as text, with this text as one more value of its provider's data."""
    marked = changed(full(), f"{PAYLOAD}.custom.provider_specific.retell.data.odd", "HERE")
    return json.dumps(marked).replace('"HERE"', member)


ODD = f"$.{PAYLOAD}.custom.provider_specific.retell.data.odd"


@pytest.mark.parametrize(
    ("member", "found"),
    [
        ('"\\u0000"', []),
        ("-0.0", []),
        ("1e308", []),
        ("123456789012345678901234567890", []),
        ('{"a": 1, "a": 2}', []),
        ("NaN", [("S4", ODD)]),
        ("-Infinity", [("S4", ODD)]),
        ("1e999", [("S4", ODD)]),
        ("9" * 400, [("S4", ODD)]),
        ("9" * 5000, [("S2", "$")]),
        ('"\\ud800"', [("S2", "$")]),
        ('{"\\udfff": 1}', [("S2", "$")]),
        ("[" * 150 + "]" * 150, [("S2", ODD + "[0]" * 99)]),
        ("[" * 100_000, [("S2", "$")]),
        ("[" * 100_000 + "]" * 100_000, [("S2", "$")]),
    ],
    ids=lambda value: str(value)[:20],
)
def test_text_with_an_odd_value_gives_findings_and_no_exception(member, found):
    report = check(text_with(member))
    assert rules(report) == found
    assert report.ok == (not found)


def test_the_last_of_two_members_of_one_name_counts():
    text = json.dumps(full()).replace('"call_id"', '"call_id": "first", "call_id"', 1)
    assert check(text).message == VCPMessage.from_dict(full())


@pytest.mark.parametrize(
    "member", ["[" + "123456789," * 1_000_000 + "1]", '"' + "é" * 5_000_000 + '"'], ids=["list", "text"]
)
def test_ten_megabytes_are_a_message_like_any_other(member):
    assert rules(check(text_with(member))) == []


@pytest.mark.parametrize("mark", ["[exactly]", "[leniently]", "[key]"])
@pytest.mark.parametrize(
    "place", ["", f"{PAYLOAD}.custom.provider_specific", f"{CALL}", f"{PAYLOAD}.artifacts.debug_artifacts"]
)
def test_no_name_of_a_member_can_hide_what_is_wrong_with_it(place, mark):
    report = check(changed(full(), f"{place}.{mark}".strip("."), float("nan")))
    assert not report.ok
    assert report.errors[0].context["rule"] in {"S2", "S4"}


def test_more_broken_values_than_anyone_can_read_are_one_finding():
    report = check(changed(full(), f"{PAYLOAD}.outcomes.perceived", [0] * (MAX_REFUSALS + 1)))
    assert rules(report) == [("S2", "$")]
    assert report.errors[0].message == "more than 10000 values are broken"


def test_each_of_many_broken_values_is_found():
    report = check(changed(full(), f"{PAYLOAD}.outcomes.perceived", [0] * 1000))
    assert len(report.errors) == 1000


def test_a_message_that_holds_itself_is_an_error():
    endless: dict[str, Any] = full()
    endless["vcp_payload"]["custom"]["experimental"] = endless
    assert {error.message for error in validate(endless, now=NOW).errors} == {"nested too deeply"}


def test_a_moment_may_lie_at_the_ends_of_time():
    edge = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    early = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=-1)))
    for moment in (edge, early):
        message = VCPMessage.from_dict(changed(full(), f"{CALL}.start_time", moment.isoformat()))
        assert VCPMessage.from_json(message.to_json()) == message
