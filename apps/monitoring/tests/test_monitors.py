"""Checks follow the provider's pages, edits are kept, and schedules belong to ops."""

import json
from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from apps.monitoring import monitors, schedules, tasks
from apps.monitoring.models import Kind, Monitor
from apps.monitoring.tests.play import at, check, provider
from apps.providers.models import Provider
from apps.providers.sync import sync_catalog

pytestmark = pytest.mark.django_db

STATUS = {"kind": "status", "url": "https://status.acme.test"}
STATUS_JSON = {"kind": "status_json", "url": "https://status.acme.test/summary.json"}
API = {"kind": "api", "url": "https://api.acme.test/v1"}
DOCS = {"kind": "docs", "url": "https://docs.acme.test/llms.txt"}


def known() -> set[tuple[str, str]]:
    return set(Monitor.objects.filter(enabled=True).values_list("kind", "url"))


def with_pages(*pages: dict[str, str]) -> Provider:
    row = provider()
    row.pages = list(pages)
    row.save()
    return row


# --- checks from pages ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pages", "checks"),
    [
        ([API], {("health", API["url"])}),
        ([STATUS_JSON], {("status", STATUS_JSON["url"])}),
        ([STATUS, STATUS_JSON], {("status", STATUS_JSON["url"])}),
        ([STATUS], {("health", STATUS["url"])}),
        ([DOCS, DOCS], {("docs", DOCS["url"])}),
        ([{"kind": kind, "url": f"https://x.test/{kind}"} for kind in ("openapi", "changelog", "feed")],
         {(kind, f"https://x.test/{kind}") for kind in ("openapi", "changelog", "feed")}),
        ([], set()),
    ],
)  # fmt: skip
def test_each_page_becomes_a_check_of_its_kind(pages, checks):
    with_pages(*pages)
    assert known() == checks
    assert set(Monitor.objects.values_list("origin", flat=True)) <= {"catalogue"}


def test_saving_a_provider_again_makes_nothing_new_and_asks_little(django_assert_max_num_queries):
    row = with_pages(API, DOCS)
    with django_assert_max_num_queries(3):
        assert monitors.ensure_monitors(row) == []


def test_the_catalogue_s_providers_are_watched_from_the_start():
    sync_catalog(("retell",))
    assert {kind for kind, _ in known()} >= {"status", "docs", "changelog", "feed"}
    assert PeriodicTask.objects.filter(name="Watch retell: status").exists()


def test_a_page_that_goes_switches_its_check_off_and_one_that_returns_on_again():
    row = with_pages(API, DOCS)
    with_pages(API)
    gone = Monitor.objects.get(kind=Kind.DOCS)
    assert (gone.enabled, gone.last_error) == (False, "switched off: its page is no longer among the provider's pages")
    assert monitors.ensure_monitors(row) == []
    with_pages(API, DOCS)
    gone.refresh_from_db()
    assert (gone.enabled, gone.last_error) == (True, "")


@pytest.mark.parametrize(
    "edit",
    [{"enabled": False}, {"url": "https://docs.acme.test/other"}, {"selector": "main"}, {"timeout_sec": 5}],
)
def test_an_edited_check_is_never_touched_again(edit):
    with_pages(DOCS)
    row = Monitor.objects.get()
    for name, value in edit.items():
        setattr(row, name, value)
    row.save()
    assert row.origin == Monitor.Origin.ADMIN
    for pages in ([], [DOCS]):
        with_pages(*pages)
        row = Monitor.objects.get()
        assert {name: getattr(row, name) for name in edit} == edit


def test_what_a_look_writes_is_no_edit():
    with_pages(DOCS)
    row = Monitor.objects.get()
    row.state = "down"
    row.save()
    assert row.origin == Monitor.Origin.CATALOGUE


def test_a_check_made_by_hand_stays_when_the_catalogue_names_its_page_too():
    check(Kind.DOCS, DOCS["url"])
    with_pages(DOCS)
    with_pages()
    assert Monitor.objects.get().enabled
    assert Monitor.objects.get().origin == Monitor.Origin.ADMIN


# --- schedules ------------------------------------------------------------------------------------------------


def test_each_provider_and_kind_has_one_schedule_with_the_settings_first_values(settings):
    settings.MONITORING_INTERVAL_MINUTES = 30
    settings.CRON_SCHEDULE = "15 2 * * 1-5"
    with_pages(API, STATUS_JSON, DOCS, {**DOCS, "url": "https://docs.acme.test/two"})
    rows = {row.name: row for row in PeriodicTask.objects.filter(task="monitoring.schedule")}
    assert sorted(rows) == ["Watch acme: docs", "Watch acme: health", "Watch acme: status"]
    health, docs = rows["Watch acme: health"], rows["Watch acme: docs"]
    assert json.loads(health.kwargs) == {"provider": "acme", "kind": "health"}
    assert (health.interval.every, health.interval.period) == (30, "minutes")
    crontab = docs.crontab
    assert (crontab.minute, crontab.hour, crontab.day_of_week, str(crontab.timezone)) == ("15", "2", "1-5", "UTC")


def test_an_operator_s_schedule_survives_restarts_and_upgrades(settings):
    with_pages(API)
    row = PeriodicTask.objects.get(task="monitoring.schedule")
    row.interval = IntervalSchedule.objects.create(every=5, period="minutes")
    row.name, row.enabled, row.kwargs = "Acme often", False, '{"kind":"health",  "provider":"acme"}'
    row.save()
    settings.MONITORING_INTERVAL_MINUTES = 90
    assert schedules.ensure_schedules() == []
    row.refresh_from_db()
    assert (row.interval.every, row.enabled, PeriodicTask.objects.filter(task="monitoring.schedule").count()) == (
        5, False, 1,
    )  # fmt: skip


def test_a_schedule_that_was_deleted_returns_at_the_next_start():
    with_pages(API)
    PeriodicTask.objects.filter(task="monitoring.schedule").delete()
    assert schedules.ensure_schedules() == ["Watch acme: health"]


def test_a_check_of_a_new_kind_made_by_hand_has_a_schedule_at_once():
    check(Kind.FEED)
    assert PeriodicTask.objects.filter(name="Watch acme: feed").exists()


@pytest.mark.parametrize("text", ["", "hourly", "* * *", "61 * * * *", "0 */6 * * * *", "a b c d e"])
def test_a_cron_schedule_that_is_none_is_named(settings, text):
    settings.CRON_SCHEDULE = text
    with pytest.raises(ImproperlyConfigured, match="CRON_SCHEDULE is"):
        with_pages(DOCS)


def test_an_interval_that_is_none_is_named(settings):
    settings.MONITORING_INTERVAL_MINUTES = 0
    with pytest.raises(ImproperlyConfigured, match="MONITORING_INTERVAL_MINUTES is 0"):
        with_pages(API)


def test_the_schedule_makes_its_checks_due_each_at_its_own_second():
    with_pages(API, {**API, "url": "https://api.acme.test/v2"}, DOCS)
    own, off = check(url="https://own.test/"), check(url="https://off.test/", enabled=False)
    interval = IntervalSchedule.objects.create(every=1, period="days")
    row = PeriodicTask.objects.create(
        name="own", task="monitoring.schedule", interval=interval, kwargs=json.dumps({"monitor": own.pk})
    )
    Monitor.objects.filter(pk=own.pk).update(schedule=row)
    assert schedules.mark_due(at(0), provider="acme", kind="health") == 2
    due = Monitor.objects.exclude(due_at=None)
    assert {row.url for row in due} == {"https://api.acme.test/v1", "https://api.acme.test/v2"}
    assert len({row.due_at for row in due}) == 2
    assert all(at(0) <= row.due_at < at(1) for row in due)
    assert schedules.mark_due(at(0), monitor=own.pk) == 1
    assert schedules.mark_due(at(0), monitor=off.pk) == 0


def test_a_check_may_follow_the_schedule_of_another_kind():
    with_pages(API, DOCS)
    docs = Monitor.objects.get(kind=Kind.DOCS)
    docs.schedule = PeriodicTask.objects.get(name="Watch acme: health")
    docs.save()
    assert schedules.mark_due(at(0), provider="acme", kind="docs") == 0
    assert schedules.mark_due(at(0), provider="acme", kind="health") == 2


@pytest.mark.parametrize(
    ("schedule", "since", "pause"),
    [
        ({"every": 30, "period": "minutes"}, at(0), timedelta(minutes=30)),
        ({"every": 1, "period": "minutes"}, at(0), timedelta(minutes=10)),
        ({"hour": "*/6", "minute": "0"}, at(7), timedelta(hours=5, minutes=53)),
        ({"hour": "2", "minute": "0"}, at(180), timedelta(hours=23)),
        ({"hour": "*/6", "minute": "0"}, at(359), timedelta(minutes=10)),
    ],
)
def test_the_usual_pause_is_the_schedule_s(schedule, since, pause):
    monitor = check()
    row = PeriodicTask.objects.get(name="Watch acme: health")
    row.interval, row.crontab = None, None
    if "every" in schedule:
        row.interval = IntervalSchedule.objects.create(**schedule)
    else:
        row.crontab = CrontabSchedule.objects.create(timezone="UTC", **schedule)
    row.save()
    assert schedules.usual_pause(monitor, since) == pause


def test_a_check_s_own_schedule_counts_before_that_of_its_kind():
    monitor = check()
    interval = IntervalSchedule.objects.create(every=2, period="hours")
    monitor.schedule = PeriodicTask.objects.create(name="own", task="monitoring.schedule", interval=interval)
    assert schedules.usual_pause(monitor, at(0)) == timedelta(hours=2)


# --- switched off -----------------------------------------------------------------------------------------------


def test_switched_off_the_tasks_do_nothing(settings):
    settings.MONITORING_ENABLED = False
    with_pages(API)
    assert (tasks.schedule(provider="acme", kind="health"), tasks.work(), tasks.tell()) == (0, 0, 0)
    assert Monitor.objects.get().due_at is None


def test_switched_on_the_schedule_makes_due(settings):
    settings.MONITORING_ENABLED = True
    with_pages(API)
    assert tasks.schedule(provider="acme", kind="health") == 1


def test_a_second_sweep_of_the_same_process_leaves_the_work_to_the_first(settings):
    settings.MONITORING_ENABLED = True
    check()
    with tasks._working:
        assert tasks.work() == 0
