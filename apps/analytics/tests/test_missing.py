"""Calls that lack their end or their analysis, and a volume far below the usual: told once, and over when they come."""

import uuid
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection
from django.test import Client
from django.utils import timezone

from apps.analytics import measures, rollups, traffic
from apps.analytics.models import TrafficCondition
from apps.analytics.usual import Verdict, judge_low
from apps.ingest.models import CallKey, Message, Tally
from apps.monitoring.models import Change, Incident, Monitor
from apps.providers import registry
from apps.providers.models import Endpoint, Provider
from apps.providers.sync import sync_catalog

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 25, 14, 30, tzinfo=UTC)
MIN, HOUR, DAY, WEEK = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)
Metric = TrafficCondition.Metric


@pytest.fixture(autouse=True)
def _conditions(catalogue):
    traffic.ensure_conditions()
    Monitor.objects.all().delete()
    yield
    rollups.rebuild()  # the calls were written by hand


def call(start, stage, *, end=None, name=None, account="default", environment="live", provider="retell"):
    name = name or str(uuid.uuid4())
    who = {"provider": provider, "account": account, "environment": environment, "call_id": name}
    return Message.objects.create(
        call_key=CallKey.objects.create(**who), vcp={}, content_digest="", stage=stage, status="success",
        start_time=start, end_time=end or (None if stage == "in_progress" else start), **who,
    )  # fmt: skip


def usual(stage, *, account="default", days=range(2, 6), each=5):
    for day in days:
        for number in range(each):
            call(NOW - day * DAY - number * MIN, stage, account=account)


def reading(metric, now=NOW, slug="retell"):
    provider = Provider.objects.get(slug=slug)
    [row] = [row for row in traffic.conditions_of(provider) if row.metric == metric]
    return measures.read(provider, row, now)


def told(metric, **values):
    """The number of calls that are told."""
    return reading(metric, **values).data["count"]


def condition(metric, **values):
    TrafficCondition.objects.filter(metric=metric, provider=None).update(**values)


# --- an end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("waited", "missing"),
    [(119 * MIN, 0), (120 * MIN, 1), (20 * HOUR, 1), (DAY + 119 * MIN, 1), (DAY + 120 * MIN, 0), (-5 * MIN, 0)],
)
def test_an_end_is_waited_for_two_hours_and_given_up_after_another_day(waited, missing):
    call(NOW - waited, "in_progress")
    assert told(Metric.NO_END) == missing


def test_one_change_tells_of_all_of_them_and_another_when_they_have_come():
    rows = [call(NOW - 3 * HOUR + number * MIN, "in_progress", name=f"call {number}") for number in range(7)]
    [change] = traffic.watch(NOW)
    assert (change.provider, change.change_type, change.severity) == ("retell", "service_status", "medium")
    assert change.title == "Retell AI: calls began whose end was never told"
    assert change.description == (
        "7 calls since 2026-03-24 12:30 UTC waited more than 120 minutes for an end: "
        "call 0, call 1, call 2, call 3, call 4 …. No status page of theirs is watched."
    )
    assert change.change_data["first"][0] == {"call_id": "call 0", "message": str(rows[0].pk)}
    assert change.url.endswith("/admin/ingest/message/?provider=retell&environment__exact=live&missing=in_progress")
    call(NOW - 3 * HOUR, "in_progress")
    assert traffic.watch(NOW + 5 * MIN) == []
    Message.objects.exclude(pk=rows[0].pk).update(stage="ended")
    assert traffic.watch(NOW + 10 * MIN) == []
    Message.objects.update(stage="ended")
    [over] = traffic.watch(NOW + 15 * MIN)
    assert over.title == "Retell AI: no call misses its end any more"
    assert over.description == "No call since 2026-03-24 12:45 UTC waited more than 120 minutes for an end."
    assert Incident.objects.get().resolved_at == NOW + 15 * MIN


def test_what_never_comes_is_not_held_up_for_ever():
    call(NOW - 3 * HOUR, "in_progress")
    assert len(traffic.watch(NOW)) == 1
    assert traffic.watch(NOW + 20 * HOUR) == []
    assert len(traffic.watch(NOW + DAY)) == 1
    assert not Incident.objects.filter(resolved_at=None).exists()


def test_only_live_calls_are_missed():
    for environment in ("test", "demo"):
        call(NOW - 3 * HOUR, "in_progress", environment=environment)
    assert told(Metric.NO_END) == 0


def test_an_account_whose_ends_never_come_is_no_alarm():
    usual("in_progress", account="mute")
    usual("analysed", account="other")
    call(NOW - 3 * HOUR, "in_progress", account="mute")
    assert told(Metric.NO_END) == 0
    call(NOW - 3 * HOUR, "in_progress", account="other")
    call(NOW - 3 * HOUR, "in_progress", account="new")
    assert told(Metric.NO_END) == 2


def test_ends_that_stop_altogether_are_missed_for_days(django_assert_max_num_queries):
    usual("analysed", each=20)
    for hours in range(3, 26):
        for _ in range(5):
            call(NOW - hours * HOUR, "in_progress")
    told(Metric.NO_END)  # the registry is read
    with django_assert_max_num_queries(14):
        assert told(Metric.NO_END) == 115


# --- analysis ---------------------------------------------------------------------------------------------------------


def test_analysis_is_missed_where_it_usually_comes():
    usual("analysed")
    usual("ended", account="without")
    for account in ("default", "without", "new"):
        call(NOW - 3 * HOUR, "ended", account=account, name=account)
    found = reading(Metric.NO_ANALYSIS)
    assert (found.verdict, [one["call_id"] for one in found.data["first"]]) == (Verdict.RAISED, ["default"])
    assert found.text == "1 call since 2026-03-24 13:30 UTC waited more than 60 minutes for their analysis: default."


@pytest.mark.parametrize(("analysed", "ended", "missing"), [(10, 10, 1), (9, 11, 0), (3, 0, 0), (5, 0, 1)])
def test_usually_is_half_of_at_least_five(analysed, ended, missing):
    usual("analysed", days=[3], each=analysed)
    usual("ended", days=[4], each=ended)
    call(NOW - 3 * HOUR, "ended")
    assert told(Metric.NO_ANALYSIS) == missing


def test_on_the_first_day_the_day_itself_shows_what_is_usual():
    for number in range(5):
        call(NOW - 2 * HOUR - number * MIN, "analysed")
    call(NOW - 2 * HOUR, "ended")
    assert told(Metric.NO_ANALYSIS) == 1


@pytest.mark.parametrize(("ended_before", "missing"), [(59 * MIN, 0), (60 * MIN, 1)])
def test_analysis_is_waited_for_from_the_end_of_the_call(ended_before, missing):
    usual("analysed")
    call(NOW - 5 * HOUR, "ended", end=NOW - ended_before)
    assert told(Metric.NO_ANALYSIS) == missing


def test_calls_without_an_end_are_not_missed_twice():
    usual("analysed")
    usual("in_progress", each=30)
    call(NOW - 5 * HOUR, "in_progress")
    call(NOW - 5 * HOUR, "ended")
    assert told(Metric.NO_ANALYSIS) == 1


def test_what_the_event_table_does_not_know_is_not_missed():
    sync_catalog(("openai_realtime",))
    registry.forget()
    for slug in ("openai_realtime", "vcp"):
        for number in range(20):
            call(NOW - 3 * DAY - number * MIN, "analysed", provider=slug)
        call(NOW - 5 * HOUR, "ended", provider=slug)
        found = reading(Metric.NO_ANALYSIS, slug=slug)
        assert (found.verdict, found.text) == (
            Verdict.CALM,
            "The event table knows nothing that tells of their analysis.",
        )


# --- how long is waited, and for how many -----------------------------------------------------------------------------


def test_each_provider_is_waited_for_as_long_as_its_own_row_says():
    call(NOW - 3 * HOUR, "in_progress")
    own = TrafficCondition.objects.create(
        metric=Metric.NO_END, provider=Provider.objects.get(slug="retell"), window_min=240, min_sample=1
    )
    assert traffic.watch(NOW) == []
    own.window_min = 30
    own.save()
    assert len(traffic.watch(NOW)) == 1
    own.enabled = False
    own.save()
    traffic.watch(NOW)
    assert not Incident.objects.filter(resolved_at=None).exists()


def test_fewer_than_the_least_sample_are_not_told_but_keep_it_open():
    condition(Metric.NO_END, min_sample=3)
    rows = [call(NOW - 3 * HOUR, "in_progress") for _ in range(2)]
    assert traffic.watch(NOW) == []
    call(NOW - 3 * HOUR, "in_progress")
    assert len(traffic.watch(NOW)) == 1
    Message.objects.filter(pk=rows[0].pk).update(stage="ended")
    assert traffic.watch(NOW + MIN) == []
    Message.objects.update(stage="ended")
    assert len(traffic.watch(NOW + 2 * MIN)) == 1


def test_an_installation_with_conditions_gets_the_new_ones():
    TrafficCondition.objects.exclude(metric=Metric.LAG).delete()
    migration = import_module("apps.analytics.migrations.0004_missing_events")
    migration.add_conditions(apps, None)
    assert set(TrafficCondition.objects.values_list("metric", "window_min", "min_sample", "factor")) == {
        ("lag", 60, 20, 4),
        ("volume", 60, 50, 4),
        ("no_end", 120, 1, 2),
        ("no_analysis", 60, 1, 2),
    }
    TrafficCondition.objects.all().delete()
    migration.add_conditions(apps, None)
    assert not TrafficCondition.objects.exists()
    made = {metric: values for metric, values in traffic.DEFAULTS if metric in dict(migration.NEW)}
    assert made == dict(migration.NEW)


@pytest.mark.parametrize(("stage", "index"), [("in_progress", "message_not_ended"), ("ended", "message_not_analysed")])
def test_the_few_that_are_unfinished_have_an_index(stage, index):
    usual("analysed", days=range(1, 30), each=70)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE vcp_messages")
    rows = Message.objects.filter(provider="retell", stage=stage, start_time__gt=NOW - DAY, start_time__lte=NOW)
    assert index in rows.explain()


# --- volume -----------------------------------------------------------------------------------------------------------


def came(at, count, endpoint="default"):
    place = Endpoint.objects.get(provider__slug="retell", slug=endpoint)
    Tally.objects.create(hour=at.replace(minute=0), endpoint=place, shard=0, accepted=count, repeated=1000)


def weeks(*counts):
    for number, count in enumerate(counts, start=1):
        came(NOW - HOUR - number * WEEK, count)


def test_far_fewer_deliveries_than_usual_are_told_and_over_when_they_come_again():
    weeks(400, 500, 380, 420)
    came(NOW - HOUR, 30)
    [change] = traffic.watch(NOW)
    assert (change.title, change.severity) == ("Retell AI: far fewer deliveries come than usual", "medium")
    assert change.description == (
        "30 deliveries came from 13:00 to 14:00 UTC; in the same hours of the last 4 weeks at least 410 did "
        "(the median). No status page of theirs is watched."
    )
    assert traffic.watch(NOW + MIN) == []
    for number in range(1, 5):
        came(NOW - number * WEEK, 400)
    came(NOW, 150)
    assert traffic.watch(NOW + HOUR) == []
    Tally.objects.filter(accepted=150).update(accepted=390)
    [over] = traffic.watch(NOW + HOUR)
    assert over.title == "Retell AI: deliveries come as many as usual"


@pytest.mark.parametrize(
    ("what", "before", "now", "verdict"),
    [
        ("a quarter", (400, 400, 400), 100, Verdict.RAISED),
        ("more than a quarter", (400, 400, 400), 101, Verdict.BETWEEN),
        ("half", (400, 400, 400), 201, Verdict.CALM),
        ("one busy week", (400, 40, 40, 40), 40, Verdict.UNSURE),
        ("few may be chance", (50, 50, 50), 12, Verdict.RAISED),
        ("too few to tell", (49, 49, 49), 0, Verdict.UNSURE),
        ("two weeks only", (400, 400), 1, Verdict.UNSURE),
        ("nothing at all is a silence", (400, 400, 400), 0, Verdict.BETWEEN),
    ],
)
def test_what_is_far_below(what, before, now, verdict):
    weeks(*before)
    came(NOW - HOUR, now)
    assert reading(Metric.VOLUME).verdict is verdict


def test_only_live_endpoints_count():
    weeks(400, 400, 400)
    came(NOW - HOUR, 400, "demo")
    came(NOW - HOUR, 20)
    assert reading(Metric.VOLUME).verdict is Verdict.RAISED


@pytest.mark.parametrize(
    ("count", "usual_count", "factor", "verdict"),
    [
        (20, 80, 4, Verdict.RAISED),
        (4, 25, 4, Verdict.RAISED),
        (5, 25, 4, Verdict.BETWEEN),
        (12, 20, 1.5, Verdict.CALM),
        (9, 20, 2, Verdict.BETWEEN),
        (0, 9, 4, Verdict.UNSURE),
    ],
)
def test_chance_alone_raises_nothing(count, usual_count, factor, verdict):
    assert judge_low(count, usual_count, min_sample=10, factor=factor) is verdict


# --- the list of messages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missing", "shown"), [("in_progress", {"never ended"}), ("ended", {"never analysed"}), ("nonsense", None)]
)
def test_the_admin_lists_them(admin_client: Client, missing, shown):
    now = timezone.now()
    call(now - 3 * HOUR, "in_progress", name="never ended")
    call(now - HOUR, "in_progress", name="still talking")
    call(now - 2 * HOUR, "ended", name="never analysed")
    call(now - 30 * MIN, "ended", name="just over")
    call(now - 3 * HOUR, "analysed", name="complete")
    answer = admin_client.get(f"/admin/ingest/message/?missing={missing}")
    found = {row.call_id for row in answer.context["cl"].result_list}
    assert found == (shown or {"never ended", "still talking", "never analysed", "just over", "complete"})


def test_nothing_is_missed_where_nothing_came():
    assert traffic.watch(NOW) == []
    assert not Change.objects.exists()
