"""What is old goes, but for what a later look needs, what is open, and what somebody must still read."""

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command

from apps.monitoring import retention
from apps.monitoring.models import Change, Incident, Kind, Observation, SeenEntry, Snapshot, Span
from apps.monitoring.outcome import Content
from apps.monitoring.pages import take_snapshot
from apps.monitoring.tests.play import at, check, feeds, look, says, up

pytestmark = pytest.mark.django_db
DAY = 24 * 60
NOW = at(100 * DAY)


def change(key: str, day: int, **more) -> Change:
    told = {"source": "docs", "change_type": "documentation", "title": key, "detected_at": at(day * DAY)}
    return Change.objects.create(key=key, **told, **more)


def incident(key: str, resolved_day: int | None) -> Incident:
    resolved_at = None if resolved_day is None else at(resolved_day * DAY)
    return Incident.objects.create(source_key=key, title=key, severity="low", opened_at=at(0), resolved_at=resolved_at)


def test_observations_and_spans_of_the_days_before_go_in_batches(monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 3)
    monitor = check()
    for day in range(0, 100, 10):
        look(monitor, up(), at(day * DAY))
    assert retention.prune(NOW, 35) == {
        "observations": 7, "spans": 7, "snapshots": 0, "entries": 0, "changes": 0, "incidents": 0,
    }  # fmt: skip
    assert Observation.objects.count() == Span.objects.count() == 3


def test_the_newest_snapshot_of_each_check_stays_however_old():
    one, other = check(Kind.DOCS), check(Kind.CHANGELOG)
    for day, monitor in [(0, one), (1, one), (2, other), (80, other)]:
        take_snapshot(monitor, Content(f"text {day}"), at(day * DAY))
    retention.prune(NOW, 30)
    assert set(Snapshot.objects.values_list("text", flat=True)) == {"text 1", "text 80"}
    assert look(one, says("text 1"), NOW) == []


def test_a_feed_s_newest_entries_stay_so_nothing_is_new_again(monkeypatch):
    monkeypatch.setattr(retention, "ENTRIES_KEPT", 2)
    monitor = check(Kind.FEED)
    look(monitor, feeds("c", "b", "a"), at(0))
    retention.prune(NOW, 30)
    assert SeenEntry.objects.count() == 2


def test_changes_and_incidents_go_but_for_those_that_are_open_or_unread():
    old, still_open = incident("old", 10), incident("open", None)
    for key, more in {
        "plain": {},
        "of an old incident": {"incident": old},
        "of an open incident": {"incident": still_open},
        "unread": {"needs_review": True},
        "read": {"needs_review": True, "reviewed_at": at(0)},
    }.items():
        change(key, 5, **more)
    change("new", 95)
    retention.prune(NOW, 30)
    assert set(Change.objects.values_list("key", flat=True)) == {"of an open incident", "unread", "new"}
    assert set(Incident.objects.values_list("source_key", flat=True)) == {"open"}


def test_the_command_prunes_by_the_setting_or_by_the_days_given(capsys):
    monitor = check()
    Observation.objects.create(monitor=monitor, at=at(0) - timedelta(days=3650), standing="up")
    call_command("prune_monitoring", days=36500)
    assert Observation.objects.count() == 1
    call_command("prune_monitoring")
    assert "1 observations" in capsys.readouterr().out
    assert not Observation.objects.exists()


def test_the_command_refuses_days_that_are_none():
    with pytest.raises(CommandError, match="--days is 0; a number from 1 is needed"):
        call_command("prune_monitoring", days=0)


@pytest.mark.django_db(transaction=True)
def test_the_command_gives_the_space_back():
    call_command("prune_monitoring", vacuum=True)
