"""Migration by the schema's tables, row by row, the ways back, what is reported, and what is refused."""

from __future__ import annotations

import copy
import json
from typing import Any
from uuid import RFC_4122, UUID

import pytest

import vcp
from vcp.migrate.differences import same
from vcp.migrate.report import Note
from vcp.tests.samples import NOW, changed, without

CALL = "vcp_payload.call"
OUTCOMES = "vcp_payload.outcomes"
OBJECTIVE = f"{OUTCOMES}.objective"
GAP = f"{OUTCOMES}.perception_gap"
EXPERIMENTAL = "vcp_payload.custom.experimental"
NO_HCR = without(vcp.examples.load("v03_full_mode"), "vcp_payload.hcr")


def published() -> dict[str, Any]:
    return vcp.examples.load("v03_booked_service")


def full() -> dict[str, Any]:
    return vcp.examples.load("v03_full_mode")


def lineage() -> dict[str, Any]:
    return vcp.examples.load("v03_lineage")


def v04() -> dict[str, Any]:
    return vcp.examples.load("v04_complete")


def incomplete() -> dict[str, Any]:
    return vcp.examples.load("v04_incomplete")


def whole() -> dict[str, Any]:
    return vcp.examples.load("v05_whole")


def unsummed() -> dict[str, Any]:
    return without(whole(), "audit.checksum")


def value(message: dict[str, Any], path: str) -> Any:
    """What stands at a dotted path; None when nothing does."""
    place: Any = message
    for name in path.split("."):
        place = place[int(name)] if isinstance(place, list) else place.get(name)
        if place is None:
            return None
    return place


def noted(notes: list[Note]) -> list[str]:
    return [note.path.removeprefix("$.vcp_payload.") for note in notes]


SPAM = vcp.examples.load("v03_spam_filtered")
TWO_CALLERS = changed(published(), f"{OUTCOMES}.perceived", published()["vcp_payload"]["outcomes"]["perceived"] * 2)
V03 = f"{EXPERIMENTAL}.vcp_v03"
V04 = f"{EXPERIMENTAL}.vcp_v04"
FIRST_TOOL = f"{CALL}.capabilities_invoked.0"
DRIVERS = [
    {"type": "a", "weight": 0.5, "note": "one"},
    {"type": "b", "weight": 0.1},
    {"type": "c", "weight": 1, "note": "two"},
]

TOLD_ATTRIBUTION = {"roles": {}, "kpis": {"conversion": True}}
UPGRADED: list[tuple[dict[str, Any], str, Any]] = [
    (published(), "vcp_version", "0.5"),
    (published(), "call_id", None),
    (published(), "audit.schema_version", "0.5"),
    (published(), "audit.processed_at", published()["vcp_payload"]["audit"]["normalized_at"]),
    (published(), "vcp_payload.audit", None),
    (published(), "vcp_payload.consent", None),
    (published(), "vcp_payload.provenance.source_system", "retell"),
    (published(), "vcp_payload.provenance.created_at", published()["vcp_payload"]["audit"]["received_at"]),
    (published(), "vcp_payload.provenance.transformation_history", [
        "upgraded_from_v0.3", "satisfaction_from_caller_sentiment",
    ]),
    (TWO_CALLERS, "vcp_payload.provenance.transformation_history", ["upgraded_from_v0.3"]),
    (TWO_CALLERS, f"{OUTCOMES}.user_satisfaction_score", None),
    (published(), f"{OUTCOMES}.user_satisfaction_score", 0.82),
    (published(), f"{OUTCOMES}.perceived", ["caller: sentiment 0.82 by retell-internal, confidence 0.88"]),
    (changed(published(), f"{OUTCOMES}.perceived.0.confidence", 1.0), f"{OUTCOMES}.perceived",
     ["caller: sentiment 0.82 by retell-internal, confidence 1"]),
    (published(), FIRST_TOOL, {
        "capability_id": "calendar_api", "capability_type": "tool_call", "invoked_at": "2025-10-10T19:42:10.000Z",
        "success": True, "metadata": {"inferred": ["capability_type", "invoked_at", "success"]},
    }),
    (changed(published(), FIRST_TOOL, " "), FIRST_TOOL, " "),
    (published(), f"{CALL}.direction", "inbound"),
    (published(), f"{CALL}.channel", None),
    (changed(published(), "vcp_payload.custom.provider_specific", {"other": {"channel": "outbound"}}),
     f"{CALL}.direction", "outbound"),
    (changed(published(), "vcp_payload.custom.provider_specific", {"retell": {"channel": "fax"}}),
     f"{CALL}.direction", None),
    (changed(published(), f"{CALL}.direction", "outbound"), f"{CALL}.direction", "outbound"),
    (changed(published(), f"{CALL}.direction", "sideways"), f"{CALL}.direction", "inbound"),
    (published(), f"{OBJECTIVE}.status", "success"),
    (changed(published(), f"{OBJECTIVE}.status", "partial"), f"{OBJECTIVE}.status", "partial"),
    (changed(published(), f"{OBJECTIVE}.status", "failed"), f"{OBJECTIVE}.status", "failure"),
    (SPAM, f"{OBJECTIVE}.status", "unknown"),
    (SPAM, f"{V03}.status", "filtered"),
    (SPAM, "vcp_payload.hcr.outcome_status", "unknown"),
    (published(), f"{OBJECTIVE}.metrics", published()["vcp_payload"]["outcomes"]["objective"]["metrics"]),
    (published(), f"{GAP}.factors", ["clarity"]),
    (published(), f"{GAP}.analysis", "the time was repeated back"),
    (changed(published(), f"{GAP}.drivers", DRIVERS), f"{GAP}.factors", ["a", "b", "c"]),
    (changed(published(), f"{GAP}.drivers", DRIVERS), f"{GAP}.analysis", "one; two"),
    (changed(published(), f"{GAP}.drivers", DRIVERS), f"{V03}.drivers", DRIVERS),
    (SPAM, f"{GAP}.factors", []),
    (SPAM, f"{GAP}.analysis", None),
    (changed(published(), f"{GAP}.gap_class", "significant_gap"), f"{GAP}.gap_class", "major_deviation"),
    (changed(published(), f"{GAP}.gap_class", "mild_misalignment"), f"{GAP}.gap_class", "minor_deviation"),
    (changed(published(), f"{GAP}.gap_score", 2.5), f"{GAP}.gap_score", 1.0),
    (changed(published(), f"{GAP}.gap_score", 2.5), f"{V03}.gap_score", 2.5),
    (published(), f"{OUTCOMES}.model_outcome_attribution", {"roles": {}, "kpis": {}}),
    (changed(published(), f"{OUTCOMES}.model_outcome_attribution", TOLD_ATTRIBUTION),
     f"{OUTCOMES}.model_outcome_attribution", TOLD_ATTRIBUTION),
    (published(), "vcp_payload.model_selection", {
        "policy_id": "retell_default", "resolved_at": "2025-10-10T19:42:10.000Z", "roles": {},
    }),
    (full(), "vcp_payload.model_selection.roles.V2V", None),
    (full(), "vcp_payload.model_selection.roles.STT.chosen", "nova-3"),
    (published(), "vcp_payload.hcr", {
        "audience": "system", "headline": "retell call: booked_service", "outcome_status": "success",
        "key_points": [], "impact_metrics": {},
    }),
    (without(published(), "vcp_payload.custom.outcome_hint"), "vcp_payload.hcr.headline",
     "retell call: appointment_booking"),
    (full(), "vcp_payload.hcr.headline", "Heating failure: visit arranged for the same night"),
    (published(), f"{V03}.shape", "published"),
    (published(), f"{V03}.mode", "gtm"),
    (published(), f"{V03}.synthesized", ["model_selection", "hcr"]),
    (full(), f"{V03}.mode", "full"),
    (full(), f"{V03}.synthesized", []),
    (NO_HCR, f"{V03}.synthesized", ["hcr"]),
    (published(), f"{V03}.purpose_contract", published()["vcp_payload"]["call"]["purpose_contract"]),
    (published(), f"{V03}.perceived", published()["vcp_payload"]["outcomes"]["perceived"]),
    (published(), f"{V03}.outcome_hint", "booked_service"),
    (published(), f"{V03}.synthetic", True),
    (published(), f"{V03}.synthetic_recipe", "vcp_examples_2025_10"),
    (published(), "vcp_payload.artifacts.audio_recording_ref", "https://recordings.example.com/booked_service.mp3"),
    (published(), "vcp_payload.artifacts.transcript_ref", None),
    (published(), "vcp_payload.custom.provider_specific", {"retell": {"data": {"channel": "inbound"}}}),
    (changed(published(), "vcp_payload.custom.provider_specific", {"a": {"data": {"b": 1}}, "c": {"data": 2}, "d": 3}),
     "vcp_payload.custom.provider_specific", {"a": {"data": {"b": 1}}, "c": {"data": {"data": 2}}}),
    (changed(published(), f"{CALL}.start_time", "2025-10-10T19:42:10Z"), f"{CALL}.start_time",
     "2025-10-10T19:42:10.000Z"),
    (changed(published(), f"{CALL}.agent_id", "a7"), f"{CALL}.agent_id", "a7"),
    # --- lineage
    (lineage(), "vcp_payload.provenance", {
        "source_system": "retell", "created_at": "2025-10-14T12:03:20.000Z",
        "transformation_history": ["upgraded_from_v0.3"],
    }),
    (lineage(), f"{FIRST_TOOL}.metadata", {"inferred": ["capability_type", "invoked_at", "success"]}),
    (lineage(), f"{CALL}.parent_session_id", "sess_2040"),
    (lineage(), "vcp_payload.consent", None),
    (lineage(), "audit.schema_version", "0.5"),
    (lineage(), V03, None),
    (without(lineage(), f"{CALL}.capabilities_invoked"), f"{CALL}.capabilities_invoked", None),
    # --- v0.4
    (incomplete(), f"{CALL}.session_id", "bland-7731"),
    (incomplete(), f"{V04}.synthesized", [
        "call.session_id", "model_selection", "outcomes.perception_gap", "outcomes.model_outcome_attribution", "hcr",
        "provenance",
    ]),
    (incomplete(), f"{CALL}.direction", "outbound"),
    (incomplete(), f"{CALL}.channel", None),
    (incomplete(), f"{OBJECTIVE}.status", "timeout"),
    (incomplete(), f"{V04}.status", "reached voicemail"),
    (incomplete(), f"{OBJECTIVE}.metrics", {"disconnect_reason": "timeout"}),
    (incomplete(), f"{OBJECTIVE}.scored_criteria", [{"id": "criterion_1", "met": False}]),
    (incomplete(), f"{V04}.scored_criteria", [{"label": "message left"}]),
    (incomplete(), GAP, {"gap_score": 0.0, "gap_class": "aligned", "factors": ["not_assessed"]}),
    (incomplete(), "vcp_payload.consent", None),
    (incomplete(), "vcp_payload.provenance.transformation_history", ["upgraded_from_v0.4"]),
    (incomplete(), "vcp_payload.hcr.headline", "bland call processed"),
    (incomplete(), f"{V04}.shape", "incomplete"),
    (v04(), f"{V04}.shape", "complete"),
    (v04(), f"{CALL}.from", "+12137771234"),
    (v04(), f"{V04}.purpose_contract", {"declared_intent": "tyre_change"}),
    (v04(), f"{OBJECTIVE}.status", "success"),
    (v04(), f"{V04}.status", "completed"),
    (v04(), f"{OBJECTIVE}.scored_criteria.1.id", "criterion_2"),
    (v04(), f"{OUTCOMES}.perceived", [
        "caller: sentiment 0.9 by vapi-internal, confidence 0.86", '{"by":"agent","note":"friendly, in a hurry"}',
    ]),
    (v04(), f"{OUTCOMES}.user_satisfaction_score", 0.9),
    (v04(), "vcp_payload.custom.provider_specific.vapi.data", {
        "assistant": "garage", "extractions": {"plate": "B-VL 412", "season": "winter"},
    }),
    (changed(v04(), "vcp_payload.custom.provider_specific.vapi.extractions", 1), f"{V04}.provider_extractions", 1),
    (changed(v04(), "vcp_payload.custom.provider_specific.vapi", 1), f"{V04}.unplaced", [
        {"path": ["vcp_payload", "custom", "provider_specific", "vapi"], "value": 1},
    ]),
    (v04(), "vcp_payload.hcr.summary", "The caller booked a change to winter tyres."),
    (v04(), "vcp_payload.hcr.headline", "vapi call: booked_service"),
    (v04(), f"{V04}.components", {"sentiment": 0.1}),
    (v04(), f"{V04}.synthetic", True),
    (v04(), "vcp_payload.provenance.created_by", "example_collector"),
    (v04(), "vcp_payload.provenance.created_at", "2025-10-13T08:18:21.000Z"),
    (v04(), "vcp_payload.provenance.transformation_history", [
        "received", "normalised", "upgraded_from_v0.4", "satisfaction_from_caller_sentiment",
    ]),
    (v04(), f"{V04}.data_quality_score", 0.95),
    (v04(), "vcp_payload.provenance.data_retention_policy", "retain_90_days"),
    (v04(), "vcp_payload.provenance.compliance_flags", ["ANONYMIZATION_REQUIRED"]),
    (v04(), "vcp_payload.consent", {
        "consent_id": "consent_d2a9c1de-0c2b-4b4a-8d0e-5f3a7d0d4c11", "status": "granted",
        "granted_at": "2025-10-13T08:15:05.000Z", "scope": ["recording"], "version": "v0.4",
    }),
    (changed(v04(), "vcp_payload.consent.sharing_allowed", True), "vcp_payload.consent.scope",
     ["recording", "sharing"]),
    (changed(v04(), "vcp_payload.consent.consent_method", "inferred"), "vcp_payload.consent.status", "pending"),
    (changed(v04(), "vcp_payload.consent.consent_method", "inferred"), "vcp_payload.consent.scope", []),
    (changed(v04(), "vcp_payload.consent.recording_consent", False), "vcp_payload.consent.status", "denied"),
    (changed(v04(), "vcp_payload.consent.anonymization_required", False),
     "vcp_payload.provenance.compliance_flags", None),
    (v04(), f"{V04}.consent.data_retention_days", 90),
    (changed(v04(), "call_id", "other"), f"{V04}.call_id", "other"),
    (changed(v04(), f"{CALL}.direction", 7), f"{V04}.unplaced",
     [{"path": [*CALL.split("."), "direction"], "value": 7}]),
    (changed(v04(), "vcp_payload.model_selection", whole()["vcp_payload"]["model_selection"]),
     "vcp_payload.model_selection", whole()["vcp_payload"]["model_selection"]),
    (changed(v04(), "vcp_payload.hcr", whole()["vcp_payload"]["hcr"]), "vcp_payload.hcr.headline",
     "Repair visit booked for Friday"),
    (changed(v04(), f"{OUTCOMES}.model_outcome_attribution", {"roles": {}, "kpis": {"a": 1}}),
     f"{OUTCOMES}.model_outcome_attribution.kpis", {"a": 1}),
    *[(changed(v04(), f"{GAP}.gap_class", old), f"{GAP}.gap_class", new) for old, new in [
        ("minor", "minor_deviation"), ("moderate", "major_deviation"), ("major", "major_deviation"),
    ]],
    (changed(v04(), f"{GAP}.gap_class", "moderate"), f"{V04}.gap_class", "moderate"),
    *[(changed(v04(), f"{OBJECTIVE}.status", old), f"{OBJECTIVE}.status", new) for old, new in [
        ("failed", "failure"), ("filtered", "unknown"), ("timeout", "timeout"), ("done", "unknown"),
    ]],
    *[(changed(changed(v04(), f"{OBJECTIVE}.status", "done"), f"{OBJECTIVE}.disconnect_reason", old),
       f"{OBJECTIVE}.status", new) for old, new in [
        ("completed", "success"), ("transferred", "partial"), ("timeout", "timeout"), ("technical_error", "error"),
        ("agent_hangup", "unknown"),
    ]],
    # --- v0.5 that calls itself 0.4
    (changed(whole(), "vcp_version", "0.4") | {"audit": {"received_at": NOW.isoformat(), "schema_version": "0.4"}},
     "audit.schema_version", "0.5"),
    (changed(unsummed(), "vcp_version", "0.4"), "vcp_payload.provenance.transformation_history", [
        "received_from_retell_webhook", "mapped_to_vcp_v0.5", "relabelled_from_v0.4",
    ]),
]  # fmt: skip


@pytest.mark.parametrize("way", ["inbound", "outbound"])
def test_a_direction_told_as_channel_becomes_one(way):
    call = vcp.migrate(unsummed() | {"vcp_version": "0.4"}).message["vcp_payload"]["call"]
    assert call["channel"] == "phone"
    told = changed(changed(unsummed(), "vcp_version", "0.4"), "vcp_payload.call.channel", way)
    call = vcp.migrate(told).message["vcp_payload"]["call"]
    assert (call.get("channel"), call["direction"]) == (None, way)


@pytest.mark.parametrize("number", range(len(UPGRADED)))
def test_each_row_of_the_tables(number):
    message, path, expected = UPGRADED[number]
    result = vcp.migrate(message)
    assert same(value(result.message, path), expected)
    report = vcp.validate(result.message, now=NOW)
    assert {error.context["rule"] for error in report.errors} <= {"C3"}


def test_an_upgrade_names_what_it_made_up():
    assert noted(vcp.migrate(published()).report.synthesized) == [
        "call.capabilities_invoked[0]",
        "call.capabilities_invoked[1]",
        "model_selection",
        "outcomes.model_outcome_attribution",
        "hcr",
        "provenance",
    ]


def test_an_upgrade_warns_of_what_is_not_as_it_should_be():
    assert noted(vcp.migrate(incomplete()).report.warnings) == [
        "provenance",
        "consent",
        "outcomes.objective.scored_criteria[1]",
    ]
    assert noted(vcp.migrate(changed(published(), f"{GAP}.gap_score", 2)).report.warnings) == [
        "outcomes.perception_gap.gap_score"
    ]
    denied = vcp.migrate(changed(v04(), "vcp_payload.consent.recording_consent", False)).report.warnings
    assert noted(denied) == ["consent.recording_consent", "consent.status"]


def test_what_consent_forbids_is_told_once_and_does_not_hinder():
    message = changed(changed(unsummed(), "vcp_version", "0.4"), "vcp_payload.consent.status", "denied")
    assert noted(vcp.migrate(message).report.warnings) == ["consent.status"]


@pytest.mark.parametrize("message", [published(), v04()])
def test_what_lies_too_deep_for_the_carry_over_is_refused(message):
    deep: Any = {}
    for _ in range(98):
        deep = {"a": deep}
    message = changed(message, f"{CALL}.purpose_contract.deep", deep)
    assert vcp.validate(message, now=NOW).ok
    with pytest.raises(vcp.MigrationError, match="the result would not be valid: nested too deeply"):
        vcp.migrate(message)


# --- ways back

CHANGED_SINCE = [
    # place and value in v0.5, place and value in v0.3 after the way back
    (f"{OBJECTIVE}.status", "failure", f"{OBJECTIVE}.status", "failed"),
    (f"{CALL}.start_time", "2025-10-10T19:42:00.000Z", f"{CALL}.start_time", "2025-10-10T19:42:00.000Z"),
    (f"{GAP}.factors", ["price"], f"{GAP}.drivers", [
        {"type": "price", "weight": 1.0, "note": "the time was repeated back"},
    ]),
    (f"{OUTCOMES}.user_satisfaction_score", 0.2, f"{OUTCOMES}.perceived.0.sentiment.score", 0.2),
    (f"{OUTCOMES}.perceived.0", "agent: sentiment 0.5 by m, confidence 1", f"{OUTCOMES}.perceived.0", {
        "by": "agent", "sentiment": {"model": "m", "score": 0.5}, "confidence": 1,
    }),
    (f"{OUTCOMES}.perceived.0", "friendly", f"{OUTCOMES}.perceived", []),
    (f"{OUTCOMES}.perceived.0", "agent: sentiment much by m, confidence 1", f"{OUTCOMES}.perceived", []),
    (f"{OUTCOMES}.perceived.0", "agent: sentiment 7 by m, confidence 1", f"{OUTCOMES}.perceived", []),
    ("vcp_payload.hcr.headline", "Booked", "vcp_payload.hcr.headline", "Booked"),
    ("vcp_payload.model_selection.policy_id", "p", "vcp_payload.model_selection.policy_id", "p"),
    ("vcp_payload.artifacts.transcript_ref", "s3://t", "vcp_payload.artifacts.transcript_url", "s3://t"),
    (f"{CALL}.direction", "outbound", "vcp_payload.custom.provider_specific.retell.channel", "outbound"),
]  # fmt: skip


@pytest.mark.parametrize(("place", "new", "old_place", "expected"), CHANGED_SINCE)
def test_a_value_changed_since_the_upgrade_is_mapped_and_the_rest_restored(place, new, old_place, expected):
    upgraded = vcp.migrate(published()).message
    back = vcp.migrate(changed(upgraded, place, new), "0.3")
    assert same(value(back.message, old_place), expected)
    assert value(back.message, f"{CALL}.purpose_contract") == value(published(), f"{CALL}.purpose_contract")
    assert back.target == ("0.3", "published")


def test_a_gap_that_was_capped_comes_back_unless_it_changed():
    upgraded = vcp.migrate(changed(published(), f"{GAP}.gap_score", 3)).message
    assert value(vcp.migrate(upgraded, "0.3").message, f"{GAP}.gap_score") == 3
    assert value(vcp.migrate(changed(upgraded, f"{GAP}.gap_score", 0.5), "0.3").message, f"{GAP}.gap_score") == 0.5


def test_a_filtered_call_that_was_judged_since_is_no_longer_filtered():
    judged = changed(vcp.migrate(SPAM).message, f"{OBJECTIVE}.status", "error")
    back = vcp.migrate(judged, "0.3")
    assert value(back.message, f"{OBJECTIVE}.status") == "failed"
    assert noted(back.report.lost) == ["outcomes.objective.status", "hcr.outcome_status"]


@pytest.mark.parametrize(
    ("part", "content"),
    [
        ("shape", "other"),
        ("drivers", [1]),
        ("perceived", [2]),
        ("differences", [{"path": ["a", "b"], "was": 1}]),
        ("differences", [{"path": ["vcp_payload", "outcomes", "perceived", 7], "was": 1}]),
        ("differences", [{"path": ["vcp_payload", "outcomes", "perceived", 7], "made": 1}]),
    ],
)
def test_what_a_broken_carry_over_cannot_give_back_is_mapped_by_the_tables(part, content):
    broken = changed(vcp.migrate(published()).message, f"{V03}.{part}", content)
    back = vcp.migrate(broken, "0.3", "published").message
    assert vcp.validate(back, now=NOW).errors == []


LOST_TO_PUBLISHED = {
    "call.call_id", "call.capabilities_invoked[1]", "call.parent_session_id", "call.correlation_id", "call.channel",
    "call.from", "call.to", "call.caller_id", "call.geographic_region", "outcomes.user_satisfaction_score",
    "outcomes.business_impact", "hcr.summary", "hcr.recommendations", "hcr.alert_level",
    "artifacts.compliance_records", "artifacts.system_logs_ref", "consent", "provenance",
    "$.audit.processing_duration_ms", "$.audit.checksum", "custom.integrations", "outcomes.perceived",
}  # fmt: skip


def test_a_downgrade_to_the_published_shape_names_every_lost_path():
    result = vcp.migrate(whole(), "0.3", "published")
    lost = noted(result.report.lost)
    assert set(lost) >= LOST_TO_PUBLISHED
    assert len(lost) == len(set(lost))
    assert noted(result.report.synthesized) == [
        "call.call_id",
        "call.purpose_contract",
        "outcomes.perception_gap.drivers",
    ]


def test_a_downgrade_to_lineage_loses_only_what_that_shape_cannot_hold():
    result = vcp.migrate(whole(), "0.3")
    assert result.target == ("0.3", "lineage")
    assert noted(result.report.lost) == [
        "call.capabilities_invoked[1]",
        "consent",
        "provenance",
        "$.audit.checksum",
    ]
    assert value(result.message, f"{CALL}.capabilities_invoked") == ["lookup_customer", "book_slot"]
    assert value(result.message, f"{CALL}.from") == value(whole(), f"{CALL}.from")
    assert value(result.message, "audit.schema_version") == "0.3"


def test_a_field_by_which_the_published_shape_is_told_does_not_go_to_lineage():
    odd = changed(changed(unsummed(), "call_id", "c"), "vcp_payload.audit", {"a": 1})
    result = vcp.migrate(odd, "0.3", "lineage")
    assert {"$.call_id", "audit"} <= set(noted(result.report.lost))
    kept = vcp.migrate(changed(unsummed(), "vcp_payload.audit", "done"), "0.3", "lineage")
    assert kept.message["vcp_payload"]["audit"] == "done"


def test_what_published_v03_needs_and_the_message_lacks_is_made_up_and_named():
    bare = vcp.VCPMessage.from_dict(whole()).to_dict()
    del bare["audit"]["checksum"], bare["audit"]["processed_at"]
    for path in ("end_time", "duration_sec", "capabilities_invoked"):
        bare = without(bare, f"{CALL}.{path}")
    bare = without(bare, f"{OBJECTIVE}.confidence")
    bare = changed(bare, f"{OBJECTIVE}.metrics", {"aht_sec": "long", "own": None})
    bare = changed(bare, f"{OBJECTIVE}.scored_criteria", [{"id": "a", "met": True}])
    bare = changed(bare, f"{GAP}.factors", None)
    result = vcp.migrate(bare, "0.3", "published")
    assert noted(result.report.synthesized) == [
        "call.call_id",
        "call.end_time",
        "call.duration_sec",
        "call.purpose_contract",
        "outcomes.objective.confidence",
        "outcomes.objective.scored_criteria[0].evidence_ref",
        "outcomes.objective.metrics.aht_sec",
        "outcomes.objective.metrics.first_contact_resolution",
        "audit.normalized_at",
    ]
    assert value(result.message, f"{OBJECTIVE}.metrics") == {
        "own": None, "aht_sec": 0, "first_contact_resolution": False,
    }  # fmt: skip
    assert vcp.validate(result.message, now=NOW).ok


def test_an_end_beyond_the_calendar_stays_at_the_start():
    bare = changed(without(unsummed(), f"{CALL}.end_time"), f"{CALL}.duration_sec", 2**53 - 1)
    result = vcp.migrate(bare, "0.3", "published").message
    assert value(result, f"{CALL}.end_time") == value(result, f"{CALL}.start_time")


def test_the_same_call_gets_the_same_uuid_and_another_provider_another():
    ids = [
        vcp.migrate(changed(unsummed(), f"{CALL}.provider", provider), "0.3", "published").message["call_id"]
        for provider in ("retell", "retell", "vapi")
    ]
    assert ids[0] == ids[1] != ids[2]
    assert [(UUID(one).version, UUID(one).variant) for one in ids] == [(8, RFC_4122)] * 3


def test_an_upgraded_message_can_take_the_other_shape_and_still_find_back():
    upgraded = vcp.migrate(published()).message
    other = vcp.migrate(upgraded, "0.3", "lineage").message
    assert vcp.detect(other) == ("0.3", "lineage")
    again = vcp.migrate(vcp.migrate(other).message, "0.3").message
    assert same(again, published())


@pytest.mark.parametrize(
    ("message", "to", "shape"),
    [
        (whole(), "0.5", None),
        (published(), "0.3", None),
        (v04(), "0.4", None),
        (lineage(), "0.3", "lineage"),
        (lineage(), "0.3", None),
    ],
)
def test_a_message_of_the_form_asked_for_stays_as_it_is(message, to, shape):
    result = vcp.migrate(message, to, shape)
    assert same(result.message, message)
    assert result.message is not message
    assert result.report == vcp.migrate(whole()).report


def test_a_checksum_is_made_anew_for_what_the_upgrade_changed():
    message = lineage()
    message["audit"]["checksum"] = vcp.checksum(vcp.read(message))
    upgraded = vcp.migrate(message).message
    assert upgraded["audit"]["checksum"] == vcp.checksum(upgraded)
    assert "checksum" not in vcp.migrate(upgraded, "0.3").message["audit"]


@pytest.mark.parametrize("form", [json.dumps, lambda m: json.dumps(m).encode(), vcp.read])
def test_text_bytes_and_models_are_migrated_alike(form):
    message = without(published(), "vcp_payload.artifacts.transcript_url")
    assert vcp.migrate(form(message)).message == vcp.migrate(message).message


def test_the_input_is_never_changed():
    for name in vcp.examples.names():
        message = vcp.examples.load(name)
        before = copy.deepcopy(message)
        for to, shape in [("0.5", None), ("0.3", "published"), ("0.3", "lineage")]:
            vcp.migrate(message, to, shape)
        assert same(message, before)


def test_a_migration_as_json():
    result = vcp.migrate(SPAM)
    content = result.to_dict()
    assert json.loads(json.dumps(content)) == content
    assert list(content) == ["message", "source", "target", "report"]
    assert content["source"] == {"version": "0.3", "shape": "published"}
    assert content["report"]["lost"] == content["report"]["warnings"] == []
    assert content["report"]["synthesized"][0] == {
        "path": "$.vcp_payload.model_selection",
        "reason": "the message names no models",
    }


@pytest.mark.parametrize("name", [name for name in vcp.examples.names() if name.startswith("v03_")])
def test_published_v03_can_be_filled_up_to_v04(name):
    message = vcp.examples.load(name)
    if name == "v03_lineage":
        with pytest.raises(vcp.MigrationError, match="made of published"):
            vcp.migrate(message, "0.4")
        return
    result = vcp.migrate(message, "0.4")
    assert result.target == vcp.detect(result.message) == ("0.4", "complete")
    assert vcp.validate(result.message, now=NOW).ok
    assert value(result.message, "vcp_payload.provenance.captured_by") == "vcp_upgrade_utility"
    assert value(vcp.migrate(result.message).message, "vcp_payload.consent.status") == "pending"


def test_what_v04_cannot_hold_is_named():
    wide = changed(changed(published(), f"{GAP}.gap_score", 2), "vcp_payload.custom.provider_specific", {})
    result = vcp.migrate(wide, "0.4")
    assert noted(result.report.lost) == ["outcomes.perception_gap.drivers", "outcomes.perception_gap.gap_score"]
    assert value(result.message, f"{GAP}.drivers") == ["clarity"]
    assert value(result.message, f"{CALL}.channel") is None


# --- refusals


@pytest.mark.parametrize("status", ["denied", "revoked"])
def test_a_refused_consent_goes_down_only_by_force(status):
    message = changed(unsummed(), "vcp_payload.consent.status", status)
    with pytest.raises(vcp.MigrationError) as refused:
        vcp.migrate(message, "0.3")
    assert refused.value.field_path == "$.vcp_payload.consent.status"
    assert "consent" in noted(vcp.migrate(message, "0.3", force=True).report.lost)


REFUSED = [
    ("nonsense", "$"),
    ([], "$"),
    ({"vcp_version": "0.6"}, "$.vcp_version"),
    (without(published(), f"{CALL}.provider"), "$.vcp_payload.call.provider"),
    (changed(published(), "call_id", "other"), "$.call_id"),
    (changed(published(), f"{CALL}.start_time", "2025-10-10T19:42:10"), "$.vcp_payload.call.start_time"),
    (changed(lineage(), "vcp_payload.consent", {}), "$.vcp_payload.consent"),
    (changed(whole(), f"{CALL}.to", "+1"), "$.audit.checksum"),
]


@pytest.mark.parametrize(("message", "path"), REFUSED)
def test_what_is_not_valid_is_refused_and_the_place_named(message, path):
    for to in ("0.5", "0.3"):
        with pytest.raises(vcp.MigrationError) as refused:
            vcp.migrate(message, to)
        assert (refused.value.code, refused.value.field_path) == ("VCP_E003", path)
        assert refused.value.errors[0].field_path == path
        assert refused.value.context["errors"][0]["field_path"] == path


@pytest.mark.parametrize("name", ["v03_full_mode", "v03_lineage", "v04_complete", "v05_whole"])
@pytest.mark.parametrize("place", ["extra", "vcp_payload.custom.provider_specific.retell", f"{OUTCOMES}.perceived.0"])
def test_the_deepest_nesting_is_refused_and_not_an_exception(name, place):
    deep: Any = {}
    for _ in range(5000):
        deep = {"a": [deep]}
    message = changed(vcp.examples.load(name), place, 0)
    parents, last = place.rpartition(".")[::2]
    parent = value(message, parents) if parents else message
    parent[int(last) if last.isdigit() else last] = deep
    assert vcp.validate(message, now=NOW).errors
    with pytest.raises(vcp.MigrationError):
        vcp.migrate(message)


@pytest.mark.parametrize(
    ("to", "shape"), [("0.4", "complete"), ("0.6", None), ("0.5", "lineage"), ("0.3", "other"), ("", None)]
)
def test_a_target_that_does_not_exist_is_refused_with_those_that_do(to, shape):
    with pytest.raises(vcp.MigrationError, match=r"possible: 0\.5, 0\.3 published, 0\.3 lineage"):
        vcp.migrate(whole(), to, shape)
