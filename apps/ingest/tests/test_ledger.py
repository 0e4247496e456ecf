"""The ledger: accepted = processed + waiting + failed + ignored, at any moment, and where it does not say so."""

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from apps.ingest import inbox, ledger, tasks
from apps.ingest.ledger import Line
from apps.ingest.models import CallKey, InboundEvent, Tally
from apps.ingest.one_view import one_view
from apps.ingest.retention import empty_old_bodies, erase_call
from tests.calls import ARRIVAL, ENDED, STARTED, TRANSFER, in_threads, sample

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def some_of_each(arrive, drain, endpoint):
    """In one hour a processed, an ignored, a waiting, a failed and an unread delivery, and two repetitions; a refusal.
    In the next hour a processed one of another provider, erased."""
    arrive(sample(ENDED))
    arrive(sample("chat_ended"))
    arrive(sample(TRANSFER, call_id="never opened"))
    arrive(b"not JSON")
    drain()
    arrive(sample(ENDED, call_id="new"))
    arrive(sample(ENDED))
    arrive(b"not JSON")
    inbox.refuse(endpoint, 401, "signature_mismatch", "", ARRIVAL)
    arrive({}, ARRIVAL + HOUR, provider="vcp")


def test_every_delivery_is_in_one_line_and_one_state(some_of_each):
    [later, earlier] = ledger.lines(ARRIVAL, ARRIVAL + 2 * HOUR)
    assert (later.start, later.provider, later.endpoint) == (ARRIVAL + HOUR, "vcp", "default")
    assert (later.accepted, later.words) == (1, {"processed": 0, "waiting": 1, "failed": 0, "ignored": 0})
    assert earlier == Line(
        ARRIVAL, "retell", "default", accepted=5, repeated=2,
        states={"processed": 1, "ignored": 1, "waiting": 1, "failed": 1, "received": 1},
        refused={"signature_mismatch": 1},
    )  # fmt: skip
    assert earlier.words == {"processed": 1, "waiting": 2, "failed": 1, "ignored": 1}
    assert (earlier.rows, earlier.all_refused, earlier.difference) == (5, 1, 0)


def test_the_four_words_cover_every_state_once():
    covered = [state for states in ledger.WORDS.values() for state in states]
    assert sorted(covered) == sorted(InboundEvent.State)


@pytest.mark.parametrize(
    ("since", "until", "by", "starts"),
    [
        (ARRIVAL, ARRIVAL + HOUR, "hour", [ARRIVAL]),
        (ARRIVAL + timedelta(minutes=59), ARRIVAL + timedelta(minutes=61), "hour", [ARRIVAL + HOUR, ARRIVAL]),
        (ARRIVAL + HOUR, None, "hour", [ARRIVAL + HOUR]),
        (None, ARRIVAL + HOUR, "hour", [ARRIVAL]),
        (ARRIVAL, ARRIVAL, "hour", []),
        (ARRIVAL + HOUR, ARRIVAL + HOUR, "day", [ARRIVAL.replace(hour=0)] * 2),
        (None, None, "day", [ARRIVAL.replace(hour=0)] * 2),
        (None, None, "all", [None] * 2),
        (ARRIVAL.replace(hour=0) + timedelta(days=1), None, "day", []),
    ],
)
def test_periods_are_whole_so_that_both_sides_are_of_the_same_time(some_of_each, since, until, by, starts):
    found = ledger.lines(since, until, by)
    assert [line.start for line in found] == starts
    assert ledger.differing(found) == []


def test_one_provider_is_asked_for_alone(some_of_each):
    assert [line.provider for line in ledger.lines(by="all", provider="vcp")] == ["vcp"]


def test_lines_are_added_up_by_provider_or_over_time(some_of_each):
    found = ledger.lines(by="hour")
    assert [(line.start, line.provider, line.rows) for line in ledger.together(found)] == [
        (ARRIVAL + HOUR, "vcp", 1), (ARRIVAL, "retell", 5),
    ]  # fmt: skip
    assert [(line.endpoint, line.rows, line.repeated) for line in ledger.together(found, by_endpoint=True)] == [
        ("default", 1, 0), ("default", 5, 2),
    ]  # fmt: skip


def test_replays_retention_and_erasing_leave_it_added_up(some_of_each, drain):
    drain()
    InboundEvent.objects.update(state="received")
    drain()
    empty_old_bodies(ARRIVAL + timedelta(days=99), 30)
    for key in CallKey.objects.all():
        erase_call(key, ARRIVAL)
    found = ledger.lines(by="all")
    assert [line.states.get("erased", 0) for line in found] == [3, 0]
    assert ledger.differing(found) == []


def test_what_is_lost_shows_as_missing_and_what_came_around_the_door_as_never_counted(some_of_each):
    row = InboundEvent.objects.filter(provider="retell").first()
    row.delete()
    [line] = ledger.differing(ledger.lines())
    assert (line.start, line.provider, line.difference) == (ARRIVAL, "retell", 1)
    row.pk = None
    row.save()
    assert ledger.differing(ledger.lines()) == []
    Tally.objects.filter(endpoint__provider__slug="vcp").delete()
    [line] = ledger.differing(ledger.lines())
    assert (line.provider, line.difference) == ("vcp", -1)


@pytest.mark.django_db(transaction=True)
def test_it_adds_up_at_any_moment_while_deliveries_arrive_and_are_worked_off(arrive):
    """Writers and a drain at work; whoever reads meanwhile sees one moment in which all is in its place."""
    done = threading.Event()
    seen: list[int] = []

    def bring(writer: int) -> None:
        for number in range(40):
            arrive(sample(ENDED, call_id=f"call {writer} {number // 2}"), ARRIVAL + number // 2 % 3 * HOUR)

    def write() -> None:
        try:
            for writer in range(2):
                bring(writer)
                tasks.drain()
        finally:
            done.set()

    def read() -> None:
        while not done.is_set():
            found = ledger.lines()
            assert ledger.differing(found) == []
            seen.append(sum(line.accepted for line in found))

    in_threads(write, lambda: bring(2), read)
    final = ledger.lines(by="all")
    assert [(line.accepted, line.repeated, line.difference) for line in final] == [(60, 60, 0)]
    assert len(set(seen)) > 2  # it was read while something changed


@pytest.mark.django_db(transaction=True)
def test_a_view_of_one_moment_does_not_see_what_is_committed_meanwhile_and_keeps_nobody_waiting(arrive):
    def another_stores() -> None:
        in_threads(lambda: arrive(sample(STARTED)))

    with one_view():
        before = InboundEvent.objects.count()
        another_stores()
        assert InboundEvent.objects.count() == before == 0
    assert InboundEvent.objects.count() == 1
    assert not connection.in_atomic_block


# --- the command ------------------------------------------------------------------------------------------------


@pytest.fixture
def run(capsys):
    def told(*arguments):
        call_command("ledger", *arguments)
        return capsys.readouterr().out

    return told


def test_the_command_shows_a_table_with_its_sums(some_of_each, run):
    lines = run("--since", "2026-03-17", "--until", "2026-03-18", "--check").splitlines()
    assert [line.split() for line in lines] == [
        ["start", "(UTC)", "endpoint", "accepted", "repeated", "processed", "waiting", "failed", "ignored", "refused",
         "difference"],
        ["2026-03-17", "10:00", "vcp/default", "1", "0", "0", "1", "0", "0", "0", "0"],
        ["2026-03-17", "09:00", "retell/default", "5", "2", "1", "2", "1", "1", "1", "0"],
        ["together", "6", "2", "1", "3", "1", "1", "1", "0"],
    ]  # fmt: skip


def test_the_command_tells_each_state_and_reason_as_json(some_of_each, run):
    [line] = json.loads(run("--all", "--by", "day", "--provider", "Retell", "--json"))
    assert line == {
        "start": "2026-03-17T00:00:00Z", "provider": "retell", "endpoint": "default", "accepted": 5, "repeated": 2,
        "processed": 1, "waiting": 2, "failed": 1, "ignored": 1, "difference": 0,
        "states": {"failed": 1, "ignored": 1, "processed": 1, "received": 1, "waiting": 1},
        "refused": {"signature_mismatch": 1},
    }  # fmt: skip
    [line] = json.loads(run("--all", "--by", "all", "--provider", "vcp", "--json"))
    assert line["start"] is None


def test_the_command_names_where_it_does_not_add_up(some_of_each, run):
    InboundEvent.objects.filter(state="failed").delete()
    Tally.objects.filter(endpoint__provider__slug="vcp").delete()
    with pytest.raises(CommandError) as error:
        run("--all", "--check")
    assert error.value.returncode == 1
    assert str(error.value).splitlines() == [
        "the ledger does not add up:",
        "2026-03-17 10:00 UTC vcp/default: 0 accepted, 1 stored, 1 never counted",
        "2026-03-17 09:00 UTC retell/default: 5 accepted, 4 stored, 1 missing",
    ]
    assert "difference" in run("--all")  # without --check it only shows


def test_the_command_shows_the_last_day_unless_told_otherwise(arrive, run):
    assert run() == "nothing came in this time\n"
    arrive(sample(ENDED), datetime.now(UTC) - timedelta(hours=23))
    arrive(sample(ENDED, call_id="old"), datetime.now(UTC) - timedelta(hours=26))
    assert run().splitlines()[-1].split()[:2] == ["together", "1"]
