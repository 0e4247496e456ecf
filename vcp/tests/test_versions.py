"""Older versions: which form a message has, and every rule of theirs with a case that breaks it."""

from __future__ import annotations

from typing import Any

import pytest

import vcp
from vcp.errors import SchemaError
from vcp.tests.samples import NOW, changed, without
from vcp.versions.rules import is_uuid
from vcp.versions.v03 import LineageMessage, PublishedMessage
from vcp.versions.v04 import MessageV04

CALL = "vcp_payload.call"
OUTCOMES = "vcp_payload.outcomes"
AUDIT = "vcp_payload.audit"


def published() -> dict[str, Any]:
    return vcp.examples.load("v03_full_mode")


def lineage() -> dict[str, Any]:
    return vcp.examples.load("v03_lineage")


def v04() -> dict[str, Any]:
    return vcp.examples.load("v04_complete")


def whole() -> dict[str, Any]:
    return vcp.examples.load("v05_whole")


def findings(message: Any) -> list[tuple[str, str | None]]:
    report = vcp.validate(message, now=NOW)
    return [(error.context["rule"], error.field_path) for error in report.errors + report.warnings]


DETECTED = {
    "published": (published(), ("0.3", "published")),
    "published without a version": (without(published(), "vcp_version"), ("0.3", "published")),
    "only the audit says so": (without(published(), "call_id"), ("0.3", "published")),
    "only the call_id says so": (changed(lineage(), "call_id", "c"), ("0.3", "published")),
    "only perceived says so": (changed(lineage(), f"{OUTCOMES}.perceived", [{}]), ("0.3", "published")),
    "lineage": (lineage(), ("0.3", "lineage")),
    "lineage with no outcomes": (without(lineage(), OUTCOMES), ("0.3", "lineage")),
    "v0.4": (v04(), ("0.4", "complete")),
    "v0.4 without consent": (without(v04(), "vcp_payload.consent"), ("0.4", "incomplete")),
    "v0.4 with a null provenance": (changed(v04(), "vcp_payload.provenance", None), ("0.4", "incomplete")),
    "v0.4 without a payload": ({"vcp_version": "0.4"}, ("0.4", "incomplete")),
    "v0.4 without a version": (without(v04(), "vcp_version"), ("0.4", "complete")),
    "neither version told": (
        without(without(v04(), "vcp_version"), f"{AUDIT}.schema_version"),
        ("0.4", "complete"),
    ),
    "neither version told, no provenance": (
        without(without(published(), "vcp_version"), f"{AUDIT}.schema_version"),
        ("0.3", "published"),
    ),
    "v0.5 that calls itself 0.4": (changed(whole(), "vcp_version", "0.4"), ("0.4", "current")),
    "the same without audit": (without(changed(whole(), "vcp_version", "0.4"), "audit"), ("0.4", "current")),
    "v0.5": (whole(), ("0.5", "current")),
    "v0.5 without a version": (without(whole(), "vcp_version"), ("0.5", "current")),
    "nothing": ({}, ("0.5", "current")),
    "no object": ([], ("0.5", "current")),
}


@pytest.mark.parametrize("case", DETECTED)
def test_version_and_shape_are_told_by_content(case):
    content, form = DETECTED[case]
    assert vcp.detect(content) == form
    assert vcp.validate(content, now=NOW).form == form


@pytest.mark.parametrize("version", ["0.6", "1.0", "0.2", "", 0.3, 3, True, ["0.3"]])
def test_an_unknown_version_names_the_known_ones(version):
    with pytest.raises(SchemaError) as refused:
        vcp.detect(changed(published(), "vcp_version", version))
    assert refused.value.code == "VCP_E001"
    assert "0.3, 0.4, 0.5" in refused.value.message


@pytest.mark.parametrize("content", [{"vcp_version": "0.3"}, {"vcp_version": "0.3", "vcp_payload": []}])
def test_v03_of_neither_shape_is_an_e001(content):
    report = vcp.validate(content, now=NOW, provider="retell")
    assert [(error.code, error.field_path, error.provider) for error in report.errors] == [
        ("VCP_E001", "$.vcp_payload", "retell")
    ]
    assert report.form is None


def test_a_form_reads_as_version_and_shape():
    assert str(vcp.detect(published())) == "0.3 published"


@pytest.mark.parametrize(
    ("content", "model"),
    [(published(), PublishedMessage), (lineage(), LineageMessage), (v04(), MessageV04), (whole(), vcp.VCPMessage)],
)
def test_a_message_is_read_into_the_models_of_its_form(content, model):
    odd = changed(changed(content, "other", 1), f"{CALL}.agent", {"a": None})
    read = vcp.read(odd)
    assert type(read) is model
    written = read.model_dump(mode="json")
    assert written["other"] == 1
    assert written["vcp_payload"]["call"]["agent"] == {"a": None}
    assert vcp.validate(read, now=NOW) == vcp.validate(written, now=NOW)


def test_reading_reports_everything_that_is_broken():
    with pytest.raises(SchemaError) as refused:
        vcp.read(vcp.jcs(changed(without(published(), f"{CALL}.provider"), f"{CALL}.duration_sec", "long")))
    assert [error.field_path for error in refused.value.errors] == [
        "$.vcp_payload.call.provider",
        "$.vcp_payload.call.duration_sec",
    ]


PURPOSE = f"{CALL}.purpose_contract.success_criteria.0"
TOOL = {"capability_id": "t", "capability_type": "webhook", "invoked_at": "2025-10-14T12:01:00Z", "success": False}
BROKEN: list[tuple[str, dict[str, Any], str, Any]] = [
    # rule, message, place, value
    ("S2", published(), f"{CALL}.start_time", 1760125330),
    ("S2", published(), f"{CALL}.start_time", "yesterdayZ"),
    ("S2", published(), f"{PURPOSE}.value", {"a": 1}),
    ("S1", published(), f"{PURPOSE}.value", None),
    ("S2", published(), f"{PURPOSE}.value", "\ud800"),
    ("S2", published(), f"{OUTCOMES}.perceived.0", "helpful"),
    ("S2", published(), f"{OUTCOMES}.perceived.0.at", True),
    ("S3", published(), f"{OUTCOMES}.objective.status", "failure"),
    ("S3", published(), f"{OUTCOMES}.perception_gap.gap_class", "minor_deviation"),
    ("S3", published(), f"{OUTCOMES}.perceived.0.by", "dog"),
    ("S4", published(), f"{PURPOSE}.value", float("inf")),
    ("S5", published(), f"{PURPOSE}.id", " "),
    ("S6", published(), f"{OUTCOMES}.perceived.0.sentiment.score", 1.5),
    ("S6", published(), f"{OUTCOMES}.perception_gap.drivers.0.weight", -1),
    ("S7", published(), f"{OUTCOMES}.perception_gap.gap_score", -0.1),
    ("S7", published(), f"{CALL}.duration_sec", -1),
    ("S8", published(), f"{OUTCOMES}.perceived.0.mood", "sunny"),
    ("X2", published(), f"{CALL}.duration_sec", 7),
    ("X6", published(), "vcp_payload.hcr.outcome_status", "failed"),
    ("X7", published(), f"{AUDIT}.schema_version", "0.4"),
    ("A1", published(), "vcp_payload.artifacts.recording_url", "ftp://example.com/1"),
    ("A2", published(), f"{AUDIT}.normalized_at", "2025-10-01T00:00:00.000Z"),
    ("V1", published(), "vcp_payload.consent", {"status": "granted"}),
    ("V1", published(), "vcp_payload.provenance", {}),
    ("V3", published(), "call_id", "another"),
    ("V4", published(), f"{CALL}.start_time", "2025-10-13T02:06:10+02:00"),
    ("V4", published(), f"{AUDIT}.normalized_at", "2025-10-13T00:09:24"),
    ("S2", lineage(), f"{OUTCOMES}.perceived.0", 3),
    ("S9", lineage(), "audit.received_at", "2025-10-14T12:03:20"),
    ("X5", lineage(), f"{CALL}.capabilities_invoked.0", TOOL),
    ("X6", lineage(), "vcp_payload.hcr.outcome_status", "failure"),
    ("X11", lineage(), "audit.checksum", "0" * 64),
    ("V1", lineage(), "vcp_payload.consent", {"status": "granted"}),
    ("S3", v04(), f"{OUTCOMES}.objective.disconnect_reason", "bored"),
    ("S7", v04(), f"{CALL}.duration_sec", -1),
    ("X1", v04(), f"{CALL}.end_time", "2025-10-13T08:00:00Z"),
    ("V2", v04(), "vcp_payload.consent", None),
    ("V2", v04(), "vcp_payload.provenance", None),
    ("C4", v04(), "vcp_payload.consent.consent_method", "inferred"),
    ("C3", v04(), "vcp_payload.consent.recording_consent", False),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "message", "place", "value"), BROKEN)
def test_each_rule_is_told_in_the_fields_of_the_older_version(rule, message, place, value):
    assert findings(message) == []
    path = "$." + ".".join(place.split("."))
    for number in range(3):
        path = path.replace(f".{number}", f"[{number}]")
    found = findings(changed(message, place, value))
    assert (rule, path) in [(name, (place or "").removesuffix(".error_message")) for name, place in found]
    assert {name for name, _ in found} <= {rule, "X2"}


def test_a_call_long_after_its_arrival_is_x10():
    message = changed(published(), f"{AUDIT}.received_at", "2025-10-01T00:00:00.000Z")
    assert findings(message) == [("X10", "$.vcp_payload.call.start_time")]


def test_an_id_that_is_no_uuid_is_v3_and_told_once():
    message = changed(changed(published(), "call_id", "call_1"), f"{CALL}.call_id", "call_1")
    assert findings(message) == [("V3", "$.call_id")]


@pytest.mark.parametrize(
    ("call_id", "is_one"),
    [
        ("CB50709F-8369-5DD9-AEB9-BEFE9354F25C", True),
        ("cb50709f83695dd9aeb9befe9354f25c", True),
        ("cb50709f-83695dd9-aeb9-befe9354f25c", False),
        ("cb50709f-8369-5dd9-aeb9-befe9354f25", False),
        ("gb50709f-8369-5dd9-aeb9-befe9354f25c", False),
    ],
)
def test_what_counts_as_a_uuid(call_id, is_one):
    assert is_uuid(call_id) is is_one


def test_a_lineage_checksum_is_right_when_it_is_that_of_its_own_fields():
    message = lineage()
    summed = changed(message, "audit.checksum", vcp.checksum(vcp.read(message)))
    assert findings(summed) == []


def test_denied_consent_leaves_nothing_to_say_where_nothing_personal_is_held():
    message = changed(v04(), "vcp_payload.consent.recording_consent", False)
    for place in (f"{CALL}.from", f"{CALL}.to"):
        message = without(message, place)
    for place in ("recording_url", "transcript_url"):
        message = without(message, f"vcp_payload.artifacts.{place}")
    assert findings(message) == []


def test_v04_takes_any_days_above_none():
    assert findings(changed(v04(), "vcp_payload.consent.data_retention_days", 0)) == [
        ("S7", "$.vcp_payload.consent.data_retention_days")
    ]


def test_findings_of_older_versions_stand_in_document_order():
    message = changed(published(), f"{AUDIT}.normalized_at", "soon")
    message = changed(message, "vcp_payload.apple", 1)
    message = without(message, f"{CALL}.session_id")
    report = vcp.validate(message, now=NOW)
    assert [error.field_path for error in report.errors] == [
        "$.vcp_payload.call.session_id",
        "$.vcp_payload.audit.normalized_at",
    ]
    assert [warning.field_path for warning in report.warnings] == ["$.vcp_payload.apple"]
    assert report.message is None
