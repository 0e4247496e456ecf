"""A day, minute by minute: beat's own schedules, outages at known times, and exactly what people hear of them."""

import json
from collections.abc import Callable
from datetime import datetime, time

import pytest
from django_celery_beat.models import PeriodicTask

from apps.monitoring import alerts, claims, incidents, rules, schedules, tasks
from apps.monitoring.models import Alert, AlertChannel, Change, Incident, Kind, Monitor, Silence
from apps.monitoring.outcome import Outcome, VendorIncident
from apps.monitoring.tests.play import at, check, degraded, down, feeds, nobody, says, up

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]

API, STATUS, DOCS, FEED = (f"https://{name}.acme.test/" for name in ("api", "status", "docs", "feed"))


def clock_time(text: str) -> datetime:
    hours, minutes = text.split(":")
    return at(60 * int(hours) + int(minutes))


def told(status: str, *, is_open: bool = True) -> VendorIncident:
    return VendorIncident("i1", "Calls fail", "major", status, is_open, text="We look.")


# What each page says from when on; before that it is up.
DAY: dict[str, list[tuple[str, Outcome]]] = {
    API: [
        ("00:00", up()), ("03:10", down()), ("03:50", up()),  # longer than its threshold
        ("10:00", down()), ("10:01", up()),  # a blip
        ("12:05", degraded()), ("12:50", down()), ("13:50", up()),  # worse and worse, then up
        ("20:10", down()), ("20:50", up()),  # within the maintenance
    ],
    STATUS: [
        ("00:00", up(incidents=())),
        ("15:05", degraded(error="", incidents=(told("investigating"),))),
        ("16:20", up(incidents=(told("resolved", is_open=False),))),
    ],
    DOCS: [("00:00", says("calls have a start")), ("13:00", says("calls have a webhook"))],
    FEED: [("00:00", feeds("b", "a")), ("08:10", feeds("c", "b", "a"))],
}  # fmt: skip
NETWORK_DOWN = ("22:00", "22:40")


def page(url: str, clock: Callable[[], datetime]) -> Callable[[], Outcome]:
    def answer() -> Outcome:
        if clock_time(NETWORK_DOWN[0]) <= clock() < clock_time(NETWORK_DOWN[1]):
            return nobody()
        return next(outcome for since, outcome in reversed(DAY[url]) if clock_time(since) <= clock())

    return answer


class Beat:
    """The scheduler's own reading of its rows, by the test's clock."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.rows = list(PeriodicTask.objects.filter(task=schedules.SCHEDULE_TASK))
        self.schedules = {row.pk: row.schedule for row in self.rows}
        self.last_run = {row.pk: clock() for row in self.rows}
        for schedule in self.schedules.values():
            schedule.nowfun = clock

    def tick(self) -> None:
        for row in self.rows:
            if self.schedules[row.pk].is_due(self.last_run[row.pk]).is_due:
                self.last_run[row.pk] = self.clock()
                tasks.schedule(**json.loads(row.kwargs))


def make_channels() -> None:
    """A chat with quiet hours and reminders, a mail for what is bad, and somebody who is asked when nobody cares."""
    AlertChannel.objects.create(
        name="chat", kind="slack", quiet_from=time(22), quiet_until=time(7), remind_every_min=20
    )
    AlertChannel.objects.create(name="mail", kind="email", min_severity="high")
    AlertChannel.objects.create(name="boss", kind="webhook", min_severity="high", escalate_after_min=25)


def tell(now: datetime, heard: list[tuple[str, str, list[str]]]) -> None:
    alerts.follow_up(now)
    alerts.deliver_due(
        lambda: now,
        send=lambda channel, notice, at: heard.append(
            (f"{at:%H:%M}", channel.name, [item.heading for item in notice.items])
        ),
    )


def test_a_day_is_told_as_it_was(run, played, clock, monkeypatch, settings):
    settings.MONITORING_ENABLED, settings.MONITORING_INTERVAL_MINUTES = True, 30
    monkeypatch.setattr(schedules, "SPREAD_SEC", 1)
    monkeypatch.setattr(tasks.timezone, "now", clock)
    rules.ensure_rules()
    for kind, url in zip((Kind.HEALTH, Kind.STATUS, Kind.DOCS, Kind.FEED), DAY, strict=True):
        check(kind, url)
        played.pages[url] = page(url, clock)
    Silence.objects.create(
        starts_at=clock_time("20:00"), ends_at=clock_time("21:00"), is_maintenance=True, reason="planned"
    )
    make_channels()
    heard: list[tuple[str, str, list[str]]] = []
    beat = Beat(clock)
    for _ in range(24 * 60):
        beat.tick()
        if claims.due(clock()).exists():  # else a sweep does nothing
            run()
        if clock() == clock_time("12:45"):
            incidents.acknowledge(Incident.objects.get(resolved_at=None), clock(), "olga", "on it")
        tell(clock(), heard)
        clock.forward(1)
    found = [(f"{row.detected_at:%H:%M}", row.severity, row.title) for row in Change.objects.order_by("id")]
    assert found == [
        ("03:32", "critical", "Acme API is down"),
        ("04:01", "medium", "Acme API is up again"),
        ("08:30", "low", "Acme: Entry c"),
        ("12:32", "high", "Acme API is degraded"),
        ("13:02", "critical", "Acme API is down"),
        ("14:01", "medium", "Acme API is up again"),
        ("15:30", "high", "Acme reports: Calls fail"),
        ("15:32", "high", "Acme status page says: it is degraded"),
        ("16:30", "medium", "Acme reports as over: Calls fail"),
        ("16:31", "medium", "Acme status page says: it is up again"),
        ("18:00", "high", "Acme documentation changed"),
        ("22:00", "high", "The network of VoiceLens itself is down"),
        ("22:40", "medium", "The network of VoiceLens itself works again"),
    ]
    assert sorted(heard) == [
        # Critical, so the quiet hours let it through.
        ("03:32", "chat", ["Acme API is down"]),
        ("03:32", "mail", ["Acme API is down"]),
        ("03:52", "chat", ["Still: Acme API is down"]),
        ("03:57", "boss", ["Nobody acknowledged: Acme API is down"]),
        # Whoever was told of it is told of its end, the boss too; the chat after its quiet hours.
        ("04:01", "boss", ["Acme API is up again"]),
        ("04:01", "mail", ["Acme API is up again"]),
        ("07:00", "chat", ["Acme API is up again"]),
        ("12:32", "chat", ["Acme API is degraded"]),
        ("12:32", "mail", ["Acme API is degraded"]),
        # Acknowledged at 12:45: no reminder and no escalation, but news.
        ("13:02", "chat", ["Acme API is down"]),
        ("13:02", "mail", ["Acme API is down"]),
        ("14:01", "chat", ["Acme API is up again"]),
        ("14:01", "mail", ["Acme API is up again"]),
        ("15:30", "chat", ["Acme reports: Calls fail"]),
        ("15:30", "mail", ["Acme reports: Calls fail"]),
        ("15:32", "chat", ["Acme status page says: it is degraded"]),
        ("15:32", "mail", ["Acme status page says: it is degraded"]),
        ("15:52", "chat", ["Still: Acme status page says: it is degraded"]),
        ("15:57", "boss", ["Nobody acknowledged: Acme status page says: it is degraded"]),
        ("16:12", "chat", ["Still: Acme status page says: it is degraded"]),
        ("16:30", "chat", ["Acme reports as over: Calls fail"]),
        ("16:31", "boss", ["Acme status page says: it is up again"]),
        ("16:31", "chat", ["Acme status page says: it is up again"]),
        ("16:31", "mail", ["Acme status page says: it is up again"]),
        ("18:00", "chat", ["Acme documentation changed"]),
        ("18:00", "mail", ["Acme documentation changed"]),
        ("22:00", "chat", ["The network of VoiceLens itself is down"]),
        ("22:00", "mail", ["The network of VoiceLens itself is down"]),
        ("22:20", "chat", ["Still: The network of VoiceLens itself is down"]),
        ("22:25", "boss", ["Nobody acknowledged: The network of VoiceLens itself is down"]),
        ("22:40", "boss", ["The network of VoiceLens itself works again"]),
        ("22:40", "mail", ["The network of VoiceLens itself works again"]),
    ]
    held = Alert.objects.get(state=Alert.State.PENDING)
    assert (held.channel.name, held.change.title) == ("chat", "The network of VoiceLens itself works again")
    assert f"{held.due_at:%d %H:%M}" == "03 07:00"
    assert not Incident.objects.filter(resolved_at=None).exists()
    assert Incident.objects.count() == 4
    assert set(Monitor.objects.values_list("state", flat=True)) == {"up"}
    api = Monitor.objects.get(url=API)
    spans = [(row.state, f"{row.started_at:%H:%M}", f"{row.ended_at:%H:%M}") for row in api.spans.order_by("id")]
    assert spans == [
        ("up", "00:00", "03:32"), ("down", "03:32", "04:01"), ("up", "04:01", "12:32"),
        ("degraded", "12:32", "13:02"), ("down", "13:02", "14:01"), ("up", "14:01", "20:32"),
        ("down", "20:32", "21:01"), ("up", "21:01", "23:30"),
    ]  # fmt: skip
