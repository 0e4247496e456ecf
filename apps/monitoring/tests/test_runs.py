"""A run over what is due: whole hosts by lease, threads that cannot delay each other, and faults that it survives."""

import threading
from datetime import timedelta

import pytest
from django.db import OperationalError

from apps.monitoring import claims, runs, watch
from apps.monitoring.models import Alert, AlertChannel, Change, Incident, Kind, Monitor, Observation
from apps.monitoring.outcome import Outcome, Standing
from apps.monitoring.runs import Runner
from apps.monitoring.tests.play import Timer, at, check, degraded, down, fault, nobody, provider, says, up

pytestmark = pytest.mark.django_db


def on_hosts(count: int, **columns) -> list[Monitor]:
    return [check(url=f"https://host{number}.test/", **columns) for number in range(count)]


def look_again(*monitors: Monitor) -> None:
    Monitor.objects.filter(pk__in=[monitor.pk for monitor in monitors]).update(due_at=at(0))


def titles() -> list[str]:
    return list(Change.objects.order_by("id").values_list("title", flat=True))


# --- claims ---------------------------------------------------------------------------------------------------


def test_new_checks_and_those_whose_time_has_come_are_looked_at_once(run, played, clock):
    new, due, later, off = on_hosts(4)
    Monitor.objects.filter(pk=due.pk).update(last_checked_at=at(-60), due_at=at(0))
    Monitor.objects.filter(pk=later.pk).update(last_checked_at=at(-60), due_at=at(1))
    Monitor.objects.filter(pk=off.pk).update(enabled=False)
    assert {look.monitor for look in run().looks} == {new, due}
    assert run().looks == []
    clock.forward(1)
    assert {look.monitor for look in run().looks} == {later}


def test_a_provider_that_is_not_monitored_is_left_alone(run):
    on_hosts(1, provider=provider(monitored=False))
    assert run().looks == []


def test_a_claim_takes_whole_hosts_so_two_workers_never_ask_one_at_once():
    first, second = check(url="https://one.test/a"), check(url="https://one.test/b")
    other = check(url="https://two.test/")
    assert claims.claim(at(0), hosts=1) == {"one.test": [first, second]}
    Monitor.objects.filter(pk=second.pk).update(leased_until=None)
    assert claims.claim(at(0), hosts=5) == {"two.test": [other]}
    assert claims.claim(at(0) + claims.LEASE, hosts=5)["one.test"] == [first, second]


def test_of_a_large_host_only_some_are_taken_at_a_time_and_all_in_the_end(run, played):
    monitors = [check(url=f"https://one.test/{number}") for number in range(claims.MOST_OF_A_HOST + 5)]
    assert len(claims.claim(at(0), hosts=1)["one.test"]) == claims.MOST_OF_A_HOST
    Monitor.objects.update(leased_until=None)
    assert len(run().looks) == len(monitors)
    assert len(set(played.asked)) == len(monitors)


@pytest.mark.parametrize("column", ["due_at", "leased_until"])
def test_times_far_ahead_from_a_clock_that_was_wrong_hold_nothing_up(run, column):
    monitor = check()
    Monitor.objects.update(**{"last_checked_at": at(0), "due_at": at(0), column: at(60 * 24 * 365)})
    assert [look.monitor for look in run().looks] == [monitor]


def test_a_worker_killed_in_between_loses_nothing_and_tells_nothing_twice(run, played, clock):
    AlertChannel.objects.create(name="ops", kind="email", min_severity="low")
    monitor = check(down_after=1)
    played.pages[monitor.url] = down()
    claims.claim(clock(), hosts=1)  # and then it dies
    assert run().looks == []
    clock.now += claims.LEASE
    assert len(run().changes) == 1
    look_again(monitor)  # recorded, but killed before anybody knew
    assert run().changes == []
    assert (Alert.objects.count(), Observation.objects.count()) == (1, 2)


# --- one check's trouble ----------------------------------------------------------------------------------------


def test_a_check_that_hangs_delays_no_other_and_is_given_up(played, clock):
    hanging, *others = on_hosts(runs.THREADS + 4)
    release, timer = threading.Event(), Timer()
    played.pages[hanging.url] = lambda: up() if release.wait(30) else down()
    try:
        runner = Runner(played, clock, timer=timer, sleep=lambda sec: None)
        looks = runner.work(5).looks
        assert {look.monitor for look in looks} == set(others)
        timer.sec += 1000
        (given_up,) = runner.work(5).looks
        assert (given_up.monitor, given_up.seen.outcome.error_kind) == (hanging, "hung")
    finally:
        release.set()
    hanging.refresh_from_db()
    assert (hanging.state, hanging.leased_until) == ("unknown", None)


def test_checks_of_a_host_that_hangs_are_left_due_for_the_next_run(played, clock):
    hanging, waiting = check(url="https://one.test/a"), check(url="https://one.test/b")
    release, timer = threading.Event(), Timer()
    played.pages[hanging.url] = lambda: up() if release.wait(30) else down()
    try:
        runner = Runner(played, clock, timer=timer, sleep=lambda sec: None)
        runner.work(-1)
        timer.sec += 1000
        looks = [*runner.work(60).looks, *runner.work(60).looks]
    finally:
        release.set()
    assert [look.monitor for look in looks] == [hanging, waiting]
    assert looks[1].seen.outcome.standing == Standing.UP


def test_a_look_that_raises_is_a_fault_of_that_check(run, played):
    broken, fine = on_hosts(2)
    played.pages[broken.url] = lambda: 1 / 0
    assert {look.monitor: look.seen.outcome.standing for look in run().looks} == {
        broken: Standing.FAULT,
        fine: Standing.UP,
    }
    assert Observation.objects.get(monitor=broken).error_kind == "unexpected"


def test_an_answer_that_is_too_large_is_a_fault_of_that_check(run, played):
    large, fine = on_hosts(2)
    played.pages[large.url] = fault(error_kind="too_large", error="More than 5 MiB")
    assert {look.monitor: look.seen.outcome.standing for look in run().looks}[fine] == Standing.UP
    large.refresh_from_db()
    assert (large.state, large.last_error) == ("unknown", "More than 5 MiB")


def test_a_locked_database_is_waited_for_and_nothing_is_lost(played, clock, monkeypatch):
    monitor, waits, real = check(), [], watch.record

    def locked_twice(*args):
        if len(waits) < 2:
            raise OperationalError("database is locked")
        return real(*args)

    monkeypatch.setattr(watch, "record", locked_twice)
    runner = Runner(played, clock, sleep=waits.append)
    assert len(runner.work(30).looks) == 1
    assert waits == list(runs.LOCKED_WAITS_SEC[:2])
    assert Observation.objects.get().monitor == monitor


def test_a_look_that_cannot_be_recorded_stops_no_other_and_is_done_again(run, played, clock, monkeypatch, caplog):
    broken, fine = on_hosts(2)
    real = watch.record

    def refuse(monitor, *args):
        if monitor == broken:
            raise OperationalError("database is locked")
        return real(monitor, *args)

    monkeypatch.setattr(watch, "record", refuse)
    run()
    assert list(Observation.objects.values_list("monitor", flat=True)) == [fine.pk]
    assert "could not be recorded" in caplog.text
    monkeypatch.undo()
    played.pages.clear()


def test_what_is_in_flight_when_the_time_is_over_is_taken_up_by_the_next_call(played, clock):
    monitor = check()
    release = threading.Event()
    played.pages[monitor.url] = lambda: up() if release.wait(30) else down()
    runner = Runner(played, clock, sleep=lambda sec: None)
    assert runner.work(-1).looks == []
    release.set()
    assert [look.monitor for look in runner.work(30).looks] == [monitor]
    assert played.asked == [monitor.url]


def test_sixty_checks_of_all_kinds_are_worked_off(run, played):
    outcomes = {Kind.HEALTH: up(), Kind.DOCS: says("text"), Kind.STATUS: up(incidents=()), Kind.FEED: up(entries=())}
    for number in range(60):
        kind = list(outcomes)[number % 4]
        played.pages[check(kind, f"https://host{number % 24}.test/{number}").url] = outcomes[kind]
    assert len(run().looks) == 60
    assert set(Monitor.objects.values_list("state", "leased_until")) == {("up", None)}


# --- our own network --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dns", "refused", "unreachable", "timeout"])
def test_where_nobody_can_be_reached_the_network_is_our_own(run, played, clock, kind):
    monitors = on_hosts(3, down_after=1)
    run()
    look_again(*monitors)
    played.pages = {monitor.url: nobody(kind) for monitor in monitors}
    assert [change.title for change in run().changes] == ["The network of VoiceLens itself is down"]
    assert set(Monitor.objects.values_list("state", "due_at")) == {("up", clock() + timedelta(seconds=60))}
    incident = Incident.objects.get()
    assert (incident.source_key, incident.provider, incident.severity) == ("self:network", "", "high")
    for _ in range(3):
        clock.forward(1)
        assert run().changes == []
    clock.forward(1)
    played.pages.clear()
    assert [change.title for change in run().changes] == ["The network of VoiceLens itself works again"]
    assert not Incident.objects.filter(resolved_at=None).exists()
    assert Observation.objects.count() == 6  # none of the looks in between


def test_while_our_network_is_down_a_single_failure_says_nothing(run, played, clock):
    monitors = on_hosts(3, down_after=1)
    played.pages = {monitor.url: nobody() for monitor in monitors}
    run()
    Monitor.objects.exclude(pk=monitors[0].pk).update(enabled=False)
    clock.forward(1)
    assert run().changes == []
    assert Monitor.objects.get(pk=monitors[0].pk).state == "unknown"


def test_one_answer_from_anybody_says_that_the_failures_are_theirs(run, played):
    monitors = on_hosts(4, down_after=1)
    played.pages = {monitor.url: nobody() for monitor in monitors[:3]} | {monitors[3].url: down()}
    run()
    assert set(Monitor.objects.values_list("state", flat=True)) == {"down"}
    assert "The network of VoiceLens itself is down" not in titles()


def test_two_hosts_are_too_few_to_blame_our_own_network(run, played):
    monitors = on_hosts(2, down_after=1)
    played.pages = {monitor.url: nobody() for monitor in monitors}
    run()
    assert titles() == ["Acme API is down"] * 2


def test_certificates_and_refusals_are_never_our_own_network(run, played):
    monitors = on_hosts(3, down_after=1)
    played.pages = {monitor.url: nobody("tls") for monitor in monitors}
    run()
    assert titles() == ["Acme API is down"] * 3


# --- checks that go ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["disabled", "deleted", "provider off"])
def test_the_incident_of_a_check_that_goes_is_resolved(run, played, how):
    monitor = check(down_after=1)
    played.pages[monitor.url] = down()
    run()
    if how == "disabled":
        Monitor.objects.update(enabled=False)
    elif how == "deleted":
        monitor.delete()
    else:
        type(monitor.provider).objects.update(monitored=False)
    run()
    incident = Incident.objects.get()
    assert incident.resolved_at == at(0)
    assert incident.timeline.last().text == "The check was switched off or deleted."


def test_check_now_has_a_check_looked_at_by_the_next_sweep(run, clock):
    monitor = check()
    run()
    runs.check_now(monitor, clock())
    assert [look.monitor for look in run().looks] == [monitor]


def test_an_outcome_without_a_word_is_recorded_all_the_same(run, played):
    played.pages[check().url] = Outcome(Standing.DEGRADED)
    assert len(run().looks) == 1
    assert degraded().standing == Observation.objects.get().standing
