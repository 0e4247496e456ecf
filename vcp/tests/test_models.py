"""Reading and writing messages: fields, defaults, null, unknown fields, `from`, numbers, and `field_type`."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from vcp.checksum import canonical_json
from vcp.errors import SchemaError
from vcp.models import VCPMessage, field_paths, field_type
from vcp.scalars import MAX_SAFE_INTEGER
from vcp.tests.samples import changed, full, vector, without

CALL = "vcp_payload.call"


def test_it_writes_a_full_message_exactly_as_it_was_read():
    message = VCPMessage.from_dict(full())
    assert json.dumps(message.to_dict()) == json.dumps(full())


def test_text_and_dict_say_the_same():
    message = VCPMessage.from_dict(full())
    assert json.loads(message.to_json()) == message.to_dict()


@pytest.mark.parametrize("sample", [full, vector], ids=["full", "vector"])
def test_writing_and_reading_again_changes_nothing(sample):
    first = VCPMessage.from_dict(sample())
    second = VCPMessage.from_json(first.to_json())
    assert second == first
    assert second.to_json() == first.to_json()


def test_it_reads_bytes():
    assert VCPMessage.from_json(json.dumps(full()).encode()) == VCPMessage.from_dict(full())


def test_it_fills_the_defaults_of_a_short_message():
    payload = VCPMessage.from_dict(vector()).to_dict()["vcp_payload"]
    assert payload["call"]["capabilities_invoked"] == []
    assert payload["custom"] == {"provider_specific": {}}
    assert payload["outcomes"]["perceived"] == []
    assert payload["artifacts"] == {}


def test_it_fills_no_time_into_a_missing_created_at():
    message = VCPMessage.from_dict(without(vector(), "vcp_payload.provenance.created_at"))
    assert "created_at" not in message.to_dict()["vcp_payload"]["provenance"]


def test_the_version_is_0_5_unless_told():
    assert VCPMessage.from_dict(without(vector(), "vcp_version")).vcp_version == "0.5"


@pytest.mark.parametrize("field", ["end_time", "channel", "from", "from_", "capabilities_invoked"])
def test_a_null_field_equals_an_absent_one(field):
    absent = VCPMessage.from_dict(without(full(), f"{CALL}.{field.rstrip('_')}"))
    null = VCPMessage.from_dict(changed(absent.to_dict(), f"{CALL}.{field}", None))
    assert null.to_json() == absent.to_json()


def test_a_required_field_that_is_null_is_missing():
    with pytest.raises(SchemaError) as caught:
        VCPMessage.from_dict(changed(full(), f"{CALL}.call_id", None))
    assert caught.value.code == "VCP_E005"
    assert caught.value.field_path == "$.vcp_payload.call.call_id"


@pytest.mark.parametrize(
    "path",
    [
        "not_known",
        "vcp_payload.not_known",
        f"{CALL}.agent_id",
        "vcp_payload.custom.provider_specific.retell.extractions",
        "vcp_payload.outcomes.business_impact.renewal",
        f"{CALL}.capabilities_invoked.1.cost",
    ],
)
@pytest.mark.parametrize("value", [None, 1.0, "text", {"a": [None, {"b": None}]}], ids=json.dumps)
def test_unknown_fields_are_written_back_unchanged(path, value):
    content = changed(full(), path, value)
    assert VCPMessage.from_dict(content).to_dict() == content
    assert json.loads(VCPMessage.from_dict(content).to_json()) == content


def test_nulls_inside_free_form_objects_stay():
    data = VCPMessage.from_dict(full()).to_dict()["vcp_payload"]["custom"]["provider_specific"]["retell"]["data"]
    assert data["opt_out"] is None


def test_the_callers_number_is_read_under_both_names_and_written_as_from():
    content = without(full(), f"{CALL}.from")
    message = VCPMessage.from_dict(changed(content, f"{CALL}.from_", "+12137771234"))
    assert message.vcp_payload.call.from_ == "+12137771234"
    call = message.to_dict()["vcp_payload"]["call"]
    assert call["from"] == "+12137771234"
    assert "from_" not in call


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2025-10-14T12:00:00Z", "2025-10-14T12:00:00.000Z"),
        ("2025-10-14t12:00:00z", "2025-10-14T12:00:00.000Z"),
        ("2025-10-14 12:00:00Z", "2025-10-14T12:00:00.000Z"),
        ("2025-10-14T12:00:00-00:00", "2025-10-14T12:00:00.000Z"),
        ("2025-10-14T14:00:00+02:00", "2025-10-14T12:00:00.000Z"),
        ("2025-10-14T02:15:00.5-09:45", "2025-10-14T12:00:00.500Z"),
        ("2025-10-14T12:00:00", "2025-10-14T12:00:00.000Z"),
        ("2025-10-14T12:00:00.123456Z", "2025-10-14T12:00:00.123456Z"),
        ("2025-10-14T12:00:00.000001Z", "2025-10-14T12:00:00.000001Z"),
        (1760443200, "2025-10-14T12:00:00.000Z"),
        (1760443200.25, "2025-10-14T12:00:00.250Z"),
        (1760443200123, "2025-10-14T12:00:00.123Z"),
        (20_000_000_000, "2603-10-11T11:33:20.000Z"),
        (20_000_000_001, "1970-08-20T11:33:20.001Z"),
        (-30_000_000_000, "1969-01-18T18:40:00.000Z"),
        (datetime(2025, 10, 14, 14, tzinfo=timezone(timedelta(hours=2))), "2025-10-14T12:00:00.000Z"),
    ],
)
def test_timestamps_are_read_leniently_and_written_in_utc(written, read):
    adapter = field_type("call.start_time")
    assert adapter is not None
    value = adapter.validate_python(written)
    assert value.tzinfo is UTC
    assert adapter.dump_python(value, mode="json") == read


@pytest.mark.parametrize(
    "written",
    [
        "soon",
        "",
        "2025-13-01T00:00:00Z",
        "2025-10-14T25:00:00Z",
        "0001-01-01T00:00:00+14:00",
        True,
        [],
        {},
        "9999-12-31T23:59:59-01:00",
        math.nan,
        math.inf,
        1e300,
        10**400,
    ],
    ids=lambda value: str(value)[:20],
)
def test_it_refuses_what_is_no_timestamp(written):
    adapter = field_type("call.start_time")
    assert adapter is not None
    with pytest.raises(ValidationError):
        adapter.validate_python(written)


@pytest.mark.parametrize(
    ("path", "value", "kept"),
    [
        ("call.duration_sec", 120.0, 120),
        ("call.duration_sec", "120", 120),
        ("call.duration_sec", 0, 0),
        ("outcomes.user_satisfaction_score", 1, 1.0),
        ("outcomes.user_satisfaction_score", 0, 0.0),
        ("outcomes.business_impact.customer_lifetime_value_impact", -3, -3.0),
        ("outcomes.perceived", ["helpful"], ["helpful"]),
        ("call.channel", "inbound", "inbound"),
        ("call.provider", " retell ", " retell "),
        ("call.capabilities_invoked", ["lookup"], ["lookup"]),
        ("outcomes.objective.metrics", {"any": [1, None]}, {"any": [1, None]}),
        ("outcomes.objective.metrics.aht_sec", "about two", "about two"),
        ("model_selection.roles.LLM.chosen", "gpt-4.1", "gpt-4.1"),
        ("outcomes.model_outcome_attribution.roles.*.minutes", 2, 2.0),
        ("artifacts.debug_artifacts.trace", "local://1", "local://1"),
        ("custom.integrations.crm_system.stage.name", None, None),
        ("custom.experimental.a.b.c", 1, 1),
        ("custom.provider_specific.retell.data.agent_id", {"deep": 1}, {"deep": 1}),
        ("custom.provider_specific.*.data.agent_id", "a", "a"),
        ("call.from", "anonymous", "anonymous"),
    ],
)
def test_a_fields_type_takes_its_values(path, value, kept):
    adapter = field_type(path)
    assert adapter is not None
    result = adapter.validate_python(value)
    assert result == kept
    assert type(result) is type(kept)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("call.duration_sec", True),
        ("call.duration_sec", 1.5),
        ("call.duration_sec", -1),
        ("call.duration_sec", math.inf),
        ("call.duration_sec", "two"),
        ("call.duration_sec", MAX_SAFE_INTEGER + 1),
        ("call.duration_sec", None),
        ("call.call_id", ""),
        ("call.call_id", " \t"),
        ("call.call_id", 7),
        ("call.from", None),
        ("call.channel", "fax"),
        ("call", {"call_id": "c1"}),
        ("outcomes.user_satisfaction_score", 1.01),
        ("outcomes.user_satisfaction_score", False),
        ("outcomes.user_satisfaction_score", math.nan),
        ("outcomes.model_outcome_attribution.total_cost_usd", math.inf),
        ("outcomes.business_impact.revenue_attributed_usd", -math.inf),
        ("outcomes.business_impact.revenue_attributed_usd", 10**400),
        ("outcomes.objective.metrics", []),
        ("outcomes.objective.metrics.aht_sec", math.nan),
        ("custom.provider_specific.retell.data.agent_id", {"deep": [math.inf]}),
        ("custom.provider_specific.retell.data.agent_id", {"deep": {1, 2}}),
        ("custom.provider_specific.retell.data.agent_id", {1: 2}),
        ("custom.provider_specific.retell.data.agent_id", "\ud800"),
        ("custom.provider_specific.retell.data.agent_id", {"\ud800": 1}),
        ("custom.provider_specific.retell.data.agent_id", 10**400),
        ("call.capabilities_invoked", [7]),
        ("model_selection.roles", {"XYZ": {"chosen": "a"}}),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_fields_type_refuses_what_breaks_its_constraints(path, value):
    adapter = field_type(path)
    assert adapter is not None
    with pytest.raises(ValidationError):
        adapter.validate_python(value)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "call.",
        ".call",
        "call..from",
        "call.agent_id",
        "call.from_",
        "call.start_time.year",
        "call.capabilities_invoked.0",
        "call.capabilities_invoked.*",
        "artifacts.transcript",
        "artifacts.recording_url",
        "outcomes.objective.success",
        "model_selection.roles.XYZ.chosen",
        "custom.provider_specific.retell.extractions",
        "custom.provider_specific.retell.data.",
        "audit.received_at",
        "vcp_payload.call.call_id",
        "*",
        "consent.*",
    ],
)
def test_a_path_outside_the_schema_has_no_type(path):
    assert field_type(path) is None


def _leaf_paths(content: Any, path: str = "") -> list[str]:
    if isinstance(content, dict) and content:
        return [leaf for key, item in content.items() for leaf in _leaf_paths(item, f"{path}.{key}")]
    return [path[1:]]


def test_every_field_of_the_full_sample_has_a_type():
    unknown = [path for path in _leaf_paths(full()["vcp_payload"]) if field_type(path) is None]
    assert unknown == []


def test_the_type_of_a_field_is_built_once():
    assert field_type("call.start_time") is field_type("call.start_time")


def test_a_model_written_through_its_type_uses_wire_names():
    adapter = field_type("call")
    assert adapter is not None
    call = adapter.validate_python(full()["vcp_payload"]["call"])
    assert adapter.dump_python(call, mode="json") == full()["vcp_payload"]["call"]


def _nested(levels: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return changed(full(), "vcp_payload.custom.experimental.deep", value)


def test_free_form_values_may_be_nested_a_hundred_levels():
    text = VCPMessage.from_dict(_nested(99)).to_json()
    assert VCPMessage.from_json(text).to_dict() == _nested(99)


def test_deeper_free_form_values_are_refused():
    with pytest.raises(SchemaError, match="nested too deeply"):
        VCPMessage.from_dict(_nested(100))


def test_an_error_text_never_shows_the_value():
    with pytest.raises(SchemaError) as caught:
        VCPMessage.from_dict(changed(full(), f"{CALL}.start_time", "secret-value"))
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert [error.field_path for error in caught.value.errors] == ["$.vcp_payload.call.start_time"]


def test_it_refuses_text_that_is_not_json():
    with pytest.raises(SchemaError, match="cannot be read as JSON: line 2, column 7") as caught:
        VCPMessage.from_json('{"a": 1,\n "b": secret}')
    assert "secret" not in str(caught.value)


def test_the_score_of_a_criterion_may_have_any_scale():
    content = changed(full(), "vcp_payload.outcomes.objective.scored_criteria.0.score", 7.5)
    assert VCPMessage.from_dict(content).to_dict() == content


def test_every_named_field_can_be_looked_up_and_none_is_named_twice():
    named = field_paths()
    assert len(named) == len(set(named))
    assert [path for path in named if field_type(path) is None] == []
    assert {"call.from", "model_selection.roles.*.chosen", "outcomes.perceived"} <= set(named)


@pytest.mark.parametrize(
    ("hour", "fraction_us", "wire", "canonical"),
    [
        (14, 0, "2025-10-14T12:00:00.000Z", "2025-10-14T12:00:00Z"),
        (14, 120_000, "2025-10-14T12:00:00.120Z", "2025-10-14T12:00:00.12Z"),
        (14, 120_010, "2025-10-14T12:00:00.120010Z", "2025-10-14T12:00:00.12001Z"),
    ],
)
def test_a_moment_put_into_a_model_is_written_in_utc_whatever_its_offset(hour, fraction_us, wire, canonical):
    message = VCPMessage.from_dict(full())
    moment = datetime(2025, 10, 14, hour, 0, 0, fraction_us, timezone(timedelta(hours=2)))
    message.vcp_payload.call.start_time = moment
    assert message.to_dict()["vcp_payload"]["call"]["start_time"] == wire
    assert f'"start_time":"{canonical}"'.encode() in canonical_json(message)
