"""Every rule of validation with a case that breaks it and one that does not; and any JSON whatever."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcp.checksum import checksum
from vcp.models import VCPMessage
from vcp.tests.samples import NOW, changed, full, vector, without
from vcp.tests.tries import tries
from vcp.validate import Report, validate

PAYLOAD = "vcp_payload"
CALL = f"{PAYLOAD}.call"
OUTCOMES = f"{PAYLOAD}.outcomes"
ATTRIBUTION = f"{OUTCOMES}.model_outcome_attribution"
CONSENT = f"{PAYLOAD}.consent"
TOOL = f"{CALL}.capabilities_invoked.1"
START = "2025-10-14T12:00:00Z"


# The same examples on every run.
fixed = tries(40)


def check(message: Any) -> Report:
    return validate(message, now=NOW)


def rules(report: Report) -> list[tuple[str, str | None]]:
    """(rule, path below the root) of every finding, errors first."""
    return [(error.context["rule"], error.field_path) for error in report.errors + report.warnings]


def test_a_full_message_has_no_findings():
    report = check(full())
    assert rules(report) == []
    assert report.ok
    assert report.message == VCPMessage.from_dict(full())


@pytest.mark.parametrize("form", [json.dumps, lambda m: json.dumps(m).encode(), VCPMessage.from_dict])
def test_text_bytes_and_message_are_checked_alike(form):
    odd = changed(changed(full(), f"{CALL}.agent_id", "a"), f"{CALL}.duration_sec", 5)
    assert check(form(odd)) == check(odd)
    assert rules(check(odd)) == [
        ("X2", "$.vcp_payload.call.duration_sec"),
        ("S8", "$.vcp_payload.call.agent_id"),
    ]


BROKEN = [
    # rule, code, place, value
    ("S2", "VCP_E004", f"{CALL}.call_id", 7),
    ("S2", "VCP_E004", f"{CALL}.call_id", "\ud800"),
    ("S2", "VCP_E004", f"{CALL}.duration_sec", 1.5),
    ("S2", "VCP_E004", f"{CALL}.duration_sec", True),
    ("S2", "VCP_E004", f"{CALL}.duration_sec", "two"),
    ("S2", "VCP_E004", f"{CALL}.start_time", "soon"),
    ("S2", "VCP_E004", f"{CALL}.end_time", "9999-12-31T23:59:59-01:00"),
    ("S2", "VCP_E004", f"{CALL}.capabilities_invoked", "lookup"),
    ("S2", "VCP_E004", f"{CALL}.capabilities_invoked.0", 7),
    ("S2", "VCP_E004", f"{TOOL}.success", "perhaps"),
    ("S2", "VCP_E004", f"{OUTCOMES}.objective.metrics", []),
    ("S2", "VCP_E004", f"{OUTCOMES}.user_satisfaction_score", "high"),
    ("S2", "VCP_E004", f"{PAYLOAD}.artifacts", "none"),
    ("S3", "VCP_E001", f"{CALL}.channel", "fax"),
    ("S3", "VCP_E001", f"{OUTCOMES}.objective.status", "completed"),
    ("S3", "VCP_E001", f"{TOOL}.capability_type", "magic"),
    ("S4", "VCP_E004", f"{OUTCOMES}.perception_gap.gap_score", math.nan),
    ("S4", "VCP_E004", f"{CALL}.duration_sec", math.inf),
    ("S4", "VCP_E004", f"{CALL}.end_time", math.nan),
    ("S4", "VCP_E004", f"{OUTCOMES}.user_satisfaction_score", "NaN"),
    ("S4", "VCP_E004", f"{OUTCOMES}.objective.metrics.aht_sec", -math.inf),
    ("S4", "VCP_E004", f"{PAYLOAD}.custom.integrations.crm_system.stage", math.nan),
    ("S5", "VCP_E001", f"{CALL}.session_id", " \n"),
    ("S5", "VCP_E001", f"{PAYLOAD}.hcr.headline", ""),
    ("S6", "VCP_E001", f"{OUTCOMES}.perception_gap.gap_score", 1.1),
    ("S6", "VCP_E001", f"{OUTCOMES}.objective.confidence", -0.1),
    ("S6", "VCP_E001", f"{OUTCOMES}.user_satisfaction_score", 2),
    ("S6", "VCP_E001", f"{PAYLOAD}.model_selection.roles.LLM.telemetry_prior.success_rate", 98),
    ("S6", "VCP_E001", f"{PAYLOAD}.model_selection.roles.LLM.telemetry_prior.availability", -1),
    ("S6", "VCP_E001", f"{OUTCOMES}.business_impact.conversion_probability", 1.5),
    ("S6", "VCP_E001", f"{ATTRIBUTION}.efficiency_score", 1.0001),
    ("S7", "VCP_E001", f"{CALL}.duration_sec", -1),
    ("S7", "VCP_E001", f"{TOOL}.duration_ms", -1),
    ("S7", "VCP_E001", f"{ATTRIBUTION}.roles.LLM.minutes", -0.5),
    ("S7", "VCP_E001", f"{ATTRIBUTION}.roles.LLM.errors", -1),
    ("S7", "VCP_E001", f"{ATTRIBUTION}.roles.LLM.tokens_processed", -1),
    ("S7", "VCP_E001", f"{ATTRIBUTION}.roles.LLM.cost_usd", -0.01),
    ("S7", "VCP_E001", f"{ATTRIBUTION}.total_cost_usd", -1),
    ("S7", "VCP_E001", f"{OUTCOMES}.objective.scored_criteria.0.weight", -1),
    ("S7", "VCP_E001", "audit.processing_duration_ms", -1),
]


@pytest.mark.parametrize(("rule", "code", "place", "value"), BROKEN)
def test_a_broken_structure_is_one_error_at_its_place(rule, code, place, value):
    report = check(changed(full(), place, value))
    assert rules(report) == [(rule, _jsonpath(place))]
    assert report.errors[0].code == code
    assert report.message is None
    assert not report.ok


def _jsonpath(place: str) -> str:
    return "$" + "".join(f"[{name}]" if name.isdigit() else f".{name}" for name in place.split("."))


REQUIRED = [
    "vcp_payload",
    "audit",
    "audit.received_at",
    "audit.schema_version",
    *(f"{PAYLOAD}.{part}" for part in ("call", "model_selection", "outcomes", "hcr", "artifacts", "custom")),
    f"{PAYLOAD}.provenance",
    f"{PAYLOAD}.provenance.source_system",
    *(f"{CALL}.{name}" for name in ("call_id", "session_id", "provider", "start_time")),
    *(f"{PAYLOAD}.model_selection.{name}" for name in ("policy_id", "resolved_at", "roles")),
    f"{PAYLOAD}.model_selection.roles.LLM.chosen",
    *(f"{OUTCOMES}.{name}" for name in ("objective", "perception_gap", "model_outcome_attribution")),
    f"{OUTCOMES}.objective.status",
    *(f"{OUTCOMES}.perception_gap.{name}" for name in ("gap_score", "gap_class")),
    *(f"{ATTRIBUTION}.{name}" for name in ("roles", "kpis", "roles.LLM.model_id", "roles.LLM.minutes")),
    *(f"{PAYLOAD}.hcr.{name}" for name in ("audience", "headline", "outcome_status")),
    f"{PAYLOAD}.custom.provider_specific.retell.data",
    *(f"{CONSENT}.{name}" for name in ("consent_id", "status", "scope", "version")),
]


@pytest.mark.parametrize("place", REQUIRED)
def test_a_missing_required_field_is_reported_at_its_place(place):
    report = check(without(full(), place))
    assert rules(report) == [("S1", _jsonpath(place))]
    assert report.errors[0].code == "VCP_E005"


def _places(content: Any, place: str = "") -> list[str]:
    if not isinstance(content, dict):
        return [place]
    below = [leaf for key, item in content.items() for leaf in _places(item, f"{place}.{key}".strip("."))]
    return ([place] if place else []) + below


PLACES_OF_THE_SAMPLE = _places(full())


def test_every_other_field_may_be_absent():
    optional = [place for place in PLACES_OF_THE_SAMPLE if place.replace("TTS", "LLM") not in REQUIRED]
    assert [place for place in optional if not check(without(full(), place)).ok] == []


def test_an_unknown_map_key_is_named_once():
    report = check(changed(full(), f"{PAYLOAD}.model_selection.roles.XYZ", {"chosen": "a"}))
    assert rules(report) == [("S3", "$.vcp_payload.model_selection.roles.XYZ")]
    assert "'LLM'" in report.errors[0].context["expected"]


def test_every_number_that_is_not_finite_is_found_in_free_form_values_and_unknown_fields():
    content = changed(full(), f"{CALL}.extra", {"b": [1, math.nan], "a": math.inf})
    found = [finding for finding in rules(check(content)) if finding[0] == "S4"]
    assert found == [
        ("S4", "$.vcp_payload.call.extra.a"),
        ("S4", "$.vcp_payload.call.extra.b[1]"),
    ]


def test_findings_come_in_document_order_whatever_the_order_of_keys():
    content = full()
    content["audit"]["received_at"] = 1760444600
    content["zebra"] = content["apple"] = 1
    content[PAYLOAD]["call"]["end_time"] = "later"
    content[PAYLOAD]["call"]["call_id"] = None
    content[PAYLOAD]["outcomes"]["objective"]["scored_criteria"] = [{"id": "a"}, {"met": True}]
    report = check(content)
    assert rules(report) == [
        ("S1", "$.vcp_payload.call.call_id"),
        ("S2", "$.vcp_payload.call.end_time"),
        ("S1", "$.vcp_payload.outcomes.objective.scored_criteria[0].met"),
        ("S1", "$.vcp_payload.outcomes.objective.scored_criteria[1].id"),
        ("S9", "$.audit.received_at"),
        ("S8", "$.apple"),
        ("S8", "$.zebra"),
    ]
    turned = {key: content[key] for key in reversed(content)}
    assert check(turned) == report


@pytest.mark.parametrize("version", ["0.6", "0.2", "", 0.5, 5, ["0.5"], {"a": 1}, True])
def test_an_unknown_version_is_one_error_that_names_the_supported_ones(version):
    report = check(changed({"other": "shape"}, "vcp_version", version))
    assert rules(report) == [("S3", "$.vcp_version")]
    assert report.errors[0].code == "VCP_E001"
    assert report.errors[0].message == "unknown version; supported: 0.3, 0.4, 0.5"


def test_a_missing_version_counts_as_0_5():
    assert rules(check(without(full(), "vcp_version"))) == []


@pytest.mark.parametrize(
    "place",
    [
        "other",
        f"{PAYLOAD}.other",
        f"{CALL}.agent_id",
        f"{TOOL}.cost",
        f"{ATTRIBUTION}.roles.LLM.seconds",
        f"{PAYLOAD}.custom.provider_specific.retell.extractions",
    ],
)
@pytest.mark.parametrize("value", ["kept", None])
def test_s8_an_unknown_field_is_one_warning_and_is_kept(place, value):
    report = check(changed(full(), place, value))
    assert rules(report) == [("S8", _jsonpath(place))]
    assert report.message is not None
    assert report.message.to_dict() == changed(full(), place, value)


def test_s8_a_second_callers_number_under_the_python_name_counts_as_unknown():
    report = check(changed(full(), f"{CALL}.from_", "+12137779999"))
    assert rules(report) == [("S8", "$.vcp_payload.call.from_")]
    assert report.message is not None
    assert report.message.vcp_payload.call.from_ == "+12137771234"


@pytest.mark.parametrize("content", [without(full(), f"{CALL}.from"), changed(full(), f"{CALL}.from", None)])
def test_s8_from_under_its_python_name_is_no_unknown_field(content):
    report = check(changed(content, f"{CALL}.from_", "+12137771234"))
    assert rules(report) == []
    assert report.message == VCPMessage.from_dict(full())


@pytest.mark.parametrize(
    "value",
    ["2025-10-14T12:00:00", "2025-10-14", 1760443200, 1760443200000, "1760443200", NOW.replace(tzinfo=None)],
)
def test_s9_a_guessed_timestamp_is_a_warning(value):
    report = check(changed(full(), f"{PAYLOAD}.model_selection.resolved_at", value))
    assert rules(report) == [("S9", "$.vcp_payload.model_selection.resolved_at")]


@pytest.mark.parametrize(
    "value", ["2025-10-14T12:00:00z", "2025-10-14T14:00:00+02:00", "2025-10-14T14:00:00+0200", NOW]
)
def test_s9_a_timestamp_with_offset_is_none(value):
    assert rules(check(changed(full(), f"{PAYLOAD}.model_selection.resolved_at", value))) == []


def test_s9_a_numeric_timestamp_inside_a_list_is_found():
    report = check(changed(full(), f"{TOOL}.invoked_at", 1760443260))
    assert rules(report) == [("S9", "$.vcp_payload.call.capabilities_invoked[1].invoked_at")]


def having(**changes: Any) -> dict[str, Any]:
    """The full sample with values put in under the short names of `PLACES`; None takes the value out."""
    content = full()
    for name, value in changes.items():
        place = PLACES[name]
        content = without(content, place) if value is None else changed(content, place, value)
    return content


PLACES = {
    "end": f"{CALL}.end_time",
    "duration": f"{CALL}.duration_sec",
    "start": f"{CALL}.start_time",
    "from_": f"{CALL}.from",
    "to": f"{CALL}.to",
    "invoked": f"{TOOL}.invoked_at",
    "tool_success": f"{TOOL}.success",
    "tool_error": f"{TOOL}.error_message",
    "told_status": f"{PAYLOAD}.hcr.outcome_status",
    "total": f"{ATTRIBUTION}.total_cost_usd",
    "tts_cost": f"{ATTRIBUTION}.roles.TTS.cost_usd",
    "selected_tts": f"{PAYLOAD}.model_selection.roles.TTS",
    "audio": f"{PAYLOAD}.artifacts.audio_recording_ref",
    "transcript": f"{PAYLOAD}.artifacts.transcript_ref",
    "record": f"{PAYLOAD}.artifacts.compliance_records.gdpr",
    "consent": CONSENT,
    "status": f"{CONSENT}.status",
    "granted": f"{CONSENT}.granted_at",
    "expires": f"{CONSENT}.expires_at",
    "scope": f"{CONSENT}.scope",
    "ip": f"{CONSENT}.ip_address_hash",
    "received": "audit.received_at",
    "processed": "audit.processed_at",
    "schema": "audit.schema_version",
    "checksum": "audit.checksum",
}
NO_TRACE: dict[str, Any] = {"from_": None, "to": None, "audio": None, "transcript": None}
PAST, LATER = (NOW - timedelta(hours=1)).isoformat(), (NOW + timedelta(microseconds=1)).isoformat()

# rule, the place it is reported at, a message that breaks it, and one that just does not
ACROSS_FIELDS = [
    (
        "X1",
        "end",
        having(duration=None, end="2025-10-14T11:59:59Z", invoked=START),
        having(duration=0, end=START, invoked=START),
    ),
    # The call of the sample lasts 195.25 s, of which 2 % are 3.9 s.
    ("X2", "duration", having(duration=200), having(duration=199)),
    ("X2", "duration", having(duration=191), having(duration=192)),
    (
        "X2",
        "duration",
        having(duration=83, end="2025-10-14T12:01:20Z"),
        having(duration=82, end="2025-10-14T12:01:20Z"),
    ),
    ("X2", "duration", having(duration=1000), having(duration=1000, end=None)),
    ("X3", "invoked", having(invoked="2025-10-14T11:59:59Z"), having(invoked=START)),
    ("X4", "invoked", having(invoked="2025-10-14T12:03:16Z"), having(invoked="2025-10-14T12:03:15.25Z")),
    (
        "X4",
        "invoked",
        having(invoked="2025-10-15T12:03:16Z"),
        having(invoked="2025-10-15T12:03:16Z", end=None),
    ),
    ("X5", "tool_error", having(tool_error=None), having(tool_error=None, tool_success=True)),
    ("X5", "tool_error", having(tool_error=""), having(tool_error="closed")),
    ("X6", "told_status", having(told_status="failure"), having(told_status="success")),
    ("X7", "schema", having(schema="0.4"), having(schema="0.5")),
    # The roles of the sample cost 0.12 USD.
    ("X8", "total", having(total=0.109), having(total=0.11)),
    ("X8", "total", having(total=100, tts_cost=100.93), having(total=100, tts_cost=100.92)),
    ("X8", "total", having(total=0), having(total=None)),
    ("X8", "total", having(total=0.05), having(total=0.08, tts_cost=None)),
    (
        "X10",
        "start",
        having(received="2025-10-13T11:59:59Z", processed=None),
        having(received="2025-10-13T12:00:00Z"),
    ),
    ("X11", "checksum", having(checksum="0" * 64), having(checksum=checksum(full()))),
    ("X11", "checksum", having(checksum=checksum(full()).upper()), having()),
    ("A1", "audio", having(audio="ftp://a/1.wav"), having(audio="HTTPS://a/1.wav")),
    ("A1", "transcript", having(transcript="/var/1.txt"), having(transcript="azure://1.txt")),
    ("A1", "record", having(record="gdpr record"), having(record="gs://1")),
    (
        "A2",
        "processed",
        having(processed="2025-10-14T12:03:19.999Z"),
        having(processed="2025-10-14T12:03:20Z"),
    ),
    ("C1", "status", having(status="revoked"), having(status="granted")),
    ("C2", "status", having(status="expired"), having(status="granted")),
    ("C2", "status", having(status="expired", expires=PAST), having(expires=None)),
    ("C2", "expires", having(expires=NOW.isoformat()), having(expires=LATER)),
    ("C3", "status", having(status="denied"), having(status="denied", **NO_TRACE)),
    *(
        (
            "C3",
            "status",
            having(status="denied", **{**NO_TRACE, name: "local://1"}),
            having(status="denied", **NO_TRACE),
        )
        for name in NO_TRACE
    ),
    ("C4", "status", having(status="pending"), having(status="granted")),
    ("C4", "consent", having(consent=None), having()),
    ("C5", "scope", having(scope=["analytics"]), having(scope=["analytics"], audio=None)),
    ("C6", "granted", having(granted=None), having(granted=None, status="denied", **NO_TRACE)),
    ("C7", "expires", having(granted=LATER, expires=NOW.isoformat()), having(granted=LATER, expires=LATER)),
    ("C7", "ip", having(ip="203.0.113.7"), having(ip="sha256:203a")),
    ("C7", "ip", having(ip=" 2001:db8::1"), having(ip="abcdef")),
    ("C7", "ip", having(ip="[2001:db8::1]"), having(ip=None)),
]
ERROR_RULES = {"X1", "X11", "C1", "C3", "C7"}


@pytest.mark.parametrize(("rule", "place", "broken", "_sound"), ACROSS_FIELDS)
def test_a_rule_across_fields_finds_what_breaks_it(rule, place, broken, _sound):
    report = check(broken)
    findings = report.errors if rule in ERROR_RULES else report.warnings
    assert (rule, _jsonpath(PLACES[place])) in [(found.context["rule"], found.field_path) for found in findings]
    assert {found.code for found in findings} == {"VCP_E001"}
    assert report.ok == (rule not in ERROR_RULES)
    assert report.message is not None


@pytest.mark.parametrize(("rule", "_place", "_broken", "sound"), ACROSS_FIELDS)
def test_a_rule_across_fields_keeps_silent_about_what_does_not(rule, _place, _broken, sound):
    report = check(sound)
    assert report.message is not None
    assert rule not in [found for found, _ in rules(report)]


def test_x9_a_role_that_was_never_selected_is_named():
    report = check(having(selected_tts=None))
    assert rules(report) == [("X9", "$.vcp_payload.outcomes.model_outcome_attribution.roles.TTS")]
    assert report.ok


def test_c3_names_what_the_record_still_holds():
    report = check(having(status="denied", to=None, audio=None))
    assert report.errors[0].message == "consent is denied, yet the record holds call.from, artifacts.transcript_ref"


def test_every_rule_of_the_table_was_tried():
    tried = {rule for rule, *_ in BROKEN} | {rule for rule, *_ in ACROSS_FIELDS} | {"S1", "S8", "S9", "X9"}
    numbered = {f"S{n}" for n in range(1, 10)} | {f"X{n}" for n in range(1, 12)} | {f"C{n}" for n in range(1, 8)}
    assert tried == numbered | {"A1", "A2"}


def test_the_provider_is_copied_into_every_finding():
    report = validate(vector(), now=NOW, provider="retell")
    assert [warning.provider for warning in report.warnings] == ["retell"]


def test_a_report_is_plain_json():
    report = check(changed(full(), f"{CALL}.direction", "incoming"))
    assert json.loads(json.dumps(report.to_dict())) == {
        "errors": [
            {
                "code": "VCP_E001",
                "message": "value is not one of the allowed ones",
                "field_path": "$.vcp_payload.call.direction",
                "implementation": "voicelens-django/1.0",
                "context": {
                    "rule": "S3",
                    "expected": "'inbound' or 'outbound'",
                },
            }
        ],
        "warnings": [],
    }


def test_a_message_whose_attributes_were_set_to_nonsense_is_found_out():
    message = VCPMessage.from_dict(full())
    message.vcp_payload.call.duration_sec = -5
    assert rules(check(message)) == [("S7", "$.vcp_payload.call.duration_sec")]


def test_the_input_is_left_as_it_was():
    content = changed(full(), f"{CALL}.end_time", None)
    check(content)
    assert content == changed(full(), f"{CALL}.end_time", None)


UNREADABLE: list[str | bytes] = [
    "",
    "{",
    "nonsense",
    "{} {}",
    "[" * 300 + "]" * 300,
    '"\\ud800"',
    '"\ud800"',
    b"\xff\xfe",
    b'{"a": "\xff"}',
    "9" * 5000,
]


@pytest.mark.parametrize("text", UNREADABLE, ids=lambda text: ascii(text)[:20])
def test_text_that_is_not_json_is_one_error_at_the_root(text):
    report = check(text)
    assert rules(report) == [("S2", "$")]
    assert report.errors[0].code == "VCP_E004"


@pytest.mark.parametrize("value", [[], [1], None, 7, 1.5, True, {1: 2}.keys()], ids=repr)
def test_a_value_that_is_no_object_is_one_error_at_the_root(value):
    assert rules(check(value)) == [("S2", "$")]


def test_a_text_with_nan_is_reported_at_its_place():
    text = json.dumps(changed(full(), f"{OUTCOMES}.objective.metrics.aht_sec", math.nan))
    assert rules(check(text)) == [("S4", "$.vcp_payload.outcomes.objective.metrics.aht_sec")]


def test_a_value_nested_without_end_is_an_error():
    endless: list[Any] = []
    endless.append(endless)
    report = check(changed(full(), "other", endless))
    assert [error.message for error in report.errors] == ["nested too deeply"]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


@fixed
@given(anything)
def test_anything_at_the_root_gives_findings_and_no_exception(value):
    report = check(value)
    assert report.errors
    json.dumps(report.to_dict()).encode("ascii")


@fixed
@given(st.text() | st.binary())
def test_any_text_gives_findings_and_no_exception(text):
    assert check(text).errors


@fixed
@given(st.sampled_from(PLACES_OF_THE_SAMPLE), anything)
def test_anything_at_any_place_gives_a_report_and_a_readable_message(place, value):
    report = check(changed(full(), place, value))
    json.dumps(report.to_dict()).encode("ascii")
    if report.message is not None:
        again = VCPMessage.from_json(report.message.to_json())
        assert again.to_dict() == report.message.to_dict()
        assert checksum(again) == checksum(report.message)
