"""The outbox: told once, tried again, given up, held back, and never lost or doubled by whoever dies."""

from datetime import datetime, time, timedelta
from typing import Any

import pytest
from django.db import transaction

from apps.monitoring import alerts, incidents
from apps.monitoring.changes import Finding, record
from apps.monitoring.channels import SendError
from apps.monitoring.messages import MAX_ITEMS, Notice, as_text, heart_of, notice
from apps.monitoring.models import Alert, AlertChannel, Change, Incident, SeverityRule, Silence
from apps.monitoring.tests.play import at, check

pytestmark = pytest.mark.django_db
State = Alert.State
MIDNIGHT = at(0)


def channel(name: str = "ops", **columns: Any) -> AlertChannel:
    return AlertChannel.objects.create(**{"name": name, "kind": "slack", "min_severity": "low", **columns})


def found(key: str = "1", now: datetime = MIDNIGHT, incident: Incident | None = None, **columns: Any) -> Change:
    told = {"provider": "acme", "source": "docs", "change_type": "documentation", "title": f"change {key}"}
    change = record(Finding(key=key, **{**told, **columns}), now, incident=incident)
    assert change is not None
    return change


def outage(now: datetime = MIDNIGHT, **columns: Any) -> Incident:
    incident, _ = incidents.open_or_worsen(
        "check:1", provider="acme", title="it is down", severity="high", now=now, text="it is down"
    )
    found("down", now, incident, **{"source": "health", "change_type": "service_status", "severity": "high", **columns})
    return incident


class Killed(BaseException):
    """As when the process is gone: nothing after it runs."""


class Sent(list[tuple[str, Notice]]):
    """What was sent by which channel; raises the errors it is given first."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def __call__(self, channel: AlertChannel, notice: Notice, now: datetime) -> None:
        self.append((channel.name, notice))
        if self.errors:
            raise self.errors.pop(0)

    @property
    def titles(self) -> list[tuple[str, list[str]]]:
        return [(name, [item.heading for item in told.items]) for name, told in self]


def deliver(now: datetime, *errors: Exception) -> Sent:
    sent = Sent(*errors)
    alerts.deliver_due(lambda: now, send=sent)
    return sent


# --- once ----------------------------------------------------------------------------------------------------


def test_a_change_is_told_once_by_each_channel_that_wants_it():
    channel("a"), channel("b"), channel("c", min_severity="critical"), channel("d", enabled=False)
    change = found()
    alerts.enqueue(change, at(0))
    assert deliver(at(0)).titles == [("a", ["change 1"]), ("b", ["change 1"])]
    assert deliver(at(10)) == []
    assert record(Finding("1", "acme", "docs", "documentation", "again"), at(20)) is None
    assert deliver(at(30)) == []
    assert set(Alert.objects.values_list("state", "sent_at", "attempts")) == {(State.SENT, at(0), 1)}
    assert AlertChannel.objects.get(name="a").last_sent_at == at(0)


def test_a_change_that_is_rolled_back_is_told_to_nobody():
    channel()
    with transaction.atomic():
        found()
        transaction.set_rollback(True)
    assert deliver(at(0)) == []


def test_a_rule_s_channels_are_told_whatever_their_own_least_severity():
    channel("a"), channel("strict", min_severity="critical")
    SeverityRule.objects.create(name="r", severity="low").channels.add(AlertChannel.objects.get(name="strict"))
    found()
    assert deliver(at(0)).titles == [("strict", ["change 1"])]


def test_what_is_due_together_is_one_message_with_the_worst_first_and_a_count():
    channel()
    for n in range(7):
        found(str(n), at(n), severity="critical" if n == 6 else "low")
    (_, told), = deliver(at(10))  # fmt: skip
    assert [item.title for item in told.items] == [f"change {n}" for n in (6, 0, 1, 2, 3)]
    assert (told.more, told.more_text, told.severity) == (2, "and 2 more", "critical")
    assert told.subject == "[VoiceLens] critical: change 6 (and 6 more)"
    assert "and 2 more: " in as_text(told)
    assert Alert.objects.filter(state=State.SENT).count() == 7
    assert MAX_ITEMS == 5


# --- tried again, given up --------------------------------------------------------------------------------------


def test_what_fails_is_tried_again_later_and_later_under_the_same_id():
    channel()
    found()
    times, ids, now = [], [], at(0)
    for _ in range(4):
        ids += [told.id for _, told in deliver(now, SendError("busy"))]
        now = Alert.objects.get().due_at
        times.append(now)
    waits = [(later - earlier).total_seconds() / 60 for earlier, later in zip([at(0), *times], times, strict=False)]
    assert [least <= wait <= least * 1.25 for wait, least in zip(waits, (1, 2, 4, 8), strict=True)] == [True] * 4
    assert len(set(ids)) == 1
    assert len(deliver(now)) == 1
    assert Alert.objects.get().state == State.SENT
    assert (AlertChannel.objects.get().last_error, AlertChannel.objects.get().last_failed_at) == ("busy", times[2])


def test_news_do_not_join_a_message_that_was_tried_before():
    channel()
    found("old")
    first = deliver(at(0), SendError("busy"))
    found("new", at(1))
    later = deliver(at(5))
    assert sorted(later.titles) == [("ops", ["change new"]), ("ops", ["change old"])]
    assert first[0][1].id in {told.id for _, told in later}


def test_after_eight_attempts_it_is_given_up_and_can_be_sent_again_by_hand():
    channel()
    found()
    now = at(0)
    for _ in range(alerts.MAX_ATTEMPTS):
        assert len(deliver(now, SendError("no"))) == 1
        now += timedelta(hours=7)
    alert = Alert.objects.get()
    assert (alert.state, alert.attempts, alert.error) == (State.DEAD, 8, "no")
    assert deliver(now) == []
    assert alerts.send_again(Alert.objects.all(), now) == 1
    assert len(deliver(now)) == 1
    assert Alert.objects.get().state == State.SENT
    assert alerts.send_again(Alert.objects.all(), now) == 0


def test_what_will_never_be_taken_is_given_up_at_once():
    channel()
    found()
    deliver(at(0), SendError("no such channel", is_permanent=True))
    assert Alert.objects.get().state == State.DEAD


@pytest.mark.parametrize(("asked", "minutes"), [(300.0, 5), (10.0**9, 360)])
def test_the_receiver_says_when_to_come_again(asked, minutes):
    channel()
    found()
    deliver(at(0), SendError("slow down", retry_after_sec=asked))
    assert Alert.objects.get().due_at == at(minutes)


def test_a_receiver_that_asks_for_less_gets_no_more_attempts_for_it():
    channel()
    found()
    deliver(at(0), SendError("busy", retry_after_sec=1))
    assert at(1) <= Alert.objects.get().due_at <= at(1.25)


def test_a_message_that_nobody_lives_through_is_given_up():
    channel()
    found()
    for n in range(alerts.MAX_ATTEMPTS):
        with pytest.raises(Killed):
            alerts.deliver_due(lambda: at(10 * n), send=lambda *_: (_ for _ in ()).throw(Killed()))  # noqa: B023
    assert deliver(at(1000)) == []
    assert Alert.objects.get().state == State.DEAD


def test_a_mistake_in_one_channel_does_not_stop_the_others(caplog):
    channel("a"), channel("b")
    found()
    assert len(deliver(at(0), KeyError("x"))) == 2
    assert list(Alert.objects.order_by("channel__name").values_list("state", flat=True)) == [State.PENDING, State.SENT]
    assert "KeyError" in Alert.objects.get(channel__name="a").error


def test_given_up_by_hand_is_not_sent():
    channel()
    found()
    assert alerts.give_up(Alert.objects.all()) == 1
    assert deliver(at(1)) == []


# --- whoever dies ----------------------------------------------------------------------------------------------


def test_who_dies_while_sending_leaves_it_to_the_next_under_the_same_id():
    channel()
    found()
    with pytest.raises(Killed):
        alerts.deliver_due(lambda: at(0), send=lambda *_: (_ for _ in ()).throw(Killed()))
    batch = Alert.objects.get().batch
    assert deliver(at(1)) == []  # its lease still holds
    (_, told), = deliver(at(6))  # fmt: skip
    assert told.id == batch


def test_what_another_holds_is_left_alone():
    channel()
    found()
    heard: list[int] = []

    def send(channel, notice, now):
        heard.append(alerts.deliver_due(lambda: now, send=lambda *_: heard.append(99)))

    assert alerts.deliver_due(lambda: at(0), send=send) == 1
    assert heard == [0]


def test_a_lease_of_a_clock_that_was_wrong_ends():
    channel()
    found()
    Alert.objects.update(leased_until=at(60 * 24 * 365))
    assert len(deliver(at(0))) == 1


# --- when people do not want to hear ------------------------------------------------------------------------------


def test_what_is_found_under_a_silence_is_written_as_silenced():
    channel()
    Silence.objects.create(starts_at=at(0), ends_at=at(60), reason="planned")
    found()
    assert Alert.objects.get().state == State.SILENCED
    assert deliver(at(120)) == []


def test_what_is_silenced_before_it_is_told_is_not_told():
    channel()
    found()
    Silence.objects.create(starts_at=at(0), ends_at=at(60), reason="planned")
    assert deliver(at(1)) == []
    assert Alert.objects.get().state == State.SILENCED


def test_a_channel_that_is_switched_off_gets_what_waits_if_it_is_on_again_within_a_day():
    channel()
    found("1"), found("2", at(60))
    AlertChannel.objects.update(enabled=False)
    assert deliver(at(60 * 24 + 30)) == []
    AlertChannel.objects.update(enabled=True)
    assert deliver(at(60 * 24 + 31)).titles == [("ops", ["change 2"])]
    assert Alert.objects.get(change__key="1").error == "The channel is switched off."


# --- incidents ---------------------------------------------------------------------------------------------------


def test_reminders_come_until_somebody_takes_care():
    channel(remind_every_min=30)
    incident = outage()
    heard = []
    for minutes in range(0, 200, 5):
        if minutes == 100:
            incidents.acknowledge(incident, at(minutes), "olga", "on it")
        alerts.follow_up(at(minutes))
        heard += [(minutes, *titles) for _, titles in deliver(at(minutes)).titles]
    assert heard == [
        (0, "change down"),
        (30, "Still: change down"),
        (60, "Still: change down"),
        (90, "Still: change down"),
    ]
    assert [entry.text for entry in incident.timeline.all()][1] == "Reminder 1: to “ops”."


def test_reminders_that_were_missed_do_not_come_one_after_the_other():
    channel(remind_every_min=30)
    outage()
    deliver(at(0))
    for minutes in (200, 205, 210):
        alerts.follow_up(at(minutes))
        deliver(at(minutes))
    assert list(Alert.objects.order_by("id").values_list("occasion", flat=True)) == [
        "first",
        "reminder 6",
        "reminder 7",
    ]


def test_a_reminder_waits_for_the_message_before_it():
    channel(remind_every_min=30)
    outage()
    deliver(at(0))
    alerts.follow_up(at(31))
    alerts.follow_up(at(62))
    assert Alert.objects.filter(state=State.PENDING).count() == 1


def test_nobody_is_reminded_of_what_was_not_told():
    channel(remind_every_min=30)
    outage()
    assert alerts.follow_up(at(60)) == 0


@pytest.mark.parametrize("end", ["acknowledged", "resolved"])
def test_a_pending_reminder_or_escalation_is_dropped_when_somebody_took_care(end):
    channel("boss", escalate_after_min=10)
    incident = outage()
    assert alerts.follow_up(at(10)) == 1
    if end == "acknowledged":
        incidents.acknowledge(incident, at(11), "olga", "on it")
    else:
        incidents.resolve("check:1", at(11), "up again")
    assert deliver(at(12)) == []
    assert Alert.objects.get().state == State.SILENCED


def test_an_escalation_is_told_once_and_only_of_what_the_channel_wants():
    channel("boss", escalate_after_min=10), channel("other", escalate_after_min=10, providers=["other"])
    channel("strict", escalate_after_min=10, min_severity="critical")
    outage()
    assert deliver(at(0)) == []
    heard = []
    for minutes in range(0, 60, 5):
        alerts.follow_up(at(minutes))
        heard += [(minutes, name, *titles) for name, titles in deliver(at(minutes)).titles]
    assert heard == [(10, "boss", "Nobody acknowledged: change down")]


def test_a_silence_puts_an_escalation_off():
    channel("boss", escalate_after_min=10)
    outage()
    Silence.objects.create(starts_at=at(0), ends_at=at(60), reason="known")
    assert alerts.follow_up(at(30)) == 0
    assert alerts.follow_up(at(60)) == 1


def test_the_end_is_told_to_whoever_was_told_of_the_beginning_and_to_nobody_else():
    channel("high", min_severity="high"), channel("critical", min_severity="critical"), channel("all")
    incident = outage()
    deliver(at(0))
    incidents.resolve("check:1", at(9), "up again")
    found("up", at(9), incident, source="health", change_type="service_status", state="up", severity="low")
    assert deliver(at(9)).titles == [("all", ["change up"]), ("high", ["change up"])]


def test_an_outage_that_outlasts_a_silence_is_told_when_it_ends():
    channel("ops"), channel("boss", escalate_after_min=10)
    Silence.objects.create(starts_at=at(0), ends_at=at(30), reason="known")
    outage()
    heard = []
    for minutes in range(0, 60, 5):
        alerts.follow_up(at(minutes))
        heard += [(minutes, name, *titles) for name, titles in deliver(at(minutes)).titles]
    assert sorted(heard) == [(30, "boss", "Nobody acknowledged: change down"), (30, "ops", "change down")]


def test_a_rule_that_names_channels_names_those_of_escalation_too():
    named = channel("named", escalate_after_min=10, min_severity="critical")
    channel("other", escalate_after_min=10)
    SeverityRule.objects.create(name="r", severity="high").channels.add(named)
    outage()
    alerts.follow_up(at(10))
    assert deliver(at(10)).titles == [("named", ["Nobody acknowledged: change down"])]


def test_whoever_loses_the_lease_while_sending_changes_nothing():
    """A sender so slow that another sent it meanwhile, and one during which it was given up by hand."""
    channel()
    found("slow"), found("given up", at(60))
    now = [at(0)]

    def slowly(channel, notice, when):
        if notice.items[0].title == "change slow":
            now[0] += timedelta(minutes=6)
            assert len(deliver(now[0])) == 1
        else:
            alerts.give_up(Alert.objects.all())
        raise SendError("too late")

    alerts.deliver_due(lambda: now[0], send=slowly)
    assert Alert.objects.get(change__key="slow").state == State.SENT
    now[0] = at(60)
    alerts.deliver_due(lambda: now[0], send=slowly)
    assert Alert.objects.get(change__key="given up").error == "Given up by hand."


def test_each_message_is_leased_when_its_turn_comes():
    for name in "abc":
        channel(name)
    found()
    now, held = [at(0)], []

    def slowly(channel, notice, when):
        now[0] += timedelta(minutes=4)
        held.append(alerts.deliver_due(lambda: now[0], send=lambda *_: None))

    assert alerts.deliver_due(lambda: now[0], send=slowly) == 1
    assert held == [2]
    assert set(Alert.objects.values_list("state", flat=True)) == {State.SENT}


def test_a_retry_keeps_to_the_quiet_hours():
    channel(quiet_from=time(0, 1), quiet_until=time(7), quiet_below="high")
    found(severity="low")
    deliver(at(0), SendError("busy"))
    assert Alert.objects.get().due_at == at(7 * 60)


def test_the_end_is_not_told_to_whoever_never_heard_of_the_beginning():
    channel("high", min_severity="high")
    incident = outage()
    deliver(at(0), SendError("gone", is_permanent=True))
    incidents.resolve("check:1", at(9), "up again")
    found("up", at(9), incident, severity="low")
    assert deliver(at(9)) == []


def test_the_end_of_what_was_silenced_is_not_told_for_its_sake():
    channel("high", min_severity="high")
    Silence.objects.create(starts_at=at(0), ends_at=at(5), reason="planned")
    incident = outage()
    incidents.resolve("check:1", at(9), "up again")
    found("up", at(9), incident, severity="low")
    assert deliver(at(9)) == []


def test_an_outage_that_gets_worse_is_followed_from_the_change_that_the_channel_hears_of():
    channel("critical", min_severity="critical", remind_every_min=20)
    channel("boss", min_severity="critical", escalate_after_min=30)
    incident = outage()
    found("worse", at(10), incident, source="health", change_type="service_status", severity="critical")
    heard = []
    for minutes in range(0, 45, 5):
        alerts.follow_up(at(minutes))
        heard += [(minutes, name, *titles) for name, titles in deliver(at(minutes)).titles]
    assert heard == [
        (10, "critical", "change worse"),
        (30, "boss", "Nobody acknowledged: change worse"),
        (30, "critical", "Still: change worse"),
    ]


def test_an_escalation_that_was_not_sent_before_the_end_is_not_told_the_end_either():
    channel("boss", escalate_after_min=10)
    incident = outage()
    alerts.follow_up(at(10))
    incidents.resolve("check:1", at(11), "up again")
    found("up", at(11), incident, severity="low")
    assert deliver(at(12)) == []


def test_an_incident_without_a_change_of_its_own_reminds_nobody():
    channel(remind_every_min=1, escalate_after_min=1)
    incidents.open_or_worsen("x", provider="acme", title="t", severity="high", now=at(0), text="t")
    assert alerts.follow_up(at(60)) == 0


# --- what is said --------------------------------------------------------------------------------------------------


def test_a_message_says_what_where_since_when_how_bad_the_heart_and_the_link(settings):
    settings.PUBLIC_BASE_URL = "https://lens.test"
    channel()
    incident = outage(
        at(0), description="HTTP 503.", url="https://api.acme.test/", diff="--- a\n+++ b\n@@ -1 @@\n same\n-old\n+new",
        data={"affected": {"events": ["call_ended"], "rules": [{"source": "call.price", "target": "cost_usd"}]}},
    )  # fmt: skip
    alert = Alert.objects.select_related("change__incident").get()
    told = notice("b1", [alert])
    text = as_text(told)
    assert told.subject == "[VoiceLens] high: change down"
    for part in (
        "acme · high · service status · 2026-11-02 00:00 UTC · since 2026-11-02 00:00 UTC", "HTTP 503.",
        "    -old\n    +new", "events: call_ended", "call.price → cost_usd", "Page: https://api.acme.test/",
        f"More: https://lens.test/admin/monitoring/change/{alert.change_id}/change/",
    ):  # fmt: skip
        assert part in text, text
    assert "same" not in text
    assert incident.provider == "acme"


def test_the_heart_of_a_long_diff_is_bounded():
    diff = "\n".join(f"+line {n} " + "x" * 1000 for n in range(100))
    lines = heart_of(diff).splitlines()
    assert (len(lines), lines[-1], max(map(len, lines))) == (16, "… 85 more changed lines", 200)


@pytest.mark.parametrize("title", ["a\r\nBcc: x@evil.test", "a\n\nb", "\t a \x0b b"])
def test_a_subject_is_one_line(title):
    channel()
    found(title=title)
    subject = notice("b", [Alert.objects.select_related("change__incident").get()]).subject
    assert subject.isprintable()
    assert len(subject) < 250


def test_the_change_of_a_provider_is_checked_by_the_monitor_that_saw_it():
    monitor = check()
    channel()
    Silence.objects.create(monitor=monitor, starts_at=at(0), ends_at=at(9), reason="x")
    record(Finding("m", "acme", "docs", "documentation", "t"), at(1), monitor=monitor)
    assert Alert.objects.get().state == State.SILENCED
