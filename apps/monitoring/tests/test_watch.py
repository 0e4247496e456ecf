"""One look recorded: states, spans, incidents, snapshots, entries, faults, and clocks that are set."""

import itertools
from datetime import timedelta

import pytest

from apps.monitoring import content, pages, watch
from apps.monitoring.models import (
    Alert,
    AlertChannel,
    Change,
    Incident,
    Kind,
    Monitor,
    Observation,
    SeenEntry,
    Silence,
    Snapshot,
    Span,
)
from apps.monitoring.outcome import Content, VendorIncident
from apps.monitoring.tests.play import at, check, degraded, down, fault, feeds, look, says, up

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_comparison")]


def titles() -> list[str]:
    return list(Change.objects.order_by("id").values_list("title", flat=True))


def spans(monitor: Monitor) -> list[tuple[str, float, float]]:
    rows = monitor.spans.order_by("started_at", "id")
    return [(row.state, (row.started_at - at(0)).total_seconds() / 60, (row.ended_at - at(0)).total_seconds() / 60)
            for row in rows]  # fmt: skip


# --- states ---------------------------------------------------------------------------------------------------


def test_three_failures_in_a_row_make_one_incident_and_two_good_looks_end_it():
    monitor = check()
    seen = [up(), down(), down(), down(), down(), up(), up(), up()]
    found = [[change.title for change in look(monitor, outcome, at(n))] for n, outcome in enumerate(seen)]
    assert found == [[], [], [], ["Acme API is down"], [], [], ["Acme API is up again"], []]
    incident = Incident.objects.get()
    assert (incident.source_key, incident.opened_at, incident.resolved_at) == (f"check:{monitor.pk}", at(3), at(6))
    assert [change.incident for change in Change.objects.all()] == [incident, incident]
    assert [entry.text for entry in incident.timeline.all()] == [
        "Acme API is down. HTTP 503.",
        "Acme API is up again. It took 3 min.",
    ]


def test_a_single_failure_is_no_news_and_is_looked_at_again_in_a_minute():
    monitor = check()
    look(monitor, up(), at(0))
    assert look(monitor, down(), at(60)) == []
    monitor.refresh_from_db()
    assert (monitor.state, monitor.due_at) == ("up", at(61))
    look(monitor, up(), at(61))
    monitor.refresh_from_db()
    assert (monitor.due_at, monitor.pending_count) == (None, 0)


def test_worse_and_better_within_one_outage_stay_one_incident():
    monitor = check(down_after=1, up_after=1)
    for minute, outcome in enumerate([degraded(), down(), degraded(), up()]):
        look(monitor, outcome, at(minute))
    assert titles() == ["Acme API is degraded", "Acme API is down", "Acme API is degraded", "Acme API is up again"]
    assert Incident.objects.count() == 1


def test_what_was_seen_is_kept():
    monitor = check()
    look(monitor, down(latency_ms=12), at(0))
    row = Observation.objects.get()
    assert (row.standing, row.status_code, row.latency_ms, row.error) == ("down", 503, 12, "HTTP 503")
    monitor.refresh_from_db()
    assert (monitor.last_checked_at, monitor.last_status_code, monitor.last_error) == (at(0), 503, "HTTP 503")


def test_flapping_is_told_once_and_its_end_once():
    monitor = check(down_after=1, up_after=1)
    for minute in range(20):
        look(monitor, down() if minute % 2 else up(), at(minute))
    assert titles()[-1] == "Acme API is flapping"
    assert titles().count("Acme API is flapping") == 1
    told = len(titles())
    for minute in range(20, 60):
        look(monitor, up(), at(minute))
    assert titles()[told:] == ["Acme API is up again"]
    assert not Incident.objects.filter(resolved_at=None).exists()


# --- maintenance ----------------------------------------------------------------------------------------------


def test_planned_maintenance_is_not_told_but_what_outlasts_it_is():
    monitor = check(down_after=1)
    Silence.objects.create(monitor=monitor, starts_at=at(5), ends_at=at(10), is_maintenance=True, reason="planned")
    look(monitor, up(), at(0))
    assert look(monitor, down(), at(6)) == []
    monitor.refresh_from_db()
    assert monitor.state == "down"
    assert not Incident.objects.exists()
    assert [change.title for change in look(monitor, down(), at(10))] == ["Acme API is down"]
    assert look(monitor, down(), at(11)) == []


@pytest.mark.parametrize("about", ["monitor", "provider", "all"])
def test_maintenance_may_be_of_a_check_a_provider_or_everything(about):
    monitor, other = check(down_after=1), check(Kind.STATUS, down_after=1)
    named = {"monitor": {"monitor": monitor}, "provider": {"provider": monitor.provider}, "all": {}}[about]
    Silence.objects.create(**named, starts_at=at(0), ends_at=at(10), is_maintenance=True, reason="planned")
    assert look(monitor, down(), at(1)) == []
    assert bool(look(other, down(), at(1))) is (about == "monitor")


def test_a_mere_silence_changes_nothing_here():
    monitor = check(down_after=1)
    Silence.objects.create(monitor=monitor, starts_at=at(0), ends_at=at(10), reason="we know")
    assert len(look(monitor, down(), at(1))) == 1


# --- spans ----------------------------------------------------------------------------------------------------


def test_spans_follow_each_other_without_a_gap_while_somebody_looks():
    monitor = check(down_after=1, up_after=1)
    for minute, outcome in [(0, up()), (10, up()), (20, down()), (25, down()), (30, up())]:
        look(monitor, outcome, at(minute))
    assert spans(monitor) == [("up", 0, 20), ("down", 20, 30), ("up", 30, 30)]


@pytest.mark.parametrize(("pause", "is_hole"), [(150, False), (151, True)])
def test_a_pause_of_more_than_two_and_a_half_times_the_usual_is_a_hole(pause, is_hole):
    monitor = check()  # hourly by default
    look(monitor, up(), at(0))
    look(monitor, up(), at(pause))
    assert spans(monitor) == ([("up", 0, 0), ("up", pause, pause)] if is_hole else [("up", 0, pause)])


def test_a_clock_set_back_makes_no_negative_time():
    monitor = check(down_after=1, up_after=1)
    for minute, outcome in [(0, up()), (30, up()), (10, up()), (12, down()), (40, down()), (5, up()), (41, up())]:
        look(monitor, outcome, at(minute))
    found = spans(monitor)
    assert all(start <= end for _, start, end in found)
    assert all(before[2] <= after[1] for before, after in itertools.pairwise(found))
    assert found[0] == ("up", 0, 30)
    assert all(row.resolved_at is None or row.resolved_at >= row.opened_at for row in Incident.objects.all())


# --- faults of the check ----------------------------------------------------------------------------------------


def test_a_fault_is_told_once_as_a_fault_of_the_check_and_once_when_it_works_again():
    monitor = check(Kind.DOCS)
    look(monitor, says("a"), at(0))
    for minute in range(1, 6):
        look(monitor, fault(), at(minute))
    look(monitor, says("a"), at(6))
    look(monitor, says("a"), at(7))
    assert titles() == [
        "The check of Acme documentation does not work",
        "The check of Acme documentation works again",
    ]
    first = Change.objects.order_by("id").first()
    assert (first.source, first.severity, first.description) == ("docs", "low", "The selector finds nothing.")
    monitor.refresh_from_db()
    assert monitor.state == "up"
    assert not Incident.objects.exists()


# --- content --------------------------------------------------------------------------------------------------


def test_first_sight_is_a_baseline_and_back_and_forth_are_two_changes():
    monitor = check(Kind.DOCS)
    found = [look(monitor, says(text), at(n)) for n, text in enumerate(["a", "a", "b", "b", "a", "a"])]
    assert [len(changes) for changes in found] == [0, 0, 1, 0, 1, 0]
    first, second = (changes[0] for changes in found if changes)
    assert (first.diff, second.diff) == ("-a\n+b", "-b\n+a")
    assert (first.source, first.change_type, first.title) == ("docs", "documentation", "Acme documentation changed")
    assert Snapshot.objects.count() == 3


def test_a_text_that_says_the_same_is_no_change():
    monitor = check(Kind.DOCS)
    assert [look(monitor, says(text), at(n)) for n, text in enumerate(["a b", "a  b", "a b "])] == [[], [], []]
    assert Snapshot.objects.count() == 1


def test_another_selector_or_address_makes_a_new_baseline():
    monitor = check(Kind.DOCS)
    look(monitor, says("a", etag='"1"'), at(0))
    for number, change in enumerate(
        [{"selector": "main"}, {"url": "https://acme.test/new"}, {"ignored_selectors": [".x"]}]
    ):
        Monitor.objects.filter(pk=monitor.pk).update(**change)
        monitor.refresh_from_db()
        assert watch._look(monitor).etag == ""
        assert look(monitor, says(f"text {number}", etag='"2"'), at(number + 1)) == []
        monitor.refresh_from_db()
        assert watch._look(monitor).etag == '"2"'
    assert [change.diff for change in look(monitor, says("after"), at(9))] == ["-text 2\n+after"]


def test_a_page_that_was_edited_while_it_was_looked_at_is_looked_at_again():
    monitor = check(Kind.DOCS)
    claimed = Monitor.objects.get(pk=monitor.pk)
    Monitor.objects.filter(pk=monitor.pk).update(selector="main", leased_until=at(2))
    assert watch.record(claimed, watch.Seen(says("a")), at(1)) == []
    monitor.refresh_from_db()
    assert (monitor.last_checked_at, monitor.leased_until, monitor.due_at) == (None, None, at(1))


def test_a_check_that_was_deleted_while_it_was_looked_at_leaves_nothing():
    monitor = check()
    claimed = Monitor.objects.get(pk=monitor.pk)
    monitor.delete()
    assert watch.record(claimed, watch.Seen(down()), at(1)) == []


def test_validators_are_kept_only_with_a_text_that_was_read():
    monitor = check(Kind.DOCS)
    look(monitor, says("a", etag='"1"', last_modified="Mon"), at(0))
    look(monitor, fault(etag='"2"'), at(1))
    look(monitor, down(etag='"3"'), at(2))
    look(monitor, up(not_modified=True, etag='"4"', status_code=304), at(3))
    monitor.refresh_from_db()
    assert (monitor.etag, monitor.last_modified) == ('"1"', "Mon")


def test_a_status_page_is_always_read_whole():
    monitor = check(Kind.STATUS)
    look(monitor, up(incidents=(), etag='"1"'), at(0))
    monitor.refresh_from_db()
    assert watch._look(monitor).etag == ""


def test_a_comparison_that_fails_is_a_fault_of_the_check(monkeypatch):
    monitor = check(Kind.DOCS)
    look(monitor, says("a"), at(0))
    with monkeypatch.context() as patch:
        patch.setattr(content, "compare", lambda before, after: 1 / 0)
        look(monitor, says("b"), at(1))
    assert Observation.objects.latest("id").error == "The page could not be compared: ZeroDivisionError"
    assert [change.diff for change in look(monitor, says("b"), at(2))] == ["-a\n+b"]


def test_text_that_no_database_takes_is_stored_without_what_it_cannot_hold():
    monitor = check(Kind.DOCS)
    look(monitor, says("a"), at(0))
    (change,) = look(monitor, says("b\x00\ud800"), at(1))
    change.refresh_from_db()
    assert change.diff == "-a\n+b?"
    assert look(monitor, says("b\x00\ud800"), at(2)) == []


# --- feeds ----------------------------------------------------------------------------------------------------


def test_a_feed_s_first_entries_are_a_baseline_and_each_later_one_is_told_once():
    monitor = check(Kind.FEED)
    found = [look(monitor, feeds(*guids), at(n)) for n, guids in enumerate(["ab", "ab", "dcab", "dca", "e"])]
    assert [[change.title for change in changes] for changes in found] == [
        [], [], ["Acme: Entry c", "Acme: Entry d"], [], ["Acme: Entry e"],
    ]  # fmt: skip
    assert SeenEntry.objects.count() == 5


def test_a_feed_that_was_empty_at_first_sight_has_had_its_baseline():
    monitor = check(Kind.FEED)
    look(monitor, feeds(), at(0))
    assert len(look(monitor, feeds("a"), at(1))) == 1


def test_a_guid_of_any_length_is_known_again():
    monitor = check(Kind.FEED)
    look(monitor, feeds(), at(0))
    assert [len(look(monitor, feeds("x" * 5000), at(n))) for n in (1, 2)] == [1, 0]


def test_an_old_entry_that_comes_into_sight_is_no_news():
    monitor = check(Kind.FEED)
    dated = feeds("c", "b", "a").entries
    entries = [type(one)(one.guid, one.title, published_at=at(-n)) for n, one in enumerate(dated)]
    look(monitor, up(entries=tuple(entries[:2])), at(0))
    assert look(monitor, up(entries=tuple(entries[1:])), at(1)) == []


# --- the provider's word ----------------------------------------------------------------------------------------


def told(name: str, *, is_open: bool = True, status: str = "investigating", impact: str = "major") -> VendorIncident:
    return VendorIncident(id=name, title=f"{name} fail", impact=impact, status=status, is_open=is_open, text="We look.")


def test_the_provider_s_incidents_are_told_when_they_open_and_when_they_are_over():
    monitor = check(Kind.STATUS)
    known = [(), (told("Calls"),), (told("Calls", status="identified"),), (told("Calls", is_open=False),), ()]
    found = [look(monitor, up(incidents=incidents), at(n)) for n, incidents in enumerate(known)]
    assert [[(change.title, change.severity) for change in changes] for changes in found] == [
        [],
        [("Acme reports: Calls fail", "high")],
        [],
        [("Acme reports as over: Calls fail", "high")],
        [],
    ]


def test_an_incident_that_is_open_at_first_sight_is_a_baseline_and_its_end_is_told():
    monitor = check(Kind.STATUS)
    assert look(monitor, up(incidents=(told("Calls"),)), at(0)) == []
    assert [change.title for change in look(monitor, up(incidents=()), at(1))] == ["Acme reports as over: Calls fail"]


def test_an_outage_of_the_status_page_s_own_word_has_its_news_in_the_timeline():
    monitor = check(Kind.STATUS, down_after=1)
    look(monitor, up(incidents=()), at(0))
    components = {"Calls": "major_outage", "Dashboard": "operational"}
    look(monitor, down(status_code=200, error="", incidents=(told("Calls"),), components=components), at(1))
    look(monitor, down(status_code=200, error="", incidents=(told("Calls", status="identified"),)), at(2))
    incident = Incident.objects.get()
    assert incident.title == "Acme status page says: it is down"
    assert [entry.text for entry in incident.timeline.all()] == [
        "Acme status page says: it is down. HTTP 200. Components: Calls: major_outage.",
        "Acme reports: Calls fail. investigating: We look.",
        "Acme reports: Calls fail: identified. We look.",
    ]


# --- whole or not at all ----------------------------------------------------------------------------------------


def test_a_look_is_recorded_whole_or_not_at_all(monkeypatch):
    AlertChannel.objects.create(name="ops", kind="email", min_severity="low")
    monitor = check(down_after=1)
    look(monitor, up(), at(0))
    monkeypatch.setattr(watch, "_finish", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        look(monitor, down(), at(1))
    monitor.refresh_from_db()
    assert (monitor.state, Observation.objects.count(), Incident.objects.count()) == ("up", 1, 0)
    assert not Change.objects.exists()
    assert not Alert.objects.exists()
    monkeypatch.undo()
    look(monitor, down(), at(1))
    assert Alert.objects.count() == 1


def test_looks_of_a_check_that_is_up_ask_little_of_the_database(django_assert_max_num_queries):
    monitor = check()
    look(monitor, up(), at(0))
    claimed = Monitor.objects.select_related("provider", "schedule").get(pk=monitor.pk)
    with django_assert_max_num_queries(7):  # with the two of the transaction
        watch.record(claimed, watch.Seen(up()), at(0) + timedelta(minutes=5))


def test_content_has_the_same_digest_as_its_snapshot():
    monitor = check(Kind.DOCS)
    look(monitor, says("a"), at(0))
    assert Snapshot.objects.get().content_hash == pages.digest(Content("a"))
    assert Span.objects.count() == 1
