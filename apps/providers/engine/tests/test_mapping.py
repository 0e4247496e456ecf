"""One payload to its fragment and report: what is read, what fails and how, what stays as the provider's own data."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from apps.providers import catalog
from apps.providers.engine.errors import MappingError
from apps.providers.engine.fold import fold
from apps.providers.engine.mapping import DEFAULT, DERIVED, OBSERVED, Fragment, Mapping
from apps.providers.engine.spec import MappingSpec
from apps.providers.engine.tests.specs import EVENTS, READ, RECEIVED_AT, START, START_MS, context, event, mapping
from vcp import examples, migrate, validate

CHANNEL = {"source": "call.kind", "target": "call.channel", "transform": "words", "args": {"exact": {"tel": "phone"}}}


def apply(made, call, **rest):
    return made.apply({"type": "end", "call": {"id": "c1", **call}, **rest})


def values(made, call, **rest):
    _, fragment, _ = apply(made, call, **rest)
    return {target: value.value for target, value in fragment.values.items()}


# --- what a payload says it is ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "event", "disposition"),
    [
        ({"type": "end"}, "end", "map"),
        ({"type": "other"}, "other", "store"),
        ({"type": 5}, "unknown", "store"),
        ({"type": ""}, "unknown", "store"),
        ({}, "unknown", "store"),
        (["end"], "unknown", "store"),
        (None, "unknown", "store"),
        ({"type": "x" * 300}, "x" * 100, "store"),
        ({"name": "look_up", "type": None}, "tool", "ignore"),
        ({"name": "look_up", "type": "end"}, "end", "map"),
    ],
)
def test_an_event_has_a_name_and_a_row(payload, event, disposition):
    events = [*EVENTS, {"name": "tool", "kind": "ignored", "disposition": "ignore"}]
    classify = [{"when": {"type": {"present": False}, "name": {"present": True}}, "event": "tool"}]
    identity = mapping(read={**READ, "classify": classify}, events=events).identify(payload)
    assert (identity.event, identity.spec.disposition) == (event, disposition)


def test_an_exact_name_comes_before_a_glob():
    events = [{"name": "e*", "kind": "ignored", "disposition": "ignore"}, *EVENTS]
    made = mapping(events=events)
    assert made.identify({"type": "end"}).spec.disposition == "map"
    assert made.identify({"type": "else"}).spec.disposition == "ignore"


@pytest.mark.parametrize(
    ("payload", "call_id"),
    [
        ({"call": {"id": "c1"}}, "c1"),
        ({"call": {"id": 17}}, "17"),
        ({"call": {"id": ""}, "id": "second"}, "second"),
        ({"call": {"id": None}}, None),
        ({"call": {"id": True}}, None),
        ({"call": {"id": 1.5}}, None),
        ({"call": {"id": {"x": 1}}}, None),
        ({"call": "text"}, None),
    ],
)
def test_a_call_id_is_a_text_or_a_whole_number(payload, call_id):
    assert mapping().identify(payload).call_id == call_id


@pytest.mark.parametrize(
    ("payload", "occurred_at"),
    [
        ({"at": START_MS}, START),
        ({"at": START_MS // 1000}, "2026-03-16T16:05:01.000Z"),
        ({"at": "2026-03-16T18:05:01.25+02:00"}, START),
        ({"at": "soon", "call": {"ended": START_MS}}, START),
        ({"at": "soon"}, None),
        ({"at": {"x": 1}}, None),
        ({}, None),
    ],
)
def test_the_events_own_time_is_the_first_that_can_be_read(payload, occurred_at):
    assert mapping().identify(payload).occurred_at == occurred_at


# --- rules --------------------------------------------------------------------------------------------------


def test_the_first_rule_that_yields_wins():
    rules = [{"source": f"call.{name}", "target": "call.to", "transform": "text"} for name in ("a", "b", "c")]
    _, fragment, report = apply(mapping(*rules, times=False), {"a": None, "b": "second", "c": "third"})
    assert list(fragment.values["call.to"]) == [OBSERVED, 1, "second"]
    assert (report.missing, report.used) == ([0], [1])


def test_a_rule_that_fails_leaves_its_target_to_the_next():
    rules = [{"source": f"call.{name}", "target": "call.to", "transform": "text"} for name in ("a", "b")]
    _, fragment, report = apply(mapping(*rules, times=False), {"a": {"no": "text"}, "b": "second"})
    assert fragment.values["call.to"].value == "second"
    assert report.failed == [{"rule": 0, "path": "$.call.a", "target": "call.to", "error": "expected a text, got dict"}]


def test_a_default_is_taken_when_no_rule_yields():
    rule = {"source": "call.a", "target": "call.to", "transform": "text", "default": "nobody"}
    _, fragment, report = apply(mapping(rule, times=False), {"a": ["no text"]})
    assert list(fragment.values["call.to"]) == [DEFAULT, 0, "nobody"]
    assert report.defaulted == [0]
    assert len(report.failed) == 1


def test_an_inferred_rule_is_weaker_than_a_told_value():
    _, fragment, _ = apply(mapping({"source": "call.a", "target": "call.to", "inferred": True}), {"a": "x"})
    assert fragment.values["call.to"].basis == DERIVED


@pytest.mark.parametrize(("event", "expected"), [("end", "x"), ("begin", None)])
def test_a_rule_may_be_for_one_event_only(event, expected):
    made = mapping({"source": "call.a", "target": "call.to", "event": "e*"}, times=False)
    _, fragment, _ = made.apply({"type": event, "call": {"a": "x"}})
    assert (fragment.values["call.to"].value if fragment.values else None) == expected


def test_a_word_nobody_knows_is_noted_and_takes_the_tables_default():
    rule = {**CHANNEL, "args": {"exact": {"tel": "phone"}, "default": "api"}}
    for made, expected in ((mapping(CHANNEL, times=False), {}), (mapping(rule, times=False), {"call.channel": "api"})):
        _, fragment, report = apply(made, {"kind": "pigeon"})
        assert {target: value.value for target, value in fragment.values.items()} == expected
        assert report.unseen == [{"source": "call.kind", "word": "pigeon"}]


def test_a_tables_default_that_does_not_fit_its_target_loses_the_field_only():
    rule = {**CHANNEL, "args": {"exact": {"tel": "phone"}, "default": "pigeon"}}
    _, fragment, report = apply(mapping(rule, times=False), {"kind": "smoke"})
    assert fragment.values == {}
    assert [failure["error"] for failure in report.failed] == ["does not fit the target's type"]


@pytest.mark.parametrize(
    ("target", "value", "stored"),
    [
        ("call.start_time", START_MS, START),
        ("call.start_time", "2026-03-16T18:05:01.25+02:00", START),
        ("call.duration_sec", "35", 35),
        ("call.duration_sec", 35.0, 35),
        ("outcomes.user_satisfaction_score", "0.8", 0.8),
        ("call.to", "x", "x"),
        ("custom.provider_specific.acme.data.any", {"a": [1]}, {"a": [1]}),
        ("hcr.key_points", ["a"], ["a"]),
        ("outcomes.business_impact", {"conversion_probability": 0.5}, {"conversion_probability": 0.5}),
        ("model_selection.roles.LLM", {"reason": ["no name yet"]}, {"reason": ["no name yet"]}),
    ],
)
def test_a_value_is_kept_in_the_normal_form_of_its_target(target, value, stored):
    found = values(mapping({"source": "call.v", "target": target}, times=False), {"v": value})
    assert found == {target: stored}
    assert type(found[target]) is type(stored)


@pytest.mark.parametrize(
    ("target", "value"),
    [
        ("call.start_time", {"year": 2026}),
        ("call.start_time", "yesterday"),
        ("call.duration_sec", -1),
        ("call.duration_sec", 1.5),
        ("call.duration_sec", True),
        ("call.duration_sec", {"sec": 1}),
        ("call.duration_sec", 2**31),
        ("call.channel", "pigeon"),
        ("call.to", 5),
        ("call.to", {"number": "x"}),
        ("outcomes.user_satisfaction_score", 1.01),
        ("outcomes.model_outcome_attribution.total_cost_usd", -0.01),
        ("outcomes.model_outcome_attribution.total_cost_usd", 10**9),
        ("outcomes.model_outcome_attribution.roles", {"LLM": {"model_id": "x", "cost_usd": -1}}),
        ("outcomes.model_outcome_attribution.roles", {"COOK": {"model_id": "x"}}),
        ("hcr.key_points", [1]),
        ("call.capabilities_invoked", ["a", {"capability_id": "b"}]),
    ],
)
def test_a_value_that_does_not_fit_its_target_is_left_out_and_recorded(target, value):
    made = mapping({"source": "call.v", "target": target}, times=False)
    _, fragment, report = apply(made, {"v": value})
    assert fragment.values == {}
    assert [failure["path"] for failure in report.failed] == ["$.call.v"]


@pytest.mark.parametrize(("sec", "kept"), [(2**31 - 1, True), (2**31, False)])
def test_a_duration_is_bounded_by_what_is_stored(sec, kept):
    assert ("call.duration_sec" in values(mapping(), {"sec": sec})) is kept


# --- what fails an event ------------------------------------------------------------------------------------


def test_a_required_rule_that_finds_nothing_fails_the_event_with_its_place():
    made = mapping({"source": "call.a", "target": "call.to", "required": True}, times=False)
    with pytest.raises(MappingError) as raised:
        apply(made, {})
    error = raised.value
    assert (error.code, error.path, error.rule) == ("VCP_E005", "$.call.a", "call.a -> call.to")
    assert error.message == "call.a is missing; call.to needs it"


def test_a_required_rule_that_cannot_read_its_value_fails_the_event_without_quoting_it():
    made = mapping({"source": "call.a", "target": "call.duration_sec", "required": True}, times=False)
    with pytest.raises(MappingError) as raised:
        apply(made, {"a": "s3cret"})
    assert (raised.value.code, raised.value.path) == ("VCP_E004", "$.call.a")
    assert "s3cret" not in raised.value.message


def test_a_path_that_the_event_needs_fails_it_when_missing():
    events = [{**EVENTS[2], "required": ["call.id", "call.end"]}]
    with pytest.raises(MappingError) as raised:
        apply(mapping(events=events), {"end": None})
    assert (raised.value.code, raised.value.path) == ("VCP_E005", "$.call.end")


@pytest.mark.parametrize("payload", [None, [], "text", 5, [{"type": "end"}]])
def test_a_payload_that_is_no_object_is_a_mapping_error(payload):
    with pytest.raises(MappingError) as raised:
        mapping().apply(payload)
    assert (raised.value.code, raised.value.path) == ("VCP_E004", "$")


@pytest.mark.parametrize(("length", "fails"), [(255, False), (256, True)])
def test_a_call_id_is_at_most_255_characters(length, fails):
    payload = {"type": "end", "call": {"id": "x" * length}}
    if not fails:
        assert mapping().apply(payload)[0].call_id == "x" * length
        return
    with pytest.raises(MappingError) as raised:
        mapping().apply(payload)
    assert (raised.value.code, raised.value.path) == ("VCP_E001", "$.call.id")


# --- old names ----------------------------------------------------------------------------------------------

ALIASED = {"read": {**READ, "aliases": {"data": "call"}}}


@pytest.mark.parametrize(
    "payload",
    [
        {"data": {"id": "c1"}},
        {"data": {"id": "c1"}, "call": None},
        {"data": {"id": "c1"}, "call": {}},
        {"data": {"id": "old"}, "call": {"id": "c1"}},
    ],
)
def test_an_old_name_is_read_where_the_new_one_says_nothing(payload):
    identity, fragment, _ = mapping(**ALIASED).apply({"type": "end", **payload})
    assert identity.call_id == "c1"
    assert "data" not in fragment.data


REDACT = {"redact": [{"paths": ["**.token"]}, {"when": {"call.private": True}, "paths": ["call.text", "note"]}]}


@pytest.mark.parametrize(
    ("payload", "stored"),
    [
        ({"call": {"token": "t", "text": "x"}}, {"call": {"token": "[redacted]", "text": "x"}}),
        ({"call": {"private": True, "text": "x"}, "note": "n"},
         {"call": {"private": True, "text": "[redacted]"}, "note": "[redacted]"}),
        ({"data": {"private": True, "text": "x"}}, {"data": {"private": True, "text": "[redacted]"}}),
        ({"call": {"text": "x"}, "data": {"private": "true", "text": "y"}},
         {"call": {"text": "[redacted]"}, "data": {"private": "true", "text": "[redacted]"}}),
        ({"call": {"private": True}, "data": {"text": "y"}},
         {"call": {"private": True}, "data": {"text": "[redacted]"}}),
    ],
)  # fmt: skip
def test_what_must_not_be_stored_is_taken_out_of_the_body_under_every_name(payload, stored):
    made = mapping(**ALIASED, **REDACT)
    assert json.loads(made.redact(json.dumps(payload).encode(), payload)) == stored


def test_a_body_without_secrets_stays_the_very_same_object():
    body = b'{"call": {"text": "x"}}'
    assert mapping(**REDACT).redact(body, json.loads(body)) is body


# --- what no rule used --------------------------------------------------------------------------------------


def test_what_no_rule_used_is_kept_as_the_providers_own_data():
    made = mapping(CHANNEL, leftovers={"lift": ["call"], "drop": ["call.secret"]})
    call = {"kind": "tel", "started": START_MS, "agent": "a1", "zero": 0, "none": None, "secret": "x", "deep": {"a": 1}}
    _, fragment, _ = apply(made, call, extra=[1], agent="top")
    assert fragment.data == {"agent": "a1", "zero": 0, "deep": {"a": 1}, "extra": [1]}


def test_a_rule_may_leave_its_source_in_the_data():
    made = mapping({**CHANNEL, "keep": True}, leftovers={"lift": ["call"]})
    _, fragment, _ = apply(made, {"kind": "tel"})
    assert fragment.data == {"kind": "tel"}


def test_a_fragment_survives_being_stored():
    made = mapping(CHANNEL, leftovers={"lift": ["call"]})
    _, fragment, _ = apply(made, {"kind": "tel", "started": START_MS, "agent": "a1"})
    stored = json.loads(json.dumps(fragment.to_json()))
    assert Fragment.from_json(stored) == fragment


def test_a_ready_made_message_is_taken_whole():
    made = Mapping(MappingSpec.model_validate({"format": "vcp", "read": {"event": "type"}, "events": EVENTS}))
    payload = {"type": "end", "vcp_payload": {"anything": 1}}
    _, fragment, report = made.apply(payload)
    assert fragment.message == payload
    assert report.used == []


def ready_made_of(version):
    made = Mapping(MappingSpec.model_validate({"format": "vcp", "read": {"event": "type"}, "events": EVENTS}))
    return made.apply({"vcp_version": version, "vcp_payload": {}})


@pytest.mark.parametrize(("version", "code"), [("0.3", "VCP_E003"), ("0.4", "VCP_E003"), ("0.9", "VCP_E001")])
def test_an_older_ready_made_message_that_cannot_be_upgraded_is_refused_with_its_place(version, code):
    with pytest.raises(MappingError) as refusal:
        ready_made_of(version)
    assert refusal.value.code == code
    assert refusal.value.path.startswith("$.")


def test_an_older_ready_made_message_is_upgraded_and_its_report_says_how():
    made = Mapping(MappingSpec.model_validate({"format": "vcp", "read": {"event": "type"}, "events": EVENTS}))
    _, fragment, report = made.apply(examples.load("v03_lineage"))
    done = migrate(examples.load("v03_lineage")).to_dict()
    assert fragment.message == done.pop("message")
    assert report.migrations == [done]


# --- what a mapping may be ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ({"rules": [{"source": "a", "target": "call.colour"}]}, "call.colour"),
        ({"rules": [{"source": "a..b", "target": "call.to"}]}, "cannot be read from character"),
        ({"rules": [{"source": "a", "target": "call.to", "transform": "magic"}]}, "'magic' does not exist"),
        ({"rules": [{"source": "a", "target": "call.to", "transform": "epoch", "args": {"unit": "h"}}]}, "args of"),
        ({"rules": [{"source": "a", "target": "call.duration_sec", "default": "long"}]}, "default for call.dur"),
        ({"rules": [{"source": "a", "target": "call.duration_sec", "default": "35"}]}, "write '35' as 35"),
        ({"events": [EVENTS[0], EVENTS[0]]}, "stands in the table twice"),
        ({"events": [{**EVENTS[1], "disposition": "store", "opens_call": True}]}, "must be 'map'"),
        ({"read": {"event": "type"}}, "read.call_id"),
        ({"decisions": [{"target": "call.colour", "rows": []}]}, "call.colour"),
        ({"decisions": [{"target": "call.channel", "rows": [{"when": {}, "value": "pigeon"}]}]}, "pigeon"),
        ({"decisions": [{"target": "call.duration_sec", "rows": [], "default": "0"}]}, "write '0' as 0"),
        ({"decisions": [{"target": "call.to", "rows": [{"when": {"a[": "x"}, "value": "y"}]}]}, "a["),
        ({"redact": [{"paths": ["a.[b"]}]}, "no path"),
        ({"redact": [{"paths": []}]}, "at least 1"),
        ({"colour": 1}, "colour"),
    ],
)  # fmt: skip
def test_a_mapping_that_could_not_run_cannot_be_made(part, problem):
    with pytest.raises(ValidationError) as raised:
        MappingSpec.model_validate({"read": READ, "events": EVENTS, **part})
    assert problem in str(raised.value)


# --- any payload whatever -----------------------------------------------------------------------------------

CATALOGUE = {slug: Mapping(catalog.load(slug).mapping) for slug in catalog.slugs()}
TOPS = {slug: sorted({key for sample in catalog.samples(slug).values() for key in sample}) for slug in CATALOGUE}
EVENT_NAMES = {slug: [row.name for row in made.spec.events] for slug, made in CATALOGUE.items()}
INNER = {
    slug: sorted({key for sample in catalog.samples(slug).values() for part in sample.values() if isinstance(part, dict)
                  for key in part})
    for slug in CATALOGUE
}  # fmt: skip


def payloads(slug):
    leaf = (
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=6)
    )
    keys = st.sampled_from([*INNER[slug], "role", "name", "metadata", "product", "cost"]) | st.text(max_size=4)
    inner = st.recursive(
        leaf, lambda deeper: st.lists(deeper, max_size=3) | st.dictionaries(keys, deeper, max_size=4), max_leaves=15
    )
    named = st.sampled_from(EVENT_NAMES[slug]) | leaf
    tops = st.dictionaries(st.sampled_from(TOPS[slug]), inner, max_size=5)
    return tops.flatmap(lambda top: named.map(lambda name: {**top, "event": name})) | inner


@pytest.mark.parametrize("slug", sorted(CATALOGUE))
@given(data=st.data())
def test_any_json_gives_a_fragment_or_a_mapping_error(slug, data):
    payload = data.draw(payloads(slug))
    try:
        identity, fragment, _ = CATALOGUE[slug].apply(payload)
    except MappingError:
        return
    assert Fragment.from_json(json.loads(json.dumps(fragment.to_json()))) == fragment
    assert CATALOGUE[slug].identify(payload) == identity


@pytest.mark.parametrize("slug", [slug for slug, made in CATALOGUE.items() if made.spec.format == "rules"])
@given(data=st.data())
def test_whatever_can_be_mapped_folds_to_a_valid_message(slug, data):
    payload = data.draw(payloads(slug))
    try:
        told = event(CATALOGUE[slug], payload)
    except MappingError:
        return
    found = fold([replace(told, opens_call=True)], CATALOGUE[slug], context(slug))
    assert validate(found.message, now=RECEIVED_AT).errors == []
