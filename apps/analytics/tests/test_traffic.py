"""What our own traffic tells of a provider: raised, told beside the provider's own word, and over again."""

import uuid
from datetime import UTC, datetime, timedelta
from math import ceil

import pytest

from apps.analytics import measures, rollups, tasks, traffic
from apps.analytics.models import TrafficCondition
from apps.analytics.usual import Verdict
from apps.ingest.models import CallKey, InboundEvent, Message, Refusal
from apps.monitoring.models import Change, Incident, Monitor
from apps.providers.models import Endpoint, Provider, Secret

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 25, 14, 0, tzinfo=UTC)  # a Wednesday
MIN, HOUR, DAY, WEEK = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)
Metric = TrafficCondition.Metric


@pytest.fixture(autouse=True)
def _conditions(catalogue):
    traffic.ensure_conditions()
    Monitor.objects.all().delete()  # what a provider's own page says is a test's own matter
    Secret.objects.update(created_at=NOW - 300 * DAY)


def retell():
    return Provider.objects.get(slug="retell")


def endpoint():
    return Endpoint.objects.get(provider__slug="retell", slug="default")


def made(at, status="success", *, environment="live", stage="ended"):
    """The message of a call, not yet stored."""
    who = {"provider": "retell", "account": "default", "environment": environment, "call_id": str(uuid.uuid4())}
    return Message(
        call_key=CallKey(**who), vcp={}, content_digest="", stage=stage, status=status,
        start_time=at - MIN, end_time=at, **who,
    )  # fmt: skip


def store(messages):
    CallKey.objects.bulk_create(message.call_key for message in messages)
    Message.objects.bulk_create(messages)


def call(at, status="success", **told):
    store([made(at, status, **told)])


def calls(at, **counts):
    store([made(at, status) for status, count in counts.items() for _ in range(count)])
    rollups.rebuild()


def deliver(*times, call_id="", state="processed", lag_sec=None, place=None, **columns):
    """A delivery at each of these times."""
    place = place or endpoint()
    InboundEvent.objects.bulk_create(
        InboundEvent(
            delivery_id=uuid.uuid4(), delivery_key=str(uuid.uuid4()), endpoint=place, provider="retell",
            account="default", environment="live", received_at=at, trace_id="0" * 32, body=b"", body_size=0,
            body_sha256="", next_attempt_at=at, state=state, call_id=call_id or str(uuid.uuid4()),
            occurred_at="" if lag_sec is None else (at - timedelta(seconds=lag_sec)).isoformat(), **columns,
        )
        for at in times
    )  # fmt: skip


def condition(metric):
    return TrafficCondition.objects.get(metric=metric, provider=None)


def reading(metric, now=NOW):
    return measures.read(retell(), condition(metric), now)


def titles():
    return list(Change.objects.order_by("id").values_list("title", flat=True))


def open_incidents():
    return list(Incident.objects.filter(resolved_at=None).values_list("source_key", flat=True))


# --- failed calls -------------------------------------------------------------------------------------------------


def test_a_tripled_error_rate_is_told_beside_the_word_of_the_provider():
    calls(NOW - 3 * DAY, success=180, failure=15, error=5)
    calls(NOW - 10 * MIN, success=12, failure=15, error=3, timeout=2, unknown=1)
    Monitor.objects.create(
        provider=retell(), kind="status", url="https://status.example.org/api", state="up", last_checked_at=NOW - MIN
    )
    [change] = traffic.watch(NOW)
    assert (change.provider, change.source, change.change_type) == ("retell", "traffic", "service_status")
    assert (change.title, change.severity) == ("Retell AI: calls fail far more often than usual", "high")
    assert change.description == (
        "18 of 30 calls of the last 60 minutes failed: 60.0 %, usually 10.0 % (14 days): 6.0 times as often. "
        "Counted apart: 2 timeout, 1 unknown. Their status page says: operational (2026-03-25 13:59 UTC)."
    )
    assert change.change_data["share"] == 0.6
    assert (change.incident.source_key, change.incident.severity) == ("traffic:retell:failure_rate", "high")


def test_an_incident_is_opened_once_and_ends_when_calls_are_as_usual():
    calls(NOW - 3 * DAY, success=190, failure=10)
    calls(NOW - 10 * MIN, failure=25)
    assert len(traffic.watch(NOW)) == 1
    assert traffic.watch(NOW + 5 * MIN) == []
    assert open_incidents() == ["traffic:retell:failure_rate"]
    calls(NOW + 2 * HOUR, success=30, failure=1)
    [over] = traffic.watch(NOW + 2 * HOUR + MIN)
    assert over.title == "Retell AI: calls fail no more than usual"
    assert over.description.startswith("1 of 31 calls of the last 60 minutes failed: 3.2 %, usually 5.0 % (14 days)")
    assert open_incidents() == []
    calls(NOW + 4 * HOUR, failure=25)
    assert [change.incident.is_open for change in traffic.watch(NOW + 4 * HOUR + MIN)] == [True]
    assert Incident.objects.count() == 2


@pytest.mark.parametrize(
    ("what", "usual", "now"),
    [
        ("a tiny sample", {"success": 200}, {"failure": 19}),
        ("a new provider", {}, {"failure": 50}),
        ("failing as much as ever", {"success": 100, "failure": 100}, {"success": 15, "failure": 15}),
        ("timeouts are no failures", {"success": 200}, {"timeout": 30, "success": 20}),
        ("outcomes that nobody told", {"success": 200}, {"unknown": 50}),
        ("nothing happens", {"success": 200}, {}),
    ],
)
def test_no_failure_rate_is_raised(what, usual, now):
    calls(NOW - 2 * DAY, **usual)
    calls(NOW - 10 * MIN, **now)
    assert reading(Metric.FAILURE_RATE).verdict is not Verdict.RAISED


def test_calls_of_other_environments_and_unfinished_ones_do_not_count():
    calls(NOW - 2 * DAY, success=100)
    for _ in range(30):
        call(NOW - MIN, "error", environment="test")
        call(NOW - MIN, "error", environment="demo")
        call(NOW - MIN, "error", stage="in_progress")
    rollups.rebuild()
    assert reading(Metric.FAILURE_RATE).data["total"] == 0


def test_a_slow_rise_is_raised_once_it_is_twice_the_usual():
    for days in range(14, 0, -1):
        calls(NOW - days * DAY, success=80 + 2 * (days - 1), failure=20 - days)
    calls(NOW - 10 * MIN, success=79, failure=21)
    assert reading(Metric.FAILURE_RATE).verdict is Verdict.BETWEEN
    calls(NOW - 5 * MIN, success=60, failure=40)
    assert reading(Metric.FAILURE_RATE).verdict is Verdict.RAISED


def test_too_few_calls_keep_an_incident_open_for_a_day_and_no_longer():
    calls(NOW - 3 * DAY, success=200)
    calls(NOW - 10 * MIN, failure=25)
    traffic.watch(NOW)
    assert traffic.watch(NOW + 8 * HOUR) == []
    [over] = traffic.watch(NOW + DAY)
    assert over.description == (
        "0 of 0 calls of the last 1440 minutes failed: 0.0 %, usually 11.1 % (14 days). "
        "That is too little to tell, so this is not held up any longer."
    )
    assert open_incidents() == []


# --- refusals -----------------------------------------------------------------------------------------------------


def refused(at, count, reason="signature_mismatch"):
    hour = at.replace(minute=0)
    Refusal.objects.create(endpoint=endpoint(), hour=hour, reason=reason, count=count, last_at=at)


def test_a_changed_secret_shows_in_refusals_against_what_is_accepted():
    for hours in range(200):
        deliver(NOW - HOUR - hours * HOUR - MIN)
    refused(NOW - 10 * MIN, 25)
    refused(NOW - 10 * MIN, 2, "header_missing")
    for _ in range(3):
        deliver(NOW - 5 * MIN)
    [change] = traffic.watch(NOW)
    assert (change.title, change.change_type) == ("Retell AI: deliveries are refused", "webhook_format")
    assert change.description == (
        "27 of 30 deliveries since 13:00 UTC were refused: 90.0 %, usually 0.0 % (14 days). 25 of them: "
        "signature_mismatch. Most likely their secret or their way of signing changed. "
        "No status page of theirs is watched."
    )
    secret = Secret.objects.get(auth_config__endpoint=endpoint())
    secret.created_at = NOW + MIN
    Secret.objects.filter(pk=secret.pk).update(created_at=secret.created_at)
    [over] = traffic.watch(NOW + 5 * MIN)
    assert over.title == "Retell AI: deliveries are accepted again"


@pytest.mark.parametrize(
    ("what", "count", "accepted"), [("too few", 9, 0), ("next to what is accepted", 12, 200), ("none", 0, 5)]
)
def test_some_refusals_raise_nothing(what, count, accepted):
    for number in range(accepted):
        deliver(NOW - 10 * MIN)
        deliver(NOW - DAY - number * MIN)
    if count:
        refused(NOW - 10 * MIN, count)
    assert reading(Metric.REFUSED).verdict is not Verdict.RAISED


# --- silence ------------------------------------------------------------------------------------------------------


def busy(hours, since, until, each=3):
    """So many calls at each of these hours of the working days."""
    days = [since + DAY * number for number in range(ceil((until - since) / DAY))]
    times = [day.replace(hour=hour, minute=30) for day in days if day.weekday() < 5 for hour in hours]
    deliver(*[at for at in times if since <= at < until for _ in range(each)])


MIDNIGHT = NOW.replace(hour=0)
OFFICE = range(8, 18)


@pytest.mark.parametrize(
    ("what", "last", "now", "verdict"),
    [
        ("just after a call", NOW, NOW - 29 * MIN, Verdict.CALM),
        ("an hour, three calls missing", NOW, NOW + 31 * MIN, Verdict.BETWEEN),
        ("two hours, six calls missing", NOW, NOW + 91 * MIN, Verdict.RAISED),
        ("the whole night", MIDNIGHT, MIDNIGHT + 8 * HOUR, Verdict.BETWEEN),
        ("Monday noon after a quiet week-end", MIDNIGHT + 3 * DAY, MIDNIGHT + 5 * DAY + 12 * HOUR, Verdict.RAISED),
        ("the quiet week-end", MIDNIGHT + 3 * DAY, MIDNIGHT + 5 * DAY + 6 * HOUR, Verdict.BETWEEN),
        ("for two weeks", NOW, NOW + 2 * WEEK, Verdict.RAISED),
        ("for so long that it is usual", NOW, NOW + 5 * WEEK, Verdict.BETWEEN),
    ],
)
def test_silence_is_measured_by_the_same_hours_of_other_weeks(what, last, now, verdict):
    busy(OFFICE, MIDNIGHT - 5 * WEEK, last)
    assert reading(Metric.SILENCE, now).verdict is verdict


def test_a_provider_of_two_weeks_and_one_without_deliveries_are_not_missed():
    assert reading(Metric.SILENCE).verdict is Verdict.CALM
    busy(OFFICE, MIDNIGHT - 2 * WEEK, MIDNIGHT)
    assert reading(Metric.SILENCE).verdict is Verdict.BETWEEN


def test_many_deliveries_of_one_call_are_one_call():
    for week in range(5):
        for minute in range(20):
            deliver(
                NOW - week * WEEK - 3 * HOUR - (DAY if not week else timedelta()) + minute * MIN, call_id=f"c{week}"
            )
    assert reading(Metric.SILENCE).data["usual_calls"] == 1


def test_a_silence_is_over_with_the_first_delivery_and_not_before():
    busy(OFFICE, MIDNIGHT - 5 * WEEK, NOW)
    [change] = traffic.watch(NOW + 91 * MIN)
    assert (change.title, change.provider) == ("Retell AI: nothing is delivered any more", "retell")
    assert change.description == (
        "The last delivery came at 2026-03-25 13:30 UTC. In the same hours of the last 4 weeks at least 6 calls "
        "were told of (the median). No status page of theirs is watched."
    )
    for later in (8 * HOUR, 2 * DAY, 4 * WEEK):
        assert traffic.watch(NOW + later) == []
    assert open_incidents() == ["traffic:retell:silence"]
    deliver(NOW + 4 * WEEK + HOUR)
    [over] = traffic.watch(NOW + 4 * WEEK + HOUR + MIN)
    assert over.title == "Retell AI: deliveries come again"


# --- late deliveries ----------------------------------------------------------------------------------------------


def late(now, *lags):
    for lag in lags:
        deliver(now - 10 * MIN, lag_sec=lag)


@pytest.mark.parametrize(
    ("what", "lags", "verdict"),
    [
        ("as usual", [2] * 30, Verdict.CALM),
        ("all minutes late", [300] * 30, Verdict.RAISED),
        ("half a minute is no matter", [31] * 30, Verdict.CALM),
        ("too few", [300] * 19, Verdict.UNSURE),
        ("a tenth of them", [300] * 3 + [2] * 27, Verdict.BETWEEN),
        ("their clock runs ahead", [-50] * 30, Verdict.CALM),
        ("without times", [None] * 30, Verdict.UNSURE),
    ],
)
def test_deliveries_are_late_against_other_days(what, lags, verdict):
    for day in range(1, 8):
        late(NOW - day * DAY, *[2] * 20)
    late(NOW, *lags)
    assert reading(Metric.LAG).verdict is verdict


def test_a_lag_is_told_with_its_quantiles():
    for day in range(1, 8):
        late(NOW - day * DAY, *[2] * 20)
    late(NOW, *[600] * 29, 2)
    assert reading(Metric.LAG).text == (
        "29 of 30 deliveries of the last 60 minutes came more than 32 s after their event: 96.7 %, usually 0.0 % "
        "(7 days). Half came within 600 s (usually 2 s), 95 % within 600 s (usually 2 s)."
    )


def test_without_other_days_no_delivery_is_late():
    late(NOW, *[600] * 40)
    assert reading(Metric.LAG).verdict is Verdict.UNSURE


# --- deliveries that cannot be mapped -------------------------------------------------------------------------------


def test_a_changed_format_shows_in_deliveries_that_cannot_be_mapped():
    for number in range(200):
        deliver(NOW - (1 + number % 7) * DAY - 10 * MIN)
    for _ in range(15):
        deliver(NOW - 10 * MIN, state="failed", event="call_ended", error_code="VCP_E004", error_path="$.call.cost")
        deliver(NOW - 10 * MIN)
        deliver(NOW - 10 * MIN, state="received")
    [change] = traffic.watch(NOW)
    assert (change.title, change.change_type) == ("Retell AI: deliveries cannot be mapped", "webhook_format")
    assert change.description == (
        "15 of 30 deliveries of the last 60 minutes could not be mapped: 50.0 %, usually 0.0 % (7 days). "
        "Most of them: call_ended VCP_E004 $.call.cost. No status page of theirs is watched."
    )
    assert change.needs_review


# --- what is watched ----------------------------------------------------------------------------------------------


def test_a_row_of_a_provider_goes_before_that_of_all():
    own = TrafficCondition.objects.create(metric=Metric.LAG, provider=retell(), enabled=False)
    assert [row.metric for row in traffic.conditions_of(retell())] == [
        "failure_rate",
        "refused",
        "silence",
        "processing",
        "volume",
        "no_end",
        "no_analysis",
    ]
    own.enabled, own.factor = True, 9
    own.save()
    assert {row.factor for row in traffic.conditions_of(retell()) if row.metric == "lag"} == {9}
    assert {row.factor for row in traffic.conditions_of(Provider.objects.get(slug="vcp"))} == {2, 4}


@pytest.mark.parametrize("change", [{"environment": "test"}, {"enabled": False}])
def test_an_endpoint_that_is_not_live_any_more_ends_its_incidents(change):
    calls(NOW - 3 * DAY, success=200)
    calls(NOW - 10 * MIN, failure=25)
    traffic.watch(NOW)
    Endpoint.objects.filter(pk=endpoint().pk).update(**change)
    assert traffic.watch(NOW + MIN) == []
    assert open_incidents() == []
    entry = Incident.objects.get().timeline.last()
    assert entry.text == "Not watched any more: provider, endpoints or condition are switched off."


def test_the_trouble_of_one_provider_keeps_nobody_from_hearing_of_another(monkeypatch, caplog):
    Provider.objects.exclude(slug="retell").update(slug="aaa")
    calls(NOW - 3 * DAY, success=200)
    calls(NOW - 10 * MIN, failure=25)
    real = measures.read

    def read(provider, condition, now):
        if provider.slug == "aaa":
            raise ValueError("of the test")
        return real(provider, condition, now)

    monkeypatch.setattr(traffic, "read", read)
    assert len(traffic.watch(NOW)) == 1
    assert "the traffic could not be judged: traffic:aaa:silence" in caplog.text


def test_the_conditions_of_an_installation_are_made_once():
    assert traffic.ensure_conditions() == []
    condition(Metric.LAG).delete()
    assert traffic.ensure_conditions() == []
    TrafficCondition.objects.all().delete()
    assert traffic.ensure_conditions() == Metric.values


def test_nothing_is_watched_while_monitoring_is_off(settings, monkeypatch):
    watched = []
    monkeypatch.setattr(traffic, "watch", lambda now: watched.append(now) or [])
    monkeypatch.setattr(tasks.self_check, "check", lambda now: watched.append(now) or [])
    settings.MONITORING_ENABLED = False
    assert (tasks.watch_traffic(), tasks.check_self(), watched) == (0, 0, [])
    settings.MONITORING_ENABLED = True
    assert (tasks.watch_traffic(), tasks.check_self(), len(watched)) == (0, 0, 2)


# --- both words beside each other -----------------------------------------------------------------------------------


def test_one_answer_tells_their_word_our_checks_and_our_traffic(admin_client, monkeypatch):
    monkeypatch.setattr("django.utils.timezone.now", lambda: NOW)
    calls(NOW - 3 * DAY, success=200)
    calls(NOW - 10 * MIN, failure=25)
    looked = {"provider": retell(), "last_checked_at": NOW - MIN}
    Monitor.objects.create(kind="status", url="https://status.example.org/a", state="up", **looked)
    Monitor.objects.create(kind="health", url="https://api.example.org/a", state="up", **looked)
    Monitor.objects.create(kind="health", url="https://api.example.org/b", state="degraded", **looked)
    traffic.watch(NOW)
    [found] = admin_client.get("/api/monitoring/standing?provider=RETELL").json()["results"]
    assert (found["provider"], found["vendor"], found["checks"]) == ("retell", "up", "degraded")
    assert found["vendor_checked_at"] == "2026-03-25T13:59:00Z"
    assert [(one["metric"], one["verdict"]) for one in found["ours"]] == [
        ("failure_rate", "raised"), ("refused", "calm"), ("silence", "calm"), ("lag", "unsure"),
        ("processing", "unsure"), ("volume", "unsure"), ("no_end", "calm"), ("no_analysis", "calm"),
    ]  # fmt: skip
    first, second = found["ours"][:2]
    assert (first["open_since"], second["open_since"]) == ("2026-03-25T14:00:00Z", None)
    assert (first["numbers"]["count"], first["numbers"]["total"]) == (25, 25)


def test_the_standing_of_an_unknown_provider_is_not_found(admin_client):
    answer = admin_client.get("/api/monitoring/standing?provider=nobody")
    assert (answer.status_code, answer.json()["code"]) == (404, "VCP_E002")
    everyone = admin_client.get("/api/monitoring/standing").json()["results"]
    assert [one["provider"] for one in everyone] == ["retell", "vcp"]
    assert [one["vendor"] for one in everyone] == [None, None]
