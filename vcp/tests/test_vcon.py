"""vCons: what each part says, what the drafts ask of them, and the way back without loss."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcp.errors import SchemaError, VCPError
from vcp.exports.call_end import FAILED
from vcp.exports.vcon import MESSAGE_SCHEMA, content_hash, from_vcon, to_vcon, vcon_uuid
from vcp.models import ConsentStatus, OutcomeStatus, VCPMessage
from vcp.tests.message_strategies import JSON, messages
from vcp.tests.samples import changed, full, vector, without
from vcp.tests.tries import tries
from vcp.tests.vcon_rules import problems

PAYLOAD = "vcp_payload"
CALL = f"{PAYLOAD}.call"
RECORDING = "https://files.example.test/calls/1.wav?sig=a%2Fb"
# The same examples on every run.
fixed = tries(40)


def ended() -> dict[str, Any]:
    """The shortest message of a finished call."""
    return changed(vector(), f"{CALL}.end_time", "2025-10-14T12:01:00.500Z")


def no_trace(status: str, reason: Any = None, duration_sec: int | None = None) -> dict[str, Any]:
    """A finished call of which nothing but its outcome is known."""
    metrics = {} if reason is None else {"disconnect_reason": reason}
    content = changed(ended(), f"{PAYLOAD}.outcomes.objective", {"status": status, "metrics": metrics})
    return content if duration_sec is None else changed(content, f"{CALL}.duration_sec", duration_sec)


def vcon_of(content: dict[str, Any], **known: Any) -> dict[str, Any]:
    """The vCon of a message, checked by the rules of the drafts."""
    made = to_vcon(VCPMessage.from_dict(content), **known)
    assert problems(made) == []
    return made


def dialog_of(content: dict[str, Any], **known: Any) -> dict[str, Any]:
    return dict(vcon_of(content, **known)["dialog"][0])


def reordered(value: Any) -> Any:
    """The same JSON with all keys in the opposite order."""
    if isinstance(value, dict):
        return {key: reordered(inner) for key, inner in reversed(value.items())}
    return [reordered(inner) for inner in value] if isinstance(value, list) else value


def same_text(one: VCPMessage, other: VCPMessage) -> bool:
    """Equal also where Python sees no difference: true and 1, 1 and 1.0."""
    return json.dumps(one.to_dict(), sort_keys=True) == json.dumps(other.to_dict(), sort_keys=True)


# --- there and back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", [full, ended], ids=["full", "shortest"])
def test_a_message_comes_back_equal_also_from_text_with_other_key_order(sample):
    message = VCPMessage.from_dict(sample())
    made = vcon_of(sample())
    assert from_vcon(made) == message
    back = from_vcon(json.loads(json.dumps(reordered(made))))
    assert back == message
    assert same_text(back, message)


@fixed
@given(messages(), st.none() | JSON)
def test_any_finished_message_makes_a_good_vcon_and_comes_back_equal(message, transcript):
    if message.vcp_payload.call.end_time is None and message.vcp_payload.outcomes.objective.status not in FAILED:
        with pytest.raises(VCPError, match="has not ended"):
            to_vcon(message, transcript=transcript)
        return
    made = to_vcon(message, transcript=transcript)
    assert problems(made) == []
    assert made == to_vcon(message, transcript=transcript)
    assert same_text(from_vcon(json.loads(json.dumps(reordered(made)))), message)


def test_a_body_kept_as_text_is_read_as_well():
    made = vcon_of(full())
    made["analysis"][-1]["body"] = json.dumps(made["analysis"][-1]["body"])
    assert from_vcon(made) == VCPMessage.from_dict(full())


def test_of_several_messages_the_newest_counts():
    made = vcon_of(full())
    newer = changed(full(), f"{PAYLOAD}.hcr.headline", "Appointment moved")
    made["analysis"].append({**made["analysis"][-1], "body": newer})
    made["analysis"].append({"type": "summary", "vendor": "another"})
    assert from_vcon(made).vcp_payload.hcr.headline == "Appointment moved"


@pytest.mark.parametrize(
    ("vcon", "path", "words"),
    [
        ("text", "$", "JSON object"),
        (None, "$", "JSON object"),
        ({"payload": "e30", "signatures": []}, "$", "signed or encrypted"),
        ({"ciphertext": "x", "recipients": []}, "$", "signed or encrypted"),
        ({"uuid": "x", "dialog": []}, "$.analysis", MESSAGE_SCHEMA),
        ({"analysis": {}}, "$.analysis", MESSAGE_SCHEMA),
        ({"analysis": [7, {"type": "summary", "vendor": "v", "body": "s"}]}, "$.analysis", MESSAGE_SCHEMA),
        ({"analysis": [{"schema": "vcp/0.9", "body": {}}]}, "$.analysis", MESSAGE_SCHEMA),
        ({"analysis": [{}, {"schema": MESSAGE_SCHEMA}]}, "$.analysis[1].body", "no body"),
    ],
)
def test_a_vcon_of_another_origin_is_refused_by_what_it_lacks(vcon, path, words):
    with pytest.raises(VCPError, match=words) as caught:
        from_vcon(vcon)
    assert caught.value.field_path == path


@pytest.mark.parametrize("body", [without(full(), f"{CALL}.call_id"), json.dumps(without(full(), f"{CALL}.call_id"))])
def test_a_broken_message_inside_is_reported_like_any_other(body):
    with pytest.raises(SchemaError) as caught:
        from_vcon({"analysis": [{"schema": MESSAGE_SCHEMA, "body": body}]})
    assert caught.value.field_path == "$.vcp_payload.call.call_id"


# --- which calls -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["unknown", "success", "partial"])
def test_a_call_that_has_not_ended_is_refused(status):
    content = changed(vector(), f"{PAYLOAD}.outcomes.objective.status", status)
    with pytest.raises(VCPError, match="has not ended") as caught:
        to_vcon(VCPMessage.from_dict(content))
    assert (caught.value.code, caught.value.field_path) == ("VCP_E005", "$.vcp_payload.call.end_time")


@pytest.mark.parametrize(("duration_sec", "shown_sec"), [(None, 0), (0, 0), (7, 7), (2**53 - 1, 2**53 - 1)], ids=str)
def test_a_failed_call_is_over_though_nobody_says_since_when(duration_sec, shown_sec):
    content = without(no_trace("error", duration_sec=duration_sec), f"{CALL}.end_time")
    assert dialog_of(content)["duration"] == shown_sec


# --- identity and times ----------------------------------------------------------------------------------------------


def test_the_uuid_is_made_of_provider_and_call_id_alone():
    other = changed(changed(ended(), f"{CALL}.session_id", "s2"), f"{CALL}.start_time", "2025-01-01T00:00:00Z")
    assert vcon_of(other)["uuid"] == vcon_of(ended())["uuid"] == vcon_uuid("retell", "c1")
    # Kept as it is: a vCon once given away must stay known by its name.
    assert vcon_uuid("retell", "c1") == "c0c63b6e-cbc2-8de9-82f6-bf6c0f5b85be"
    assert uuid.UUID(vcon_uuid("retell", "c1")).version == 8


@pytest.mark.parametrize("other", [("retell", "c2"), ("vapi", "c1"), ("retellc", "1"), ("retell\0c1", "")])
def test_other_calls_have_other_uuids(other):
    assert vcon_uuid(*other) != vcon_uuid("retell", "c1")


def test_a_vcon_is_as_old_as_the_record():
    made = vcon_of(full())
    assert (made["created_at"], made["updated_at"]) == ("2025-10-14T12:03:20Z", "2025-10-14T12:03:20.05Z")
    assert "updated_at" not in vcon_of(ended())


def test_the_headline_is_the_subject():
    assert vcon_of(full())["subject"] == "Appointment booked"


# --- parties ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("direction", "origin", "target", "parties"),
    [
        ("inbound", "+12137771234", "+12137771235", [{"type": "person", "tel": "+12137771234"},
                                                     {"type": "bot", "tel": "+12137771235"}]),
        ("outbound", "+12137771234", "+12137771235", [{"type": "bot", "tel": "+12137771234"},
                                                      {"type": "person", "tel": "+12137771235"}]),
        (None, "+12137771234", "+12137771235", [{"tel": "+12137771234"}, {"tel": "+12137771235"}]),
        (None, None, None, [{"type": "person"}, {"type": "bot"}]),
        (None, "", "+12137771235", [{}, {"tel": "+12137771235"}]),
        ("outbound", None, None, [{"type": "bot"}, {"type": "person"}]),
        ("inbound", "sip:ann@example.test", "sips:b@x.test", [{"type": "person", "sip": "sip:ann@example.test"},
                                                              {"type": "bot", "sip": "sips:b@x.test"}]),
        ("inbound", "anonymous", "12137771235", [{"type": "person", "name": "anonymous", "validation": "none"},
                                                 {"type": "bot", "name": "12137771235", "validation": "none"}]),
        ("inbound", "+0123", "+1\u0663\u0664", [{"type": "person", "name": "+0123", "validation": "none"},
                                                {"type": "bot", "name": "+1\u0663\u0664", "validation": "none"}]),
    ],
)  # fmt: skip
def test_who_called_comes_first(direction, origin, target, parties):
    content = changed(
        changed(changed(ended(), f"{CALL}.direction", direction), f"{CALL}.from", origin), f"{CALL}.to", target
    )
    made = vcon_of(content)
    assert made["parties"] == parties
    assert made["dialog"][0]["parties"] == [0, 1]


# --- dialog ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", get_args(OutcomeStatus))
def test_a_call_with_a_recording_is_one_however_it_went(status):
    content = changed(full(), f"{PAYLOAD}.outcomes.objective.status", status)
    assert dialog_of(content)["type"] == "recording"


@pytest.mark.parametrize(
    ("status", "disposition"),
    [
        ("success", None),
        ("partial", None),
        ("unknown", None),
        ("failure", "failed"),
        ("error", "failed"),
        ("timeout", "no-answer"),
    ],
)
def test_of_a_call_without_any_trace_the_outcome_decides(status, disposition):
    assert dialog_of(no_trace(status)).get("disposition") == disposition


@pytest.mark.parametrize(
    ("status", "reason", "duration_sec", "disposition"),
    [
        ("timeout", "dial_busy", 12, "busy"),
        ("timeout", "customer-busy", None, "busy"),
        ("timeout", "dial_no_answer", 30, "no-answer"),
        ("timeout", "customer-did-not-answer", 0, "no-answer"),
        ("unknown", "No Answer", None, "no-answer"),
        ("error", "concurrency_limit_reached", 0, "congestion"),
        ("error", "dial_failed", 3, "failed"),
        ("error", "twilio-failed-to-connect-call", 0, "failed"),
        ("timeout", "call.ringing.sip-inbound-caller-hungup-before-call-connect", 4, "hung-up"),
        ("timeout", "voicemail", 20, "voicemail-no-message"),
        ("timeout", "machine_detected", 0, "voicemail-no-message"),
        ("failure", "user_hangup", 0, "hung-up"),
        ("failure", "user_hangup", 95, None),
        ("failure", "customer-ended-call", None, "hung-up"),
        ("error", "error_no_audio_received", 40, None),
        ("error", "error_no_audio_received", 0, "failed"),
        ("error", "pipeline-error-voice-system-busy", 40, None),
        ("timeout", "inactivity", 60, None),
        ("partial", "call.forwarding.operator-busy", 60, None),
        ("success", "voicemail", 20, None),
        ("failure", "", 10, "failed"),
        ("failure", "???", None, "failed"),
        ("failure", ["busy"], None, "failed"),
        ("error", "busybody", 5, None),
    ],
)
def test_the_reason_of_the_disconnection_is_read_by_whole_words(status, reason, duration_sec, disposition):
    dialog = dialog_of(no_trace(status, reason, duration_sec))
    assert dialog.get("disposition") == disposition
    assert dialog["type"] == ("recording" if disposition is None else "incomplete")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{PAYLOAD}.artifacts.audio_recording_ref", "s3://calls/1.wav"),
        (f"{PAYLOAD}.artifacts.transcript_ref", "internal://transcripts/1"),
        (f"{PAYLOAD}.outcomes.objective.metrics.user_talked", True),
        (f"{CALL}.capabilities_invoked", ["lookup"]),
    ],
)
def test_what_a_conversation_leaves_behind_shows_that_there_was_one(path, value):
    assert dialog_of(changed(no_trace("timeout", "voicemail"), path, value))["type"] == "recording"


def test_a_transcript_known_besides_the_message_shows_it_too():
    assert dialog_of(no_trace("failure"), transcript="Hello?")["type"] == "recording"


@pytest.mark.parametrize(
    ("end", "duration_sec"), [("2025-10-14T12:01:00.500Z", 60.5), ("2025-10-14T11:00:00Z", 0)], ids=["after", "before"]
)
def test_an_unknown_duration_is_reckoned_from_start_and_end(end, duration_sec):
    assert dialog_of(changed(ended(), f"{CALL}.end_time", end))["duration"] == duration_sec


def test_the_recording_is_linked_with_its_hash():
    content = changed(full(), f"{PAYLOAD}.artifacts.audio_recording_ref", RECORDING)
    dialog = dialog_of(content, recording_hash=content_hash(b"RIFF"))
    assert (dialog["url"], dialog["content_hash"]) == (RECORDING, content_hash(b"RIFF"))
    assert "content_hash" not in dialog_of(content)
    assert dialog_of(content)["url"] == RECORDING


@pytest.mark.parametrize(
    "reference",
    [
        *(
            "s3://calls/1.wav",
            "internal://a",
            "http://a.test/1.wav",
            "https://",
            "https:///1.wav",
            "https://a.test/a b",
        ),
        *("https://a.test/é", "https://u:p@a.test/", "https://a.test/%zz", "https://a.test/#a#b", "https://a.test/\n"),
        *("HTTPS://a.test/", "https://[::1]/", "https://a.test:port/", ""),
    ],
)
def test_what_is_no_plain_https_url_is_not_linked(reference):
    content = changed(full(), f"{PAYLOAD}.artifacts.audio_recording_ref", reference)
    assert not {"url", "content_hash"} & dialog_of(content, recording_hash=content_hash(b"")).keys()


def test_the_content_hash_is_base64url_of_sha_512():
    digest = base64.urlsafe_b64decode(content_hash(b"abc").removeprefix("sha512-") + "==")
    assert digest == hashlib.sha512(b"abc").digest()


@pytest.mark.parametrize("no_hash", ["", "ddaf35a1", "sha512-", "sha512-a=b", "SHA512-abc"])
def test_a_hash_of_another_form_is_refused(no_hash):
    with pytest.raises(ValueError, match="recording_hash is no ContentHash"):
        to_vcon(VCPMessage.from_dict(full()), recording_hash=no_hash)


# --- transcript ------------------------------------------------------------------------------------------------------

TURNS = [{"role": "agent", "text": "Hello"}]


@pytest.mark.parametrize(
    ("reference", "transcript", "file"),
    [
        (None, "agent: Hello", {"mediatype": "text/plain", "encoding": "none", "body": "agent: Hello"}),
        (RECORDING, TURNS, {"mediatype": "application/json", "encoding": "json", "body": TURNS}),
        (RECORDING, None, {"url": RECORDING}),
        ("internal://t/1", None, {"mediatype": "application/json", "encoding": "json",
                                  "body": {"transcript_ref": "internal://t/1"}}),
    ],
)  # fmt: skip
def test_the_transcript_is_an_analysis_of_the_provider(reference, transcript, file):
    content = changed(full(), f"{PAYLOAD}.artifacts.transcript_ref", reference)
    analysis = vcon_of(content, transcript=transcript)["analysis"]
    told = {"type": "transcript", "dialog": 0, "vendor": "retell", "schema": "retell/transcript"}
    assert analysis[0] == {**told, **file}
    assert len(analysis) == 2


def test_without_a_transcript_the_message_is_the_only_analysis():
    analyses = vcon_of(ended())["analysis"]
    assert [(one["type"], one["schema"]) for one in analyses] == [("report", MESSAGE_SCHEMA)]


@pytest.mark.parametrize("transcript", [float("nan"), b"bytes", {1: 2}, "\ud800"])
def test_a_transcript_that_json_cannot_carry_is_refused(transcript):
    with pytest.raises(ValueError, match="transcript is not text or JSON"):
        to_vcon(VCPMessage.from_dict(full()), transcript=transcript)


# --- consent ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", get_args(ConsentStatus))
def test_only_a_granted_consent_grants(status):
    made = vcon_of(changed(full(), f"{PAYLOAD}.consent.status", status))
    body = made["attachments"][0]["body"]
    assert [(one["purpose"], one["granted"]) for one in body["purpose_grants"]] == [
        (purpose, status == "granted") for purpose in ("recording", "analytics", "storage")
    ]
    assert body["metadata"] == {"consent_id": "consent_1", "status": status, "policy_version": "1.0"}
    assert body["expiration"] == "2026-10-14T12:00:05Z"
    assert made["extensions"] == ["lawful_basis"]


@pytest.mark.parametrize(("direction", "party"), [("inbound", 0), ("outbound", 1), (None, 0)])
def test_the_consent_is_that_of_the_person(direction, party):
    assert vcon_of(changed(full(), f"{CALL}.direction", direction))["attachments"][0]["party"] == party


def test_a_decision_without_a_time_is_known_since_the_record_came_in():
    content = without(without(full(), f"{PAYLOAD}.consent.granted_at"), f"{PAYLOAD}.consent.expires_at")
    attachment = vcon_of(content)["attachments"][0]
    assert attachment["start"] == attachment["body"]["purpose_grants"][0]["granted_at"] == "2025-10-14T12:03:20Z"
    assert attachment["body"]["expiration"] is None


def test_without_a_consent_nothing_is_said_about_one():
    made = vcon_of(ended())
    assert made["attachments"] == []
    assert "extensions" not in made
