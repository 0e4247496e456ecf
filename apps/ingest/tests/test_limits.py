"""The limits at the door: a provider's share, strangers who are refused too often, and who is never shut out."""

from datetime import timedelta

import pytest
from django.test import Client

from apps.ingest import limits
from apps.ingest.models import InboundEvent, Refusal
from apps.providers import registry
from apps.providers.models import Endpoint, Provider
from apps.providers.sync import sync_catalog
from tests.calls import ARRIVAL, ENDED, sample, signed

pytestmark = pytest.mark.django_db
STRANGER = "203.0.113.66"


def reasons():
    return dict(Refusal.objects.values_list("reason", "count"))


def limit(slug="retell", **values):
    Provider.objects.filter(slug=slug).update(**values)
    registry.forget()


def payload(number):
    return sample(ENDED) | {"number": number}


@pytest.fixture
def stranger():
    return Client(REMOTE_ADDR=STRANGER)


def refuse(client, times, path="/webhook/retell"):
    """The statuses of so many unsigned deliveries."""
    return [client.post(path, {"n": number}, "application/json").status_code for number in range(times)]


# --- a provider's share ----------------------------------------------------------------------------------------------


def test_above_its_limit_a_provider_is_told_when_to_come_again(deliver):
    limit(rate_per_min=2, rate_burst=3)
    statuses = [deliver(payload(number)).status_code for number in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    answer = deliver(payload(9))
    assert 1 <= int(answer.headers["Retry-After"]) <= 30
    assert set(answer.json()) == {"code", "message", "implementation", "context"}
    assert (answer.json()["code"], answer.json()["message"]) == ("HTTP_429", "too many requests; send it again later")
    assert (InboundEvent.objects.count(), reasons()) == (3, {"throttled": 3})


def test_what_was_throttled_is_taken_when_it_comes_again(endpoint):
    limit(rate_per_min=60, rate_burst=1)
    endpoint = registry.endpoint("retell")
    assert limits.throttled(endpoint, "", ARRIVAL) is None
    assert limits.throttled(endpoint, "", ARRIVAL) == 1


def test_strangers_do_not_use_up_a_provider_s_share(deliver):
    limit(rate_per_min=1, rate_burst=2)
    assert refuse(Client(), 10) == [401] * 10
    assert [deliver(payload(number)).status_code for number in range(3)] == [200, 200, 429]


def test_one_provider_does_not_use_up_another_s_share(deliver):
    limit(rate_per_min=1, rate_burst=1)
    assert [deliver(payload(number)).status_code for number in range(2)] == [200, 429]
    vcp = registry.endpoint("vcp")
    assert limits.throttled(vcp, "", ARRIVAL) is None


def test_all_endpoints_of_a_provider_share_its_limit(endpoint):
    limit(rate_per_min=1, rate_burst=2)
    assert limits.throttled(registry.endpoint("retell"), "", ARRIVAL) is None
    assert limits.throttled(registry.endpoint("retell", "demo"), "", ARRIVAL) is None
    assert limits.throttled(registry.endpoint("retell"), "", ARRIVAL) is not None


@pytest.mark.parametrize(
    ("own", "everywhere", "found"),
    [
        ((None, None), (60, 7), (60, 7)),
        ((30, None), (60, 7), (30, 7)),
        ((None, 5), (60, 7), (60, 5)),
        ((0, 5), (60, 7), None),
        ((None, None), (0, 7), None),
        ((30, 5), (0, 7), (30, 5)),
    ],
)
def test_a_provider_s_own_limit_goes_before_the_one_of_all(catalogue, settings, own, everywhere, found):
    settings.WEBHOOKS_PER_MIN, settings.WEBHOOKS_BURST = everywhere
    limit(rate_per_min=own[0], rate_burst=own[1])
    assert registry.endpoint("retell").provider.limit == found


def test_without_a_limit_nothing_is_counted(endpoint, monkeypatch):
    limit(rate_per_min=0)
    monkeypatch.setattr(limits.buckets, "take", lambda *args: 1 / 0)
    assert limits.throttled(registry.endpoint("retell"), "192.0.2.1", ARRIVAL) is None


def test_an_ordinary_load_is_never_throttled(endpoint):
    for tick in range(600):
        at = ARRIVAL + timedelta(milliseconds=100 * tick)
        assert [limits.throttled(endpoint, "192.0.2.1", at) for _ in range(20)] == [None] * 20


# --- strangers -------------------------------------------------------------------------------------------------------


def test_an_address_that_is_refused_too_often_is_shut_out_before_any_work(settings, catalogue, stranger, monkeypatch):
    settings.REFUSED_PER_MIN, settings.REFUSED_BURST = 1, 3
    assert refuse(stranger, 6) == [401] * 4 + [429] * 2
    monkeypatch.setattr("apps.ingest.door._read", lambda *args: 1 / 0)
    answer = stranger.post("/webhook/retell", {}, "application/json")
    assert (answer.status_code, answer.json()["code"]) == (429, "HTTP_429")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert reasons() == {"header_missing": 4, "shut_out": 3}


def test_a_search_for_addresses_is_shut_out_as_well(settings, catalogue, stranger):
    settings.REFUSED_PER_MIN, settings.REFUSED_BURST = 1, 3
    assert refuse(stranger, 5, "/webhook/nobody") == [404] * 4 + [429]
    assert refuse(stranger, 1) == [429]
    assert reasons() == {"shut_out": 1}


def test_others_are_not_shut_out_with_it(settings, deliver, stranger):
    settings.REFUSED_PER_MIN, settings.REFUSED_BURST = 1, 3
    refuse(stranger, 6)
    assert refuse(Client(REMOTE_ADDR="203.0.113.67"), 1) == [401]
    assert deliver(payload(1)).status_code == 200


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:203.0.113.66", "203.0.113.66", True),
        ("::ffff:203.0.113.66", "::ffff:203.0.113.67", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_who_counts_as_one_sender(settings, first, second, same):
    settings.REFUSED_PER_MIN, settings.REFUSED_BURST = 1, 1
    for _ in range(2):
        limits.note_refused(first, ARRIVAL)
    assert (limits.shut_out(second, ARRIVAL) is not None) is same


def test_it_is_forgiven_with_time(settings):
    settings.REDIS_URL = ""
    settings.REFUSED_PER_MIN, settings.REFUSED_BURST = 60, 10
    for _ in range(11):
        limits.note_refused(STRANGER, ARRIVAL)
    assert limits.shut_out(STRANGER, ARRIVAL) == 1
    later = ARRIVAL + timedelta(seconds=1)
    assert limits.shut_out(STRANGER, later) is None
    limits.note_refused(STRANGER, later)
    assert limits.shut_out(STRANGER, later) is None
    limits.note_refused(STRANGER, later)
    assert limits.shut_out(STRANGER, later) == 1
    assert limits.shut_out(STRANGER, ARRIVAL - timedelta(hours=1)) is None, "a clock that went back"


def test_a_provider_behind_the_same_address_is_not_shut_out(settings, deliver, client):
    settings.REFUSED_PER_MIN, settings.REFUSED_BURST = 1, 2
    assert deliver(payload(1)).status_code == 200
    assert refuse(client, 6) == [401] * 6
    limits.forget()  # another process, or this one after a restart: Redis knows
    assert refuse(client, 6) == [401] * 6
    assert deliver(payload(2)).status_code == 200


def test_a_rotated_secret_shuts_nobody_out(settings, deliver, client):
    settings.REFUSED_PER_MIN, settings.REFUSED_BURST = 1, 2
    deliver(payload(1))
    statuses = [
        deliver(payload(number), headers=signed(b"{}", secret="the new one")).status_code for number in range(5)
    ]
    assert statuses == [401] * 5


def test_our_own_want_is_not_held_against_the_sender(settings, deliver, client):
    settings.REFUSED_PER_MIN, settings.REFUSED_BURST = 1, 2
    sync_catalog(("vapi",))
    registry.forget()
    assert refuse(client, 6, "/webhook/vapi") == [401] * 6
    assert reasons() == {"no_secret": 6}
    Endpoint.objects.filter(provider__slug="vapi").update(enabled=False)
    registry.forget()
    assert refuse(client, 6, "/webhook/vapi") == [404] * 6


def test_where_nothing_need_be_proved_nobody_proves_himself(settings, catalogue, stranger):
    settings.REFUSED_PER_MIN, settings.REFUSED_BURST = 1, 2
    open_to_all = Endpoint.objects.create(provider=Provider.objects.get(slug="retell"), slug="open")
    open_to_all.auth_configs.create(scheme={"kind": "none", "reason": "a private network"})
    registry.forget()
    assert refuse(stranger, 1, "/webhook/retell/open") == [200]
    assert refuse(stranger, 4) == [401] * 3 + [429]


@pytest.mark.parametrize("address", ["", None])
def test_no_address_is_nobody(settings, address):
    settings.REFUSED_PER_MIN, settings.REFUSED_BURST = 1, 1
    for _ in range(5):
        limits.note_refused(address or "", ARRIVAL)
    assert limits.shut_out("", ARRIVAL) is None


def test_zero_shuts_nobody_out(settings, catalogue, stranger):
    settings.REFUSED_PER_MIN, settings.REFUSED_BURST = 0, 1
    assert refuse(stranger, 5) == [401] * 5


def test_a_shut_out_is_logged_once(settings, caplog):
    settings.REDIS_URL = ""
    settings.REFUSED_PER_MIN, settings.REFUSED_BURST = 60, 1
    for second in range(30):
        for _ in range(3):
            limits.note_refused(STRANGER, ARRIVAL + timedelta(seconds=second))
    assert len(caplog.messages) == 1
    assert STRANGER in caplog.text


def test_as_much_is_let_through_as_is_kept_for_a_recheck(settings):
    assert settings.REFUSED_BURST >= settings.REFUSED_KEPT_COUNT


# --- lists -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "endpoint", "peer", "status"),
    [
        (["198.51.100.0/24"], [], "198.51.100.7", 200),
        (["198.51.100.0/24"], [], "203.0.113.7", 401),
        (["198.51.100.0/24"], ["198.51.100.7"], "198.51.100.8", 401),
        (["198.51.100.0/24"], ["203.0.113.7"], "203.0.113.7", 401),
        (["2001:db8::/32"], [], "2001:db8::7", 200),
        (["198.51.100.0/24"], [], "::ffff:198.51.100.7", 200),
        (["fe80::/10"], [], "fe80::7%eth0", 200),
    ],
)
def test_a_provider_s_list_counts_for_all_its_endpoints(deliver, client, provider, endpoint, peer, status):
    Endpoint.objects.filter(provider__slug="retell").update(allowed_addresses=endpoint)
    limit(allowed_addresses=provider)
    client.defaults["REMOTE_ADDR"] = peer
    assert deliver(sample(ENDED)).status_code == status
    assert reasons() == ({} if status == 200 else {"address_not_allowed": 1})
