"""Fragments of one call to one message: order does not matter, strength does, and what is worked out at the end."""

import copy
import json
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.providers.engine.fold import Event, fold, overlay, sort_keys
from apps.providers.engine.mapping import DEFAULT, DERIVED, OBSERVED, Fragment, Mapping, Value
from apps.providers.engine.spec import MappingSpec
from apps.providers.engine.tests.specs import (
    END,
    END_MS,
    EVENTS,
    READ,
    RECEIVED_AT,
    START,
    START_MS,
    context,
    event,
    folded,
    mapping,
    message,
)
from vcp import validate
from vcp.tests.tries import tries

TO = {"source": "call.to", "target": "call.to", "transform": "text"}
SUMMARY = {"source": "call.summary", "target": "hcr.summary", "transform": "text"}
STATUS = {
    "target": "outcomes.objective.status",
    "vocabulary": "call.reason",
    "default": "unknown",
    "rows": [
        {"when": {"call.reason": "hangup", "call.won": False}, "value": "failure"},
        {"when": {"call.reason": "hangup"}, "value": "success"},
    ],
}


def begin(**call: Any) -> dict[str, Any]:
    return {"type": "begin", "call": {"id": "c1", **call}}


def end(**call: Any) -> dict[str, Any]:
    return {"type": "end", "call": {"id": "c1", **call}}


# --- which event counts -------------------------------------------------------------------------------------


def test_a_call_that_no_event_opens_makes_no_message():
    made = mapping()
    assert fold([event(made, {"type": "aside", "call": {"id": "c1"}})], made, context()) is None
    assert fold([], made, context()) is None


def test_an_event_that_opens_no_call_counts_once_another_did():
    found = message(mapping(TO), {"type": "aside", "call": {"to": "x"}}, begin(started=START_MS))
    assert found["call"]["to"] == "x"


def test_a_higher_rank_lies_over_a_lower_one_whatever_the_clocks_say():
    payloads = [begin(to="early"), end(to="late")]
    payloads[0]["at"], payloads[1]["at"] = END_MS, START_MS
    for order in (payloads, payloads[::-1]):
        assert message(mapping(TO), *order)["call"]["to"] == "late"


def test_within_a_rank_the_providers_clock_decides_and_then_the_digest():
    older, newer = {**end(to="old"), "at": START_MS}, {**end(to="new"), "at": END_MS}
    assert message(mapping(TO), newer, older)["call"]["to"] == "new"
    made = mapping(TO)
    twins = [event(made, end(to=name), digest=name) for name in ("a", "b")]
    for order in (twins, twins[::-1]):
        assert fold(order, made, context()).message["vcp_payload"]["call"]["to"] == "b"


def test_what_a_later_event_does_not_say_stays():
    found = message(mapping(TO, SUMMARY), begin(to="x", summary="Told."), end(to=None, summary="  "))
    assert (found["call"]["to"], found["hcr"]["summary"]) == ("x", "Told.")


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        (OBSERVED, OBSERVED, "second"),
        (OBSERVED, DERIVED, "first"),
        (OBSERVED, DEFAULT, "first"),
        (DERIVED, DERIVED, "second"),
        (DERIVED, OBSERVED, "second"),
        (DERIVED, DEFAULT, "first"),
        (DEFAULT, DERIVED, "second"),
    ],
)
def test_a_stronger_basis_is_never_overwritten(first, second, winner):
    def told(basis, text, rank):
        fragment = Fragment({"call.to": Value(basis, None, text)})
        return Event(fragment, "e", rank, True, None, None, text, RECEIVED_AT)

    events = [told(first, "first", 1), told(second, "second", 2)]
    assert fold(events, mapping(), context()).message["vcp_payload"]["call"]["to"] == winner


def test_the_stage_is_the_furthest_that_any_event_proves():
    assert folded(mapping(), end(), begin()).stage == "ended"
    assert folded(mapping(), begin(), {"type": "aside", "call": {}}).stage == "in_progress"


# --- times --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "at", "start", "stop", "sec"),
    [
        ({"started": START_MS, "ended": END_MS, "sec": 30}, None, START, END, 30),
        ({"started": START_MS, "ended": END_MS}, None, START, END, 35),
        ({"started": START_MS, "ended": START_MS + 1500}, None, START, "2026-03-16T16:05:02.750Z", 2),
        ({"started": START_MS, "ended": START_MS + 1499}, None, START, "2026-03-16T16:05:02.749Z", 1),
        ({"started": START_MS, "ended": START_MS}, None, START, START, 0),
        ({"started": START_MS, "sec": 30}, None, START, None, 30),
        ({"started": START_MS}, None, START, None, None),
        ({"ended": END_MS, "sec": 35}, None, START, END, 35),
        ({"ended": END_MS, "sec": 35}, START_MS - 9, START, END, 35),
        ({"ended": END_MS}, START_MS, START, END, None),
        ({"ended": END_MS}, None, END, END, None),
        ({"ended": END_MS}, END_MS + 2000, END, END, None),
        ({}, START_MS, START, None, None),
        ({}, None, "2026-11-01T00:00:00.000Z", None, None),
        ({"sec": 35}, None, "2026-11-01T00:00:00.000Z", None, 35),
    ],
)
def test_start_end_and_duration(call, at, start, stop, sec):
    made = mapping(read={**READ, "occurred_at": ["at"]})
    found = message(made, {**end(**call), "at": at})["call"]
    assert (found["start_time"], found.get("end_time"), found.get("duration_sec")) == (start, stop, sec)


def test_a_start_that_is_worked_out_is_noted_as_inferred():
    history = message(mapping(), end(ended=END_MS, sec=35))["provenance"]["transformation_history"]
    assert "inferred:call.start_time" in history
    assert "start_time_unknown" not in history


def test_a_start_that_nobody_tells_is_the_first_arrival_and_noted():
    made = mapping()
    late, early = (event(made, end(), digest=d) for d in "ab")
    early = replace(early, received_at=RECEIVED_AT - timedelta(hours=1))
    found = fold([late, early], made, context()).message
    assert found["vcp_payload"]["call"]["start_time"] == "2026-10-31T23:00:00.000Z"
    assert "start_time_unknown" in found["vcp_payload"]["provenance"]["transformation_history"]
    assert found["audit"]["received_at"] == "2026-10-31T23:00:00.000Z"


def test_without_a_start_the_earliest_clock_of_all_events_counts():
    found = message(mapping(), {**begin(), "at": START_MS}, {**end(), "at": END_MS})
    assert found["call"]["start_time"] == START


def test_an_end_before_the_start_is_left_out_and_recorded():
    found = folded(mapping(), end(started=END_MS, ended=START_MS))
    assert "end_time" not in found.message["vcp_payload"]["call"]
    assert "duration_sec" not in found.message["vcp_payload"]["call"]
    assert found.message["audit"]["validation_errors"] == ["X1: end_time is before start_time; end_time left out"]


@pytest.mark.parametrize("by_duration", [True, False])
def test_the_end_is_start_plus_duration_only_where_the_provider_sends_none(by_duration):
    made = mapping(end_from_duration=by_duration)
    assert message(made, end(started=START_MS, sec=35))["call"].get("end_time") == (END if by_duration else None)
    assert message(made, end(started=START_MS, sec=9, ended=END_MS))["call"]["end_time"] == END


def test_a_length_beyond_what_can_be_stored_is_not_worked_out():
    rules = [
        {"source": f"call.{name}", "target": f"call.{name}_time", "transform": "same"} for name in ("start", "end")
    ]
    made = mapping(*rules, times=False)
    found = message(made, end(start="1900-01-01T00:00:00Z", end="2026-01-01T00:00:00Z"))["call"]
    assert "duration_sec" not in found


@pytest.mark.parametrize("sign", ["start", "end"])
def test_times_at_the_edge_of_the_calendar_break_nothing(sign):
    edge = {"start": "9999-12-31T23:59:59Z", "end": "0001-01-01T00:00:00Z"}[sign]
    rules = [
        {"source": f"call.{sign}", "target": f"call.{sign}_time", "transform": "same"},
        {"source": "call.sec", "target": "call.duration_sec"},
    ]
    made = mapping(*rules, times=False, end_from_duration=True)
    assert message(made, end(**{sign: edge}, sec=2**31 - 1))["call"][f"{sign}_time"]


# --- people -------------------------------------------------------------------------------------------------

SIDES = [
    {"source": f"call.{name}", "target": f"call.{name}", "transform": "text"} for name in ("direction", "from", "to")
]


@pytest.mark.parametrize(
    ("direction", "number", "pseudonym"),
    [
        ("inbound", "+15550142201", "psn_01"),
        ("outbound", "+15550142201", "psn_99"),
        (None, "+15550142201", None),
        ("inbound", "anonymous", None),
        ("inbound", " Restricted ", None),
        ("inbound", None, None),
        ("inbound", "sip:bob", "psn_ob"),
    ],
)
def test_the_caller_is_the_customers_side_under_a_pseudonym(direction, number, pseudonym):
    call = {"direction": direction, "from": number, "to": "+15550142299"}
    assert message(mapping(*SIDES), end(**call))["call"].get("caller_id") == pseudonym


@pytest.mark.parametrize(
    ("call", "pseudonym"),
    [
        ({}, "psn_77"),
        ({"direction": "inbound"}, "psn_77"),
        ({"direction": "inbound", "from": "+15550142201"}, "psn_01"),
        ({"direction": "inbound", "from": "anonymous"}, None),
        ({"hidden": "unknown"}, None),
    ],
)
def test_a_number_that_is_neither_side_serves_for_the_pseudonym_only(call, pseudonym):
    rule = {"source": "call.hidden", "target": "caller_number"}
    found = folded(mapping(*SIDES, rule), end(**{"hidden": "+15550142277", **call})).message
    assert found["vcp_payload"]["call"].get("caller_id") == pseudonym
    assert "+15550142277" not in json.dumps(found)


def test_a_direction_makes_it_a_phone_call_unless_the_medium_is_told():
    channel = {"source": "call.channel", "target": "call.channel"}
    made = mapping(*SIDES, channel)
    assert message(made, end(direction="inbound"))["call"]["channel"] == "phone"
    assert message(made, end(direction="inbound", channel="web"))["call"]["channel"] == "web"
    assert "channel" not in message(made, end())["call"]


# --- outcome, gap, words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payloads", "status", "unseen"),
    [
        ([end(reason="hangup")], "success", []),
        ([begin(reason="hangup"), end(won=False)], "failure", []),
        ([end(reason="flew away")], "unknown", [{"source": "call.reason", "word": "flew away"}]),
        ([end()], "unknown", []),
    ],
)
def test_the_outcome_is_decided_over_the_merged_call(payloads, status, unseen):
    found = folded(mapping(decisions=[STATUS]), *payloads)
    assert found.message["vcp_payload"]["outcomes"]["objective"]["status"] == status
    assert found.message["vcp_payload"]["hcr"]["outcome_status"] == status
    assert found.unseen == unseen


def test_without_a_table_the_outcome_is_unknown():
    assert message(mapping(), end())["outcomes"]["objective"]["status"] == "unknown"


def test_a_decision_never_replaces_what_a_rule_read():
    zero = {"target": "call.duration_sec", "rows": [{"when": {"call.dead": True}, "value": 0}]}
    made = mapping(decisions=[zero])
    assert message(made, end(dead=True, sec=7))["call"]["duration_sec"] == 7
    assert message(made, end(dead=True, started=START_MS, ended=END_MS))["call"]["duration_sec"] == 0


@pytest.mark.parametrize(
    ("score", "reason", "gap", "name"),
    [
        (0.8, "hangup", 0.2, "minor_deviation"),
        (0.2, "hangup", 0.8, "contradictory"),
        (0.5, "hangup", 0.5, "major_deviation"),
        (1.0, "hangup", 0.0, "aligned"),
    ],
)
def test_the_gap_compares_satisfaction_and_outcome(score, reason, gap, name):
    rule = {"source": "call.score", "target": "outcomes.user_satisfaction_score"}
    found = message(mapping(rule, decisions=[STATUS]), end(score=score, reason=reason))
    assert found["outcomes"]["perception_gap"] == {"gap_score": gap, "gap_class": name}


@pytest.mark.parametrize("call", [{"score": 0.8}, {"reason": "hangup"}, {}])
def test_a_gap_without_two_sides_is_not_assessed(call):
    rule = {"source": "call.score", "target": "outcomes.user_satisfaction_score"}
    found = message(mapping(rule, decisions=[STATUS]), end(**call))
    gap = {"gap_score": 0.0, "gap_class": "aligned", "factors": ["not_assessed"]}
    assert found["outcomes"]["perception_gap"] == gap


@pytest.mark.parametrize(
    ("summary", "headline"),
    [
        ("Dana moved her visit. All was well.", "Dana moved her visit"),
        ("\n\n Two lines.\nSecond", "Two lines"),
        ("Rose by 3.5 percent", "Rose by 3.5 percent"),
        ("x" * 121, "x" * 119 + "…"),
        ("...", "..."),
        (". and so on", ". and so on"),
        ("\u2028", "Acme call: unknown"),
        (None, "Acme call: unknown"),
    ],
)
def test_the_headline_is_the_summarys_first_sentence(summary, headline):
    assert message(mapping(SUMMARY), end(summary=summary))["hcr"]["headline"] == headline


def test_a_plain_headline_says_what_is_known():
    reason = {"source": "call.reason", "target": "outcomes.objective.metrics.disconnect_reason"}
    made = mapping(*SIDES, reason, decisions=[STATUS])
    assert message(made, end(direction="inbound", reason="hangup"))["hcr"]["headline"] == (
        "Acme inbound call: success (hangup)"
    )
    assert message(made, begin(direction="inbound"))["hcr"]["headline"] == "Acme inbound call in progress"
    assert len(message(made, end(reason="x" * 500))["hcr"]["headline"]) == 120


# --- the parts of the message -------------------------------------------------------------------------------


def test_a_message_says_where_it_comes_from():
    made = mapping(TO, leftovers={"lift": ["call"]})
    first = replace(event(made, begin(agent="a1", to="x"), digest="aa"), payload_ref="internal://deliveries/1")
    last = replace(event(made, end(agent="a2"), digest="bb"), payload_ref="internal://deliveries/2")
    found = fold([last, first], made, context()).message["vcp_payload"]
    assert found["call"]["call_id"] == found["call"]["session_id"] == "c1"
    assert found["call"]["provider"] == "acme"
    assert found["model_selection"]["policy_id"] == "acme_default"
    assert found["artifacts"]["provider_raw_payload_ref"] == "internal://deliveries/2"
    assert found["custom"]["provider_specific"]["acme"]["data"]["agent"] == "a2"
    assert found["provenance"]["transformation_history"][:4] == [
        "received_from_acme_webhook",
        "event:begin sha256:aa",
        "event:end sha256:bb",
        "mapped_to_vcp_v0.5",
    ]


def test_failures_of_the_rules_stand_in_the_audit_once():
    found = folded(mapping(), begin(sec="long"), end(sec=["long"]), end(sec=["longer"]))
    assert found.message["audit"]["validation_errors"] == [
        "$.call.sec: does not fit the target's type",
    ]


ROLES = "outcomes.model_outcome_attribution.roles"


def roles(*rules, sec=90, **call):
    found = message(mapping(*rules), end(sec=sec, **call))
    return found["model_selection"]["roles"], found["outcomes"]["model_outcome_attribution"]["roles"]


def test_a_star_fills_every_role_that_is_there_and_none_else():
    minutes = {"source": "call.sec", "target": f"{ROLES}.*.minutes", "transform": "scale", "args": {"by": "0.1"}}
    given_roles = {"source": "call.roles", "target": ROLES}
    _, found = roles(minutes, given_roles, roles={"LLM": {"model_id": "m"}, "TTS": {"model_id": "t", "minutes": 1}})
    assert {role: part["minutes"] for role, part in found.items()} == {"LLM": 9.0, "TTS": 1}
    assert roles(minutes)[1] == {}


def test_a_role_gets_the_minutes_of_the_call_where_none_are_told():
    _, found = roles({"source": "call.model", "target": f"{ROLES}.LLM.model_id"}, model="m")
    assert found == {"LLM": {"model_id": "m", "minutes": 1.5}}


def test_a_role_without_a_name_does_not_lose_the_call():
    rules = [
        {"source": "call.f", "target": "model_selection.roles.LLM.fallback_used"},
        {"source": "call.errors", "target": f"{ROLES}.LLM.errors"},
    ]
    selected, attributed = roles(*rules, f=True, errors=2)
    assert selected["LLM"] == {"fallback_used": True, "chosen": "unknown"}
    assert attributed["LLM"] == {"errors": 2, "model_id": "unknown", "minutes": 1.5}


def test_a_ready_made_message_stands_for_itself():
    made = Mapping(MappingSpec.model_validate({"format": "vcp", "read": READ, "events": EVENTS}))
    older, newer = ({"type": "end", "at": at, "n": at} for at in (START_MS, END_MS))
    found = fold([event(made, newer, digest="a"), event(made, older, digest="b")], made, context())
    assert found.ready_made
    assert found.message == newer


# --- the same in every order --------------------------------------------------------------------------------

CALL = st.fixed_dictionaries(
    {},
    optional={
        "started": st.sampled_from([START_MS, START_MS + 5, END_MS + 7, "junk"]),
        "ended": st.sampled_from([END_MS, START_MS - 5, None]),
        "sec": st.integers(-1, 100),
        "to": st.sampled_from(["x", "y", "", None]),
        "direction": st.sampled_from(["inbound", "outbound", "sideways"]),
        "reason": st.sampled_from(["hangup", "odd"]),
        "won": st.booleans(),
        "summary": st.text(max_size=10),
        "f": st.booleans(),
        "deep": st.dictionaries(st.sampled_from("ab"), st.dictionaries(st.sampled_from("ab"), st.integers(0, 3))),
    },
)
PAYLOAD = st.builds(
    lambda name, at, call: {"type": name, "at": at, "call": {"id": "c1", **call}},
    st.sampled_from(["begin", "aside", "end"]),
    st.sampled_from([None, START_MS, END_MS]),
    CALL,
)
WIDE = mapping(
    *SIDES,
    SUMMARY,
    {"source": "call.f", "target": "model_selection.roles.LLM.fallback_used", "inferred": True},
    decisions=[STATUS],
    leftovers={"lift": ["call"]},
)


@tries(50)
@given(st.lists(PAYLOAD, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_every_order_of_arrival_gives_the_same_valid_message(payloads, random):
    events = [event(WIDE, payload, digest=f"{number}") for number, payload in enumerate(payloads)]
    events[0] = replace(events[0], opens_call=True)
    before = copy.deepcopy([one.fragment for one in events])
    shuffled = random.sample(events, len(events))
    first, second = fold(events, WIDE, context()), fold(shuffled, WIDE, context())
    assert first == second
    assert json.dumps(first.message) == json.dumps(second.message)
    assert validate(first.message, now=RECEIVED_AT).errors == []
    assert [one.fragment for one in events] == before


@given(st.lists(PAYLOAD, min_size=1, max_size=3))
def test_a_repeated_event_changes_nothing(payloads):
    events = [event(WIDE, payload, digest=f"{number}") for number, payload in enumerate(payloads)]
    events[0] = replace(events[0], opens_call=True)
    assert fold([*events, *events], WIDE, context()) == fold(events, WIDE, context())


# --- overlay ------------------------------------------------------------------------------------------------


def test_overlay_goes_key_by_key_replaces_lists_and_never_blanks():
    under = {"a": {"x": 1, "y": 2}, "list": [1, 2], "kept": 0, "text": "t"}
    over = {"a": {"y": 3, "z": None}, "list": [3], "kept": None, "text": " ", "new": {"k": 1}}
    before = deepcopy((under, over))
    assert overlay(under, over) == {"a": {"x": 1, "y": 3}, "list": [3], "kept": 0, "text": "t", "new": {"k": 1}}
    assert (under, over) == before  # a later event must not write into an earlier event's fragment


def test_equal_content_gives_equal_bytes():
    assert json.dumps(sort_keys({"b": [{"d": 1, "c": 2}], "a": None})) == '{"a": null, "b": [{"c": 2, "d": 1}]}'
