"""The fault runs: their plan is repeatable, their judge sees every kind of loss, and a short run loses nothing."""

import io
from collections import Counter
from dataclasses import replace
from itertools import islice

import pytest

from faults.__main__ import run
from faults.judge import Found, Sent, Stored, breaches
from faults.plan import KINDS, PARTS, plan
from faults.traffic import KINDS as KINDS_SENT
from faults.traffic import Mix

CALL = ("acme", "call1")
SENT = Sent(1, *CALL, answers=[503, 200], delivery_ids={"d1"})
GOOD = Found(
    deliveries=[Stored("d1", *CALL, "processed")], messages={CALL: ["sum"]}, clean={CALL: "sum"}, totals={"acme": 1}
)


@pytest.mark.parametrize("profile", PARTS)
def test_the_plan_is_the_seed_s_and_meets_every_kind_and_part(profile):
    faults = plan(7, 50, profile)
    assert faults == plan(7, 50, profile)
    assert faults != plan(8, 50, profile)
    assert len(faults) == 50
    assert {fault.kind for fault in faults} == set(KINDS)
    assert {part for fault in faults if fault.kind == "kill" for part in fault.parts} == set(PARTS[profile])
    assert all(len(set(fault.parts)) == 2 for fault in faults if fault.kind == "kill two")


def test_the_same_seed_sends_the_same_deliveries():
    def some(seed):
        return [(parcel.body, parcel.sent.forged, parcel.repeats) for parcel in islice(Mix(seed), 40)]

    assert some(1) == some(1)
    assert some(1) != some(2)


def test_every_delivery_is_about_its_own_call_and_calls_have_one_or_several():
    parcels = list(islice(Mix(1), 400))
    assert all(parcel.sent.call_id.encode() in parcel.body for parcel in parcels)
    assert {parcel.sent.provider for parcel in parcels} == {slug for slug, *_ in KINDS_SENT}
    events = Counter((parcel.sent.provider, parcel.sent.call_id) for parcel in parcels[:350])
    assert {number for (slug, _), number in events.items() if slug == "elevenlabs"} == {1, 2}
    assert {number for (slug, _), number in events.items() if slug == "retell"} == {3}


def test_where_all_is_well_the_judge_says_nothing():
    never_answered = Sent(2, "acme", "call2", answers=[0, 0])
    forged = Sent(3, "acme", "call3", forged=True, answers=[401])
    assert list(breaches([SENT, never_answered, forged], GOOD)) == []


@pytest.mark.parametrize(
    ("sent", "found", "word"),
    [
        (SENT, replace(GOOD, deliveries=[]), "lost: delivery 1"),
        (SENT, replace(GOOD, messages={}), "has no message"),
        (SENT, replace(GOOD, deliveries=[*GOOD.deliveries, *GOOD.deliveries]), "stored 2 times"),
        (SENT, replace(GOOD, messages={CALL: ["sum", "sum"]}), "has 2 messages"),
        (SENT, replace(GOOD, messages={CALL: ["other"]}), "differs"),
        (SENT, replace(GOOD, clean={}, totals={}), "no delivery makes it"),
        (SENT, replace(GOOD, totals={"acme": 2}), "numbers: acme has 2"),
        (SENT, replace(GOOD, totals={}), "numbers: acme has 0"),
        (SENT, replace(GOOD, deliveries=[Stored("d1", *CALL, "received")]), "stuck"),
        (SENT, replace(GOOD, deliveries=[Stored("d1", *CALL, "failed", "VCP_E002")]), "stuck"),
        (SENT, replace(GOOD, audit="2 numbers differ"), "numbers: 2 numbers differ"),
        (SENT, replace(GOOD, ledger="retell 1"), "ledger: retell 1"),
        (replace(SENT, answers=[500, 200]), GOOD, "answered [500]"),
        (replace(SENT, answers=[-503, 200]), GOOD, "answered [-503]"),
        (replace(SENT, delivery_ids={"d1", "d2"}), GOOD, "has the ids"),
        (replace(SENT, forged=True), GOOD, "forged"),
    ],
)
def test_the_judge_sees_what_must_not_be(sent, found, word):
    assert any(word in breach for breach in breaches([sent], found))


@pytest.mark.parametrize("profile", PARTS)
def test_a_short_run_loses_nothing(profile):
    """On servers of its own; `make faults` is the long one."""
    report, found = run(profile, rounds=3, seed=1, minutes=0.5, out=io.StringIO())
    assert found == []
    assert report["acknowledged"] > 0
    assert sum(report["faults"].values()) >= 1
