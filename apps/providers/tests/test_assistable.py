"""Assistable's facts, one by one, against the catalogue file: what is known of it must come out of the mapping.

Each payload is a sample of the catalogue with the fields changed that the test is about. It is redacted, parsed,
mapped and folded by the engine alone.
"""

import copy
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from apps.providers import catalog
from apps.providers.engine import transforms
from apps.providers.engine.errors import MappingError
from apps.providers.engine.fold import Context, Event, Folded, fold
from apps.providers.engine.mapping import Fragment, Mapping, Report
from apps.providers.engine.payload import parse
from apps.providers.engine.signatures import Reason, Secret, SignedRequest, verify
from vcp import validate

SPEC = catalog.load("assistable")
MAPPING = Mapping(SPEC.mapping)
RECEIVED_AT = datetime(2026, 11, 1, tzinfo=UTC)
ANSWERED, VOICEMAIL, DECLINED = "post_call_answered", "post_call_voicemail", "post_call_declined"
STARTED, STARTED_OLD, OLD = "call_started", "call_started_old", "post_call_legacy_strings"
START_MS, END_MS = 1785977112064, 1785977204464
START, END = "2026-08-06T00:45:12.064Z", "2026-08-06T00:46:44.464Z"
GONE = object()


def sample(name: str = ANSWERED, /, **fields: Any) -> dict[str, Any]:
    """A copy of a sample; keywords replace its fields (`from_` stands for from), those that are GONE are taken out."""
    payload: dict[str, Any] = copy.deepcopy(catalog.samples("assistable")[name])
    payload |= {key.rstrip("_"): value for key, value in fields.items()}
    return {key: value for key, value in payload.items() if value is not GONE}


@dataclass
class Stored:
    """What is kept of one delivery."""

    body: bytes
    fragment: Fragment
    report: Report
    event: Event


def store(payload: Any, digest: str = "") -> Stored:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    body = MAPPING.redact(raw, parse(raw))
    identity, fragment, report = MAPPING.apply(parse(body))
    spec = identity.spec
    assert spec.disposition == "map"
    event = Event(
        fragment=Fragment.from_json(json.loads(json.dumps(fragment.to_json()))),
        name=identity.event,
        rank=spec.rank,
        opens_call=spec.opens_call,
        proves=spec.proves,
        occurred_at=identity.occurred_at,
        digest=digest,
        received_at=RECEIVED_AT,
        failures=tuple(f"{failure['path']}: {failure['error']}" for failure in report.failed),
    )
    return Stored(body, fragment, report, event)


def folded(*payloads: Any) -> Folded:
    """The valid message of these deliveries, the same in both orders."""
    events = [store(payload, str(number)).event for number, payload in enumerate(payloads)]
    context = Context("assistable", "Assistable AI", "call_x", "standard_30_days", lambda number: f"psn_{number[-4:]}")
    found = fold(events, MAPPING, context)
    assert found is not None
    assert validate(found.message, now=RECEIVED_AT).errors == []
    assert len(events) == 1 or fold(events[::-1], MAPPING, context) == found
    return found


def message(*payloads: Any) -> dict[str, Any]:
    return dict(folded(*payloads).message["vcp_payload"])


def call_of(*payloads: Any) -> dict[str, Any]:
    return dict(message(*payloads)["call"])


def status_of(*payloads: Any) -> str:
    return str(message(*payloads)["outcomes"]["objective"]["status"])


def metrics_of(*payloads: Any) -> dict[str, Any]:
    return dict(message(*payloads)["outcomes"]["objective"]["metrics"])


def data_of(*payloads: Any) -> dict[str, Any]:
    return dict(message(*payloads)["custom"]["provider_specific"]["assistable"]["data"])


def integrations_of(extractions: Any) -> dict[str, Any]:
    return dict(message(sample(extractions=extractions))["custom"].get("integrations", {}))


# --- the shared secret --------------------------------------------------------------------------------------

SECRET = "as_ingest_5e1d9c"


def proved(headers: dict[str, str], *secrets: str, body: bytes = b"{}") -> Reason:
    stored = [Secret(str(number), value) for number, value in enumerate(secrets or (SECRET,))]
    return verify(SPEC.auth, stored, SignedRequest(headers, body), RECEIVED_AT).reason


@pytest.mark.parametrize("body", [b"", b"\xff\x00", b'{"call_id": "x"}'])
@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (f"Bearer {SECRET}", Reason.OK),
        (SECRET, Reason.OK),
        (f"bearer  {SECRET}", Reason.OK),
        (f"BEARER {SECRET}", Reason.OK),
        (f"  {SECRET} ", Reason.OK),
        (SECRET[:-1], Reason.TOKEN_MISMATCH),
        (f"Bearer {SECRET[:-1]}", Reason.TOKEN_MISMATCH),
        (f"Bearer {SECRET}x", Reason.TOKEN_MISMATCH),
        (f"Bearer {SECRET.upper()}", Reason.TOKEN_MISMATCH),
        (f"Basic {SECRET}", Reason.TOKEN_MISMATCH),
        ("Bearer", Reason.TOKEN_MISMATCH),
        ("", Reason.HEADER_MISSING),
    ],
)
def test_the_secret_counts_with_and_without_bearer_and_the_body_does_not(header, reason, body):
    assert proved({"authorization": header}, body=body) is reason


def test_without_the_header_nothing_is_accepted_and_both_secrets_of_a_rotation_are():
    assert proved({}) is Reason.HEADER_MISSING
    assert proved({"x-api-key": SECRET}) is Reason.HEADER_MISSING
    assert proved({"authorization": f"Bearer {SECRET}"}, "former", SECRET) is Reason.OK


# --- events -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "event", "kind", "disposition"),
    [
        (sample(STARTED), "call_started", "call_started", "store"),
        (sample(STARTED, contact_id=GONE), "call_started", "call_started", "store"),
        (sample(STARTED_OLD), "call_started", "call_started", "store"),
        (sample(), "call_ended", "call_ended", "map"),
        (sample(event=None), "call_ended", "call_ended", "map"),
        ({"call_id": "c", "disconnection_reason": "user_hangup"}, "call_ended", "call_ended", "map"),
        ({"call_id": "c", "call_time_seconds": 0}, "call_ended", "call_ended", "map"),
        ({"call_id": "c", "call_completion": False}, "call_ended", "call_ended", "map"),
        (
            sample(disconnection_reason=None, call_time_seconds=None, call_completion=None),
            "call_ended",
            "call_ended",
            "map",
        ),
        ({"call_id": "c", "disconnection_reason": None, "added_to_wallet": False}, "call_ended", "call_ended", "map"),
        ({"call_id": "c", "contactId": "x", "to": "+1", "from": "+2"}, "unknown", "unknown", "store"),
        ({"call_id": "c"}, "unknown", "unknown", "store"),
        ({"disconnection_reason": "user_hangup", "call_time_seconds": 1}, "unknown", "unknown", "store"),
        ({"to": "+1", "from": "+2"}, "unknown", "unknown", "store"),
        (sample(event="call_flew_away"), "call_flew_away", "unknown", "store"),
        ({"test": True}, "unknown", "unknown", "store"),
        ({}, "unknown", "unknown", "store"),
    ],
)
def test_each_event_is_known_by_its_name_or_its_shape(payload, event, kind, disposition):
    identity = MAPPING.identify(payload)
    assert (identity.event, identity.spec.kind, identity.spec.disposition) == (event, kind, disposition)


def test_a_call_start_has_no_call_id_to_join_by():
    assert MAPPING.identify(sample(STARTED)).call_id is None
    assert MAPPING.identify(sample()).call_id == "call_3d0c9d1e-52c7-4a11-9b3f-1c5f2f0a0001"


def test_nobody_waits_for_an_answer():
    assert [row.name for row in SPEC.mapping.events if row.answer is not None] == []


def test_the_call_id_alone_is_required():
    assert [row.required for row in SPEC.mapping.events if row.disposition == "map"] == [("call_id",)]
    assert status_of({"call_id": "c", "call_completion": "complete"}) == "unknown"
    with pytest.raises(MappingError) as raised:
        store(sample(call_id=None, event="call_ended"))
    assert (raised.value.code, raised.value.path) == ("VCP_E005", "$.call_id")


def test_the_finished_call_is_final():
    assert folded(sample()).stage == "analysed"


# --- one call, sent again -----------------------------------------------------------------------------------


def test_the_same_delivery_twice_changes_nothing_but_the_history():
    once, twice = message(sample()), message(sample(), sample())
    for found in (once, twice):
        found["provenance"]["transformation_history"] = []
    assert once == twice


def test_a_recording_that_comes_with_a_repeat_is_taken_in_either_order():
    found = message(sample(recording_url=None), sample())
    assert found["artifacts"]["audio_recording_ref"] == "https://recordings.example.com/0b72df3e-primary.mp3"


def test_a_poorer_repeat_blanks_nothing():
    for nothing in (None, "", [], {}):
        poor = dict.fromkeys(sample(), nothing) | {"call_id": "c", "call_completion": "complete"}
        found, alone = message(sample(), poor), message(sample())
        for part in ("call", "outcomes", "hcr", "artifacts", "custom"):
            assert found[part] == alone[part]


# --- times and length ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "read"),
    [
        (START_MS, START),
        (str(START_MS), START),
        (float(START_MS), START),
        (100_000_000_000, None),  # milliseconds of 1973
        (99_999_999_999, None),  # seconds of 5138
        (1785977112, "2026-08-06T00:45:12.000Z"),
        ("1785977112", "2026-08-06T00:45:12.000Z"),
        (1703001600, "2023-12-19T16:00:00.000Z"),
        ("2026-08-06T02:45:12.064+02:00", START),
        ("2026-08-06T00:45:12.064Z", START),
        ("2026-08-06 00:45:12", "2026-08-06T00:45:12.000Z"),
        ("20260806T004512Z", "2026-08-06T00:45:12.000Z"),
    ],
)
def test_a_time_is_milliseconds_seconds_or_iso_text(told, read):
    for field, target, other in (
        ("start_timestamp", "call.start_time", "end_timestamp"),
        ("end_timestamp", "call.end_time", "start_timestamp"),
    ):
        stored = store(sample(**{field: told, other: None}))
        value = stored.fragment.values.get(target)
        assert (value.value if value else None) == read
        assert (stored.report.failed == []) is (read is not None)


@pytest.mark.parametrize(
    ("fields", "start", "end"),
    [
        ({}, START, END),
        ({"end_timestamp": None}, START, None),
        ({"start_timestamp": None}, "2026-08-06T00:45:12.464Z", END),
        ({"start_timestamp": None, "end_timestamp": None}, "2026-10-31T23:58:28.000Z", None),
    ],
)
def test_a_missing_time_is_worked_out_only_where_it_can_be(fields, start, end):
    found = call_of(sample(**fields))
    assert (found["start_time"], found.get("end_time")) == (start, end)


@pytest.mark.parametrize(
    ("fields", "at"),
    [({}, END), ({"end_timestamp": None}, START), ({"end_timestamp": None, "start_timestamp": None}, None)],
)
def test_the_clock_of_the_event_is_the_end_of_the_call(fields, at):
    assert MAPPING.identify(sample(**fields)).occurred_at == at


def test_a_call_without_times_starts_at_its_arrival_and_says_so():
    found = message(sample(DECLINED))
    assert (found["call"]["start_time"], found["call"]["duration_sec"]) == ("2026-11-01T00:00:00.000Z", 0)
    assert {"start_time_estimated", "inferred:call.start_time"} <= set(found["provenance"]["transformation_history"])


@pytest.mark.parametrize(
    ("fields", "sec"),
    [
        ({"call_time_seconds": 1.86}, 2),
        ({"call_time_seconds": 90.6}, 91),
        ({"call_time_seconds": 90.5}, 91),
        ({"call_time_seconds": 90.4}, 90),
        ({"call_time_seconds": "185"}, 185),
        ({"call_time_seconds": 0, "call_time_ms": 5000}, 0),
        ({"call_time_seconds": None}, 92),
        ({"call_time_seconds": None, "call_time_ms": 1860}, 2),
        ({"call_time_seconds": None, "call_time_ms": "185499"}, 185),
        ({"call_time_seconds": None, "call_time_ms": None}, 92),
        ({"call_time_seconds": None, "call_time_ms": None, "end_timestamp": END_MS + 100}, 93),
        ({"call_time_seconds": None, "call_time_ms": None, "end_timestamp": None}, None),
    ],
)
def test_the_length_is_told_in_seconds_else_in_milliseconds_else_worked_out(fields, sec):
    assert call_of(sample(**fields)).get("duration_sec") == sec


# --- who, over what, and with which tools --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("direction", "call_type", "expected"),
    [
        ("outbound", "voice", "outbound"),
        ("Inbound", "voice", "inbound"),
        ("incoming", "voice", "inbound"),
        ("outgoing", "voice", "outbound"),
        ("outbound", "inbound", "outbound"),
        (None, "inbound", "inbound"),
        ("", "Outbound", "outbound"),
        (None, "outbound_sales", None),
        (None, "voice", None),
        (None, None, None),
    ],
)
def test_the_direction_is_told_or_is_the_type_of_the_call_or_nothing(direction, call_type, expected):
    stored = store(sample(direction=direction, call_type=call_type))
    assert stored.report.unseen == []
    assert call_of(sample(direction=direction, call_type=call_type)).get("direction") == expected


def test_an_odd_direction_is_noted_and_invents_nothing():
    payload = sample(direction="sideways")
    assert store(payload).report.unseen == [{"source": "direction", "word": "sideways"}]
    assert "direction" not in call_of(payload)


@pytest.mark.parametrize(
    "fields", [{}, {"direction": None}, {"direction": None, "to": None}, {"direction": None, "from_": None}]
)
def test_a_call_with_numbers_is_a_phone_call(fields):
    found = call_of(sample(**fields))
    assert found["channel"] == "phone"
    assert found.get("from") == (None if "from_" in fields else "+15550199001")
    assert found.get("to") == (None if "to" in fields else "+15550142201")


def test_a_call_without_numbers_and_direction_has_no_channel():
    assert "channel" not in call_of(sample(direction=None, to=None, from_=None))


@pytest.mark.parametrize(
    ("fields", "caller"),
    [
        ({}, "VIbxTAxdI9fCcqEFuX2F"),
        ({"contact_id": 4711}, "4711"),
        ({"contact_id": None}, "psn_2201"),
        ({"contact_id": None, "direction": "inbound"}, "psn_9001"),
    ],
)
def test_the_caller_is_the_crms_contact_else_the_pseudonym_of_the_number(fields, caller):
    assert call_of(sample(**fields))["caller_id"] == caller


@pytest.mark.parametrize(
    ("metadata", "session"),
    [({"session_id": "sess_9"}, "sess_9"), ({"session_id": None}, "call_x"), ({}, "call_x"), (None, "call_x")],
)
def test_the_session_is_the_one_of_the_metadata_else_the_call(metadata, session):
    found = call_of(sample(metadata=metadata))
    assert (found["call_id"], found["session_id"]) == ("call_x", session)
    assert data_of(sample(metadata=metadata)).get("metadata") == (metadata or None)


@pytest.mark.parametrize(
    ("tools", "names"),
    [
        ([{"name": "book"}, {"name": "send_sms"}, {"name": "book"}], ["book", "send_sms"]),
        ([{"name": None}, {"arguments": {}}, "book"], []),
        ([], []),
        (None, []),
    ],
)
def test_capabilities_are_the_names_of_the_called_tools(tools, names):
    assert call_of(sample(called_tools=tools)).get("capabilities_invoked", []) == names


# --- transcript and recording ---------------------------------------------------------------------------------


def transcript(**fields: Any) -> Any:
    value = store(sample(**fields)).fragment.values.get("transcript")
    return value.value if value else None


@pytest.mark.parametrize(
    ("fields", "turns"),
    [
        (
            {"transcript_object": [{"role": "user", "content": "Hi", "n": 1}, {"role": "other", "content": "x"}]},
            [{"speaker": "caller", "text": "Hi"}, {"speaker": "other", "text": "x"}],
        ),
        (
            {"transcript_object": [{"role": "user", "content": " "}, {"role": "user"}], "full_transcript": "User: Hi"},
            [{"speaker": "caller", "text": "Hi"}],
        ),
        (
            {"transcript_object": [], "full_transcript": "Assistant: Hello!\nCustomer: Hi.\nthere"},
            [{"speaker": "agent", "text": "Hello!"}, {"speaker": "caller", "text": "Hi.\nthere"}],
        ),
        ({"transcript_object": GONE, "full_transcript": "Agent: Hello!"}, [{"speaker": "agent", "text": "Hello!"}]),
        ({"transcript_object": [], "full_transcript": ""}, None),
    ],
)
def test_the_transcript_is_the_list_of_turns_else_the_text(fields, turns):
    assert transcript(**fields) == turns


def test_no_transcript_text_stands_in_the_message():
    kept = json.dumps(message(sample(full_transcript="User: secret plans")))
    assert "text me" not in kept
    assert "secret plans" not in kept


def test_voicemail_has_a_recording_too():
    recording = "https://recordings.example.com/1c8a-primary.mp3"
    assert message(sample(VOICEMAIL))["artifacts"]["audio_recording_ref"] == recording


# --- sentiment, summary, verdicts -----------------------------------------------------------------------------

SCORES = {
    "very_positive": 1.0, "positive": 0.8, "slightly_positive": 0.6, "neutral": 0.5, "mixed": 0.5,
    "slightly_negative": 0.4, "negative": 0.2, "very_negative": 0.0,
}  # fmt: skip


@pytest.mark.parametrize(("word", "score"), SCORES.items())
def test_a_sentiment_is_a_score_in_every_spelling(word, score):
    for spelling in {word, word.upper(), word.title(), word.replace("_", "-"), word.replace("_", " ")}:
        outcomes = message(sample(user_sentiment=spelling))["outcomes"]
        assert (outcomes["user_satisfaction_score"], outcomes["perceived"]) == (score, [spelling])


@pytest.mark.parametrize(
    ("word", "perceived", "unseen"),
    [
        ("Unknown", [], []),
        (None, [], []),
        ("", [], []),
        ("ecstatic", ["ecstatic"], [{"source": "user_sentiment", "word": "ecstatic"}]),
        ("not_positive", ["not_positive"], [{"source": "user_sentiment", "word": "not_positive"}]),
    ],
)
def test_any_other_sentiment_has_no_score(word, perceived, unseen):
    payload = sample(user_sentiment=word)
    outcomes = message(payload)["outcomes"]
    assert "user_satisfaction_score" not in outcomes
    assert outcomes.get("perceived", []) == perceived
    assert outcomes["perception_gap"]["factors"] == ["not_assessed"]
    assert store(payload).report.unseen == unseen


@pytest.mark.parametrize(
    ("turns", "text", "counts"),
    [
        ([{"role": "user", "content": "Hi"}], "", True),
        ([], "User: Hi", True),
        (None, "User: Hi", True),
        ([], "", False),
        ([], "  \n", False),
        ([{"role": "user", "content": " "}], None, False),
        ([{"role": "user"}], None, False),
        (None, None, False),
    ],
)
def test_a_sentiment_counts_only_where_something_was_said(turns, text, counts):
    payload = sample(transcript_object=turns, full_transcript=text)
    outcomes = message(payload)["outcomes"]
    assert outcomes.get("user_satisfaction_score") == (0.8 if counts else None)
    assert outcomes.get("perceived", []) == (["positive"] if counts else [])
    assert data_of(payload)["analytics"]["user_sentiment_raw"] == "positive"


@pytest.mark.parametrize("name", [VOICEMAIL, DECLINED])
def test_nobody_was_satisfied_by_a_call_nobody_answered(name):
    assert "user_satisfaction_score" not in message(sample(name))["outcomes"]


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        ("Booked. All well.", "Booked. All well."),
        ("No conversation data available", None),
        ("call was not answered ", None),
        ("Call was not answered by the owner", "Call was not answered by the owner"),
        ("  ", None),
        (None, None),
    ],
)
def test_fillers_are_no_summary(text, summary):
    assert message(sample(call_summary=text))["hcr"].get("summary") == summary


VERDICTS = [
    (True, True), ("true", True), ("complete", True), ("Completed", True), ("success", True), ("successful", True),
    ("YES", True), (False, False), ("false", False), ("incomplete", False), ("Failed", False), ("failure", False),
    ("no", False), (None, None), ("", None), ("partly", None), ("unsuccessful", None),
]  # fmt: skip


@pytest.mark.parametrize(("told", "verdict"), VERDICTS)
@pytest.mark.parametrize(
    ("field", "metric"), [("call_completion", "task_completion"), ("assistant_task_completion", "assistant_success")]
)
def test_completions_are_true_false_or_nothing(field, metric, told, verdict):
    payload = sample(**{field: told})
    assert metrics_of(payload).get(metric) is verdict
    assert store(payload).report.failed == []


def test_the_reasons_are_kept_as_words():
    metrics = metrics_of(sample())
    assert (metrics["disconnect_reason"], metrics["completion_reason"]) == ("user_hangup", "normal_clearing")
    assert metrics["aht_sec"] == 92


# --- disconnection_reason to status -------------------------------------------------------------------------

NORMAL = ["user_hangup", "agent_hangup", "completed", "completed_successfully", "success", "finished"]
CLASSES = {
    "partial": ["call_transfer", "transfer_bridged", "call_take_over", "transferred", "forwarded",
                "user_requested_callback", "no_concurrency_fallback", "partial", "incomplete"],
    "failure": ["user_requested_dnc", "user_declined", "transfer_cancelled"],
    "timeout": ["voicemail_reached", "machine_detected", "ivr_reached", "dial_no_answer", "no_answer", "dial_busy",
                "busy", "inactivity", "max_duration_reached", "registered_call_timeout", "timeout"],
    "error": ["dial_failed", "invalid_destination", "sip_routing_error", "network_blocked", "marked_as_spam",
              "telephony_provider_permission_denied", "telephony_provider_unavailable", "concurrency_limit_reached",
              "no_valid_payment", "credit_exhausted", "budget_reached", "scam_detected", "error", "failed",
              "connection", "error_user_not_joined", "error_twilio", "error_llm_websocket_open", "error_retell",
              "error_of_next_year"],
    "unknown": ["manual_stopped", "canceled"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("task", "call", "status"),
    [
        (None, None, "success"),
        (None, "complete", "success"),
        (None, "incomplete", "failure"),
        (None, False, "failure"),
        ("success", "incomplete", "success"),
        (True, False, "success"),
        ("failed", "complete", "failure"),
        (False, True, "failure"),
        ("false", None, "failure"),
        ("No", None, "failure"),
        ("partly", "complete", "success"),
        ("partly", "failure", "failure"),
        ("", "failed", "failure"),
        (None, "partly", "success"),
    ],
)
@pytest.mark.parametrize("reason", [*NORMAL, " User_Hangup "])
def test_a_normal_end_is_a_success_unless_the_goal_was_missed(reason, task, call, status):
    payload = sample(disconnection_reason=reason, assistant_task_completion=task, call_completion=call)
    assert status_of(payload) == status


@pytest.mark.parametrize("verdict", [None, True, "success", False, "incomplete"])
@pytest.mark.parametrize(
    ("reason", "status"), [(reason, status) for status, reasons in CLASSES.items() for reason in reasons]
)
def test_every_other_reason_is_its_class_whatever_the_verdicts(reason, status, verdict):
    payload = sample(disconnection_reason=reason, assistant_task_completion=verdict, call_completion=verdict)
    assert status_of(payload) == status
    assert folded(payload).unseen == []


@pytest.mark.parametrize("reason", ["flew_away", "unsuccessful", "not_completed", "an error_x", "", None, 5, GONE])
def test_any_other_reason_is_unknown(reason):
    payload = sample(disconnection_reason=reason)
    assert status_of(payload) == "unknown"
    told = isinstance(reason, str) and reason
    assert folded(payload).unseen == ([{"source": "disconnection_reason", "word": reason}] if told else [])


# --- Assistable's own data ------------------------------------------------------------------------------------


def test_the_rest_is_kept_as_assistables_own_data():
    assert data_of(sample()) == {
        "call_args": {"contact_address_zip_code": "78701"},
        "task_completion": {
            "call_completed": "complete",
            "assistant_completed": "success",
            "completion_reason": "normal_clearing",
        },
        "analytics": {
            "added_to_wallet": False,
            "user_sentiment_raw": "positive",
            "disconnection_reason": "user_hangup",
        },
        "call_type": "voice",
        "location_id": "DbWG5cimcumPcKk5p3xC",
        "assistant_id": "cmrtd28sb0083l2048msdf9hk",
        "called_tools": sample()["called_tools"],
        "extractions": sample()["extractions"],
        "metadata": sample()["metadata"],
        "variables": sample()["variables"],
    }


def test_nothing_is_invented():
    found = message(sample())
    assert "consent" not in found
    assert found["model_selection"]["roles"] == {}
    assert found["outcomes"]["model_outcome_attribution"] == {"roles": {}, "kpis": {}}


def test_extractions_may_have_any_members_and_become_key_points():
    extractions = {f"field_{number}": number for number in range(40)}
    extractions |= {"list": ["a", {"b": 1}], "deep": {"a": {"b": [None]}}, "no": False, "blank": " ", "null": None}
    found = message(sample(extractions=extractions))
    assert data_of(sample(extractions=extractions))["extractions"] == extractions
    points = found["hcr"]["key_points"]
    assert len(points) == 43
    assert {"field_7: 7", "no: no", 'list: ["a", {"b": 1}]', 'deep: {"a": {"b": [null]}}'} <= set(points)
    assert "integrations" not in found["custom"]


@pytest.mark.parametrize("extractions", [["a", {"b": 1}], "high interest", 7, True])
def test_extractions_that_are_no_object_are_kept_and_nothing_is_made_of_them(extractions):
    found = folded(sample(extractions=extractions)).message
    assert data_of(sample(extractions=extractions))["extractions"] == extractions
    assert "integrations" not in found["vcp_payload"]["custom"]
    assert found["audit"]["validation_errors"] == []


# --- extractions for other systems ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extractions", "lead_score", "contact"),
    [
        ({"customer_interest_level": "high", "x": 1}, "high", {"customer_interest_level": "high"}),
        ({"lead_score": 95, "contact_zip": "1"}, 95, {"lead_score": 95, "contact_zip": "1"}),
        (
            {"customer_interest_level": "low", "lead_score": 5, "customer_x": None, "a_lead_b": 1},
            "low",
            {"customer_interest_level": "low", "lead_score": 5},
        ),
    ],
)
def test_a_lead_makes_a_crm_entry(extractions, lead_score, contact):
    assert integrations_of(extractions) == {
        "crm_system": {"provider": "assistable_extractions", "lead_score": lead_score, "contact_data": contact}
    }


@pytest.mark.parametrize(
    ("extractions", "next_action", "scheduling"),
    [
        ({"next_followup_date": "2026-08-13"}, "2026-08-13", {"next_followup_date": "2026-08-13"}),
        ({"appointment_day": "Friday", "x": 1}, None, {"appointment_day": "Friday"}),
        (
            {"next_appointment": "Mon", "Meeting_type": "video", "reschedule": False, "sms_followup": 1, "y": 2},
            None,
            {"next_appointment": "Mon", "Meeting_type": "video", "reschedule": False, "sms_followup": 1},
        ),
    ],
)
def test_a_date_makes_a_calendar_entry(extractions, next_action, scheduling):
    entry = {"provider": "assistable_scheduling", "scheduling_data": scheduling}
    assert integrations_of(extractions) == {
        "calendar_system": entry | ({"next_action": next_action} if next_action else {})
    }


@pytest.mark.parametrize(
    "name", ["budget", "total_Budget", "purchase_intent", "product_interest", "decision_maker", "delivery_timeline"]
)
def test_anything_about_buying_makes_a_sales_entry(name):
    assert integrations_of({name: "x", "other": "y"}) == {
        "sales_system": {
            "provider": "assistable_sales_intelligence",
            "opportunity_data": {name: "x"},
            "qualification_score": 0.5,
        }
    }


@pytest.mark.parametrize(
    "extractions",
    [{}, {"contact_zip": "1"}, {"customer_name": "x"}, {"meeting": "x"}, {"schedule": "x"}, {"lead_score": None},
     {"next_followup_date": ""}, {"budget": None}],
)  # fmt: skip
def test_without_its_signs_there_is_no_entry(extractions):
    assert integrations_of(extractions) == {}


PUBLISHED = {"budget_range": "$500-1000", "decision_maker": True, "purchase_timeline": "within_30_days"}


@pytest.mark.parametrize(
    ("extractions", "score"),
    [
        ({"product_interest": "x"}, 0.5),
        ({"decision_maker": True}, 0.7),
        ({"decision_maker": "true"}, 0.7),
        ({"decision_maker": False}, 0.5),
        ({"decision_maker": "yes"}, 0.5),
        ({"decision_maker": 1}, 0.5),
        ({"budget_range": "$500"}, 0.65),
        ({"budget_range": "within Budget"}, 0.65),
        ({"budget_range": "500-1000"}, 0.5),
        ({"budget": "$5"}, 0.65),
        ({"budget": "$5", "budget_range": "$5"}, 0.65),
        ({"budget_approved": "$"}, 0.5),
        ({"purchase_timeline": "Within 30 days"}, 0.65),
        ({"purchase_timeline": "immediately"}, 0.65),
        ({"purchase_timeline": "URGENT"}, 0.65),
        ({"timeline": "urgent"}, 0.65),
        ({"purchase_timeline": "90 days"}, 0.6),
        ({"purchase_timeline": "next quarter"}, 0.6),
        ({"timeline": "this quarter"}, 0.6),
        ({"purchase_timeline": "urgent this quarter"}, 0.65),
        ({"purchase_timeline": "within_30_days"}, 0.5),
        ({"implementation_timeline": "30 days"}, 0.5),
        (PUBLISHED, 0.85),
        (PUBLISHED | {"purchase_timeline": "in 90 days"}, 0.95),
        (PUBLISHED | {"purchase_timeline": "in 30 days"}, 1.0),
    ],
)
def test_the_qualification_score_adds_up_to_at_most_1(extractions, score):
    assert integrations_of(extractions)["sales_system"]["qualification_score"] == score


def test_with_underscores_read_as_blanks_the_published_example_is_fully_qualified():
    rule = next(rule for rule in SPEC.mapping.rules if rule.target.endswith("qualification_score"))
    members, score = (dict(step["args"]) for step in rule.args["steps"])
    sales = transforms.build("members", members)({**PUBLISHED, "contact_zip": "1"})
    assert transforms.build("score", score)(sales) == 0.85
    assert transforms.build("score", score | {"blanks": "_"})(sales) == 1.0


# --- secrets ------------------------------------------------------------------------------------------------

MARK = "example-live-value"


def everything_kept(payload: dict[str, Any]) -> str:
    stored = store(payload)
    return stored.body.decode() + json.dumps(stored.fragment.to_json()) + json.dumps(message(payload))


@pytest.mark.parametrize(
    "key",
    ["access_token", "Token", "refreshToken", "Stripe Secret", "client_secret", "db_password", "api_key", "crm_API_Key",
     "apikey", "apiKey", "access_key", "aws-access-key", "accessKey", "private_key", "privateKey", "my api key"],
)  # fmt: skip
@pytest.mark.parametrize("place", ["variables", "args", "metadata", "extractions", "called_tools", "top"])
def test_a_secret_is_kept_nowhere(key, place):
    secret = {key: MARK, "neighbour": "kept"}
    payload = sample()
    if place == "top":
        payload |= secret
    elif place == "called_tools":
        payload["called_tools"][0]["arguments"] |= secret
    else:
        payload[place]["custom_values"] = {"deeper": [secret], key: {"inner": [MARK]}}
    assert MARK in json.dumps(payload)
    kept = everything_kept(payload)
    assert MARK not in kept
    assert "kept" in kept


def test_other_variables_stay():
    assert data_of(sample())["variables"]["custom_values"]["company_name"] == "Northside Heating"
    raw = json.dumps(sample()).encode()
    assert MAPPING.redact(raw, sample()) is raw


# --- hostile values -----------------------------------------------------------------------------------------

RICH = sample("post_call_extractions") | {
    key: sample()[key] for key in ("transcript_object", "called_tools", "variables", "location_id", "assistant_id")
}
HUGE = "@1e400@"  # written as a bare number
HOSTILE: list[Any] = [
    None, True, False, 0, -1, 1.5, 10**18, -(10**18), 9e14, 1e300, HUGE, "", " ", "x", "…" * 150_000, "\u0000",
    "\ud800", "1e400", "NaN", [], {}, [None], [[]], [{}], {"a": 1}, ["x"], [1, "x"], [[["x"]]],
]  # fmt: skip
STATUSES = ("success", "failure", "timeout", "error", "unknown", "partial")


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path in a JSON value, of lists the first element only."""
    members = (
        list(value.items()) if isinstance(value, dict) else [(0, value[0])] if isinstance(value, list) and value else []
    )
    return [found for key, inner in members for found in ((*path, key), *places(inner, (*path, key)))]


def with_value(path: tuple[Any, ...], value: Any) -> bytes:
    payload = copy.deepcopy(RICH)
    node: Any = payload
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return json.dumps(payload).replace(f'"{HUGE}"', "1e400").encode()


FIELDS = [path for path in places(RICH) if path != ("call_id",)]


@pytest.mark.parametrize("path", FIELDS, ids=lambda path: ".".join(map(str, path)))
def test_no_value_in_any_field_loses_the_call(path):
    for value in HOSTILE:
        found = message(with_value(path, value))
        assert found["outcomes"]["objective"]["status"] in STATUSES
        if path != ("call_summary",):
            assert found["hcr"]["summary"] == RICH["call_summary"]


@pytest.mark.parametrize(
    ("field", "value", "target"),
    [
        ("start_timestamp", HUGE, "call.start_time"),
        ("start_timestamp", 0, "call.start_time"),
        ("start_timestamp", "not-a-date", "call.start_time"),
        ("end_timestamp", {"ms": 1}, "call.end_time"),
        ("call_time_seconds", "long", "call.duration_sec"),
        ("call_time_seconds", -1, "call.duration_sec"),
        ("direction", ["inbound"], "call.direction"),
        ("from", {"number": "+1"}, "call.from"),
        ("contact_id", ["x"], "call.caller_id"),
        ("called_tools", "send_sms", "call.capabilities_invoked"),
        ("transcript_object", "Hello", "transcript"),
        ("recording_url", ["x"], "artifacts.audio_recording_ref"),
        ("user_sentiment", {"x": 1}, "outcomes.user_satisfaction_score"),
        ("call_summary", "…" * 100_001, "hcr.summary"),
        ("call_completion", 1, "outcomes.objective.metrics.task_completion"),
        ("assistant_task_completion", ["yes"], "outcomes.objective.metrics.assistant_success"),
        ("disconnection_reason", ["x"], "outcomes.objective.metrics.disconnect_reason"),
    ],
)
def test_a_field_that_cannot_be_read_is_left_out_and_recorded(field, value, target):
    payload = parse(with_value((field,), value)) | {"full_transcript": "User: Hi", "call_time_ms": None}
    stored = store(payload)
    assert (f"$.{field}", target) in [(failure["path"], failure["target"]) for failure in stored.report.failed]
    if target != "transcript":
        assert target not in stored.fragment.values
    recorded = folded(payload).message["audit"]["validation_errors"]
    assert any(text.startswith(f"$.{field}: ") for text in recorded)
    assert "…" not in json.dumps(recorded, ensure_ascii=False)


@pytest.mark.parametrize("call_id", [None, "", True, 1.5, ["x"], {"a": 1}])
def test_a_call_id_that_is_none_is_left_to_be_derived(call_id):
    assert MAPPING.identify(sample(call_id=call_id)).call_id is None
