"""What is refused is not lost: kept sealed and within bounds, checked again with today's secrets, let in once."""

import hashlib
import json
import threading
import tracemalloc
from collections import Counter
from datetime import timedelta

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from apps.ingest import operations, refused, tasks
from apps.ingest.models import CallKey, DecisionRequest, InboundEvent, Message, Refusal, RefusedDelivery
from apps.ingest.recheck import Rechecked
from apps.ingest.retention import erase_call
from apps.providers import registry, vault
from apps.providers.engine.signatures import SignedRequest
from apps.providers.models import AuthConfig, Endpoint, Provider, Secret
from tests.calls import ANALYZED, CALL_ID, ENDED, EVENTS, as_body, in_threads, numbers, sample, signed

pytestmark = pytest.mark.django_db

NEW = "the secret that the provider signs with since Friday"
NOBODY = "nobody here knows this one"


@pytest.fixture
def refuse(deliver):
    """Posts a payload signed with a secret that is not stored (yet), as if it came at that time."""

    def send(payload, *, secret=NEW, at=None, headers=None):
        body = as_body(payload)
        headers = signed(body, secret=secret, at=at) if headers is None else headers
        response = deliver(body, headers=headers)
        assert response.status_code == 401
        return response

    return send


def enter(value, *, valid_until=None, provider="retell"):
    way = AuthConfig.objects.get(endpoint__provider__slug=provider, endpoint__slug="default")
    secret = Secret(auth_config=way, valid_until=valid_until)
    secret.set_value(value)
    secret.save()
    return secret


def recheck(**more):
    return operations.recheck(RefusedDelivery.objects.all(), timezone.now(), **more)


def retell():
    return Endpoint.objects.get(provider__slug="retell", slug="default")


def aged(by):
    """Everything kept came that much earlier."""
    for row in RefusedDelivery.objects.all():
        RefusedDelivery.objects.filter(pk=row.pk).update(received_at=row.received_at - by)


# --- a rotated key, from end to end --------------------------------------------------------------------------------


def test_a_key_rotated_on_a_friday_costs_no_weekend(refuse, drain, rings):
    before = timezone.now()
    for name in EVENTS:
        refuse(sample(name))
    assert (RefusedDelivery.objects.count(), InboundEvent.objects.count(), rings) == (4, 0, [])
    enter(NEW)
    monday = timezone.now() + timedelta(hours=60)
    assert operations.recheck(RefusedDelivery.objects.all(), monday) == Rechecked(admitted=4)
    assert not RefusedDelivery.objects.exists()
    assert len(rings) == 4
    for event in InboundEvent.objects.all():
        assert before < event.received_at < timezone.now()
    drain()
    assert Message.objects.get().call_id == CALL_ID
    assert numbers()["total"] == 1


def test_a_delivery_is_the_same_as_if_it_had_been_accepted(refuse, deliver):
    body = b'{ "event":"chat_ended",\n\t"access_token": "hush", "b": 1.50, "b": "\\u00e9" }\r\n'
    trace_id = refuse(body, secret=NEW).headers["X-Trace-Id"]
    enter(NEW)
    recheck()
    event = InboundEvent.objects.get()
    assert bytes(event.body) == body.replace(b'"hush"', b'"[redacted]"')
    assert (event.body_sha256, event.trace_id) == (hashlib.sha256(body).hexdigest(), trace_id)
    assert event.headers == {"content-type": "application/json", "content-length": str(len(body))}
    again = deliver(body, headers=signed(body, secret=NEW)).json()
    assert (again["duplicate"], again["delivery_id"]) == (True, str(event.delivery_id))


def test_an_endpoint_without_a_secret_keeps_what_comes_until_it_has_one(deliver, rings):
    Endpoint.objects.create(provider=Provider.objects.get(slug="retell"), slug="second")
    way = AuthConfig.objects.create(endpoint=Endpoint.objects.get(slug="second"), scheme=retell_scheme())
    registry.forget()
    body = as_body(sample(ENDED))
    assert deliver(body, path="/webhook/retell/second", headers=signed(body, secret=NEW)).status_code == 401
    assert RefusedDelivery.objects.get().reason == "no_secret"
    assert "no secret yet: enter one" in Endpoint.objects.get(slug="second").last_refused_reason
    secret = Secret(auth_config=way)
    secret.set_value(NEW)
    secret.save()
    assert recheck() == Rechecked(admitted=1)
    assert InboundEvent.objects.get().endpoint.slug == "second"


def retell_scheme():
    return AuthConfig.objects.get(endpoint=retell()).scheme


def test_what_came_again_meanwhile_and_was_accepted_is_known_already(refuse, deliver, rings):
    refuse(sample(ENDED))
    enter(NEW)
    registry.forget()
    body = as_body(sample(ENDED))
    assert deliver(body, headers=signed(body, secret=NEW)).status_code == 200
    assert recheck() == Rechecked(known=1)
    assert (RefusedDelivery.objects.count(), InboundEvent.objects.count(), len(rings)) == (0, 1, 1)


def test_what_no_secret_proves_stays_and_is_not_counted_again(refuse):
    refuse(sample(ENDED), secret=NOBODY)
    refuse(sample(ANALYZED), headers={})
    counted = list(Refusal.objects.values_list("reason", "count").order_by("reason"))
    enter(NEW)
    expected = Rechecked(refused=Counter(signature_mismatch=1, header_missing=1))
    assert recheck() == expected
    assert recheck() == expected
    assert RefusedDelivery.objects.count() == 2
    assert list(Refusal.objects.values_list("reason", "count").order_by("reason")) == counted


def test_a_call_that_was_erased_meanwhile_is_dropped(arrive, refuse, drain):
    arrive(sample(ENDED))
    drain()
    refuse(sample(ANALYZED))
    erase_call(CallKey.objects.get(), timezone.now())
    enter(NEW)
    assert recheck().admitted == 1
    drain()
    assert set(InboundEvent.objects.values_list("state", flat=True)) == {"erased"}
    assert not Message.objects.exists()


# --- as of when -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent_before", "report"),
    [
        (timedelta(0), Rechecked(admitted=1)),
        (timedelta(minutes=4), Rechecked(admitted=1)),
        (timedelta(minutes=6), Rechecked(refused=Counter(timestamp_too_old=1))),
        (-timedelta(minutes=6), Rechecked(refused=Counter(timestamp_in_future=1))),
    ],
)
def test_a_timestamp_is_judged_by_the_clock_of_when_it_came(refuse, sent_before, report):
    now = timezone.now()
    refuse(sample(ENDED), at=now - sent_before)
    enter(NEW)
    later = now + timedelta(hours=50)
    assert operations.recheck(RefusedDelivery.objects.all(), later) == report


@pytest.mark.parametrize(
    ("ended_before_now", "admitted"),
    [(None, 1), (timedelta(hours=-1), 1), (timedelta(hours=9), 1), (timedelta(hours=11), 0)],
)
def test_a_secret_counts_that_is_valid_today_or_was_when_it_came(refuse, ended_before_now, admitted):
    refuse(sample(ENDED), at=timezone.now())
    now = timezone.now() + timedelta(hours=10)
    enter(NEW, valid_until=None if ended_before_now is None else now - ended_before_now)
    assert operations.recheck(RefusedDelivery.objects.all(), now).admitted == admitted


def test_a_deleted_secret_never_counts(refuse):
    enter(NEW).delete()
    registry.forget()
    refuse(sample(ENDED))
    assert recheck().admitted == 0


def test_switches_and_addresses_of_today_decide(refuse):
    refuse(sample(ENDED))
    enter(NEW)
    Endpoint.objects.update(enabled=False)
    assert recheck() == Rechecked(refused=Counter(closed=1))
    Endpoint.objects.update(enabled=True, allowed_addresses=["192.0.2.1"])
    assert recheck() == Rechecked(refused=Counter(address_not_allowed=1))
    Endpoint.objects.update(allowed_addresses=["127.0.0.0/8"])
    assert recheck() == Rechecked(admitted=1)


# --- how it is kept -------------------------------------------------------------------------------------------------


def test_bytes_headers_method_and_url_come_back_as_they_were():
    body = bytes(range(256)) + b"\n\n{"
    headers = {"x-signature": "v=1\n", "authorization": "Bearer \xe9\ud800", "empty": ""}
    request = SignedRequest(headers, body, "POST", "https://voice.example/webhook/x?a=1\ud800")
    row = RefusedDelivery()
    row.key_id, row.ciphertext = vault.encrypt_bytes(refused.sealed(request))
    assert refused.unsealed(row) == request


def test_nothing_of_it_stands_in_plain(refuse, caplog):
    body = as_body(sample(ENDED) | {"marker": "Dana from Harbor"})
    headers = signed(body, secret=NEW) | {"Cookie": "session=tasty"}
    refuse(body, headers=headers)
    row = RefusedDelivery.objects.get()
    kept = bytes(row.ciphertext)
    everything = kept + repr(RefusedDelivery.objects.values().get()).encode() + str(row).encode() + caplog.text.encode()
    # Long enough, or of such characters, that no ciphertext holds them by chance.
    for plain in (b"Dana from", CALL_ID.encode(), b"session=t", headers["X-Retell-Signature"].encode(), body[:16]):
        assert plain not in everything
    assert (row.size_bytes, row.body_sha256) == (len(kept), hashlib.sha256(body).hexdigest())
    assert (row.reason, row.address, row.endpoint) == ("signature_mismatch", "127.0.0.1", retell())


def test_what_was_sealed_with_a_retired_key_opens_while_that_is_there(refuse, settings):
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    first = settings.FIELD_ENCRYPTION_KEYS
    settings.FIELD_ENCRYPTION_KEYS = f"k1:{old},{first}"
    refuse(sample(ENDED))
    settings.FIELD_ENCRYPTION_KEYS = f"k2:{new},{first}"
    refuse(sample(ANALYZED))
    assert list(RefusedDelivery.objects.order_by("id").values_list("key_id", flat=True)) == ["k1", "k2"]
    enter(NEW)
    assert recheck() == Rechecked(admitted=1, refused=Counter(key_missing=1))
    settings.FIELD_ENCRYPTION_KEYS = f"k2:{new},k1:{old},{first}"
    assert recheck() == Rechecked(admitted=1)


def test_equal_bodies_are_kept_once(refuse):
    now = timezone.now()
    for second in range(3):
        refuse(sample(ENDED), at=now + timedelta(seconds=second))
    assert RefusedDelivery.objects.count() == 1
    assert list(Refusal.objects.values_list("count", "not_kept")) == [(3, 0)]


def test_an_address_that_is_not_allowed_is_not_kept(refuse):
    Endpoint.objects.update(allowed_addresses=["192.0.2.1"])
    registry.forget()
    refuse(sample(ENDED))
    assert not RefusedDelivery.objects.exists()
    assert list(Refusal.objects.values_list("reason", "not_kept")) == [("address_not_allowed", 0)]


def test_zero_hours_keep_nothing_and_miss_nothing(refuse, settings):
    settings.REFUSED_KEPT_HOURS = 0
    refuse(sample(ENDED))
    assert not RefusedDelivery.objects.exists()
    assert Refusal.objects.get().not_kept == 0


@pytest.mark.parametrize("error", [OperationalError("the disk with Dana on it is full"), MemoryError(), ValueError()])
def test_when_it_cannot_be_kept_the_answer_is_401_all_the_same(refuse, monkeypatch, caplog, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(RefusedDelivery.objects, "bulk_create", fail)
    refuse(sample(ENDED))
    assert list(Refusal.objects.values_list("reason", "count", "not_kept")) == [("signature_mismatch", 1, 1)]
    assert f"could not be kept: {type(error).__name__}" in caplog.text
    assert "Dana" not in caplog.text


def test_without_a_key_to_encrypt_with_the_answer_is_401_all_the_same(refuse, settings):
    registry.endpoint("retell")
    settings.FIELD_ENCRYPTION_KEYS = "k1:no key"
    refuse(sample(ENDED))
    assert Refusal.objects.get().not_kept == 1


def test_a_large_body_is_kept_in_a_bounded_multiple_of_its_size(endpoint):
    size = 4 * 1024 * 1024
    request = SignedRequest({"x-retell-signature": "v=1,d=00"}, b"x" * size)
    refused.keep(endpoint.id, SignedRequest({}, b"first"), "signature_mismatch", timezone.now())
    tracemalloc.start()
    try:
        assert refused.keep(endpoint.id, request, "signature_mismatch", timezone.now())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * size


# --- the bounds -----------------------------------------------------------------------------------------------------


def keep(endpoint, address, number, size=10):
    body = f"{address} {number}".ljust(size).encode()
    request = SignedRequest({}, body)
    return refused.keep(endpoint.id, request, "signature_mismatch", timezone.now(), address=address)


def senders():
    return Counter(RefusedDelivery.objects.values_list("address", flat=True))


def test_a_flood_is_bounded_by_count_and_counted(refuse, settings):
    settings.REFUSED_KEPT_COUNT = 3
    for number in range(5):
        refuse({"event": "x", "number": number}, secret=NOBODY)
    assert RefusedDelivery.objects.count() == 3
    assert list(Refusal.objects.values_list("count", "not_kept")) == [(5, 2)]


def test_a_flood_is_bounded_by_bytes(endpoint, settings):
    settings.REFUSED_KEPT_BYTES = 20_000
    kept = [keep(endpoint, "192.0.2.1", number, size=4_000) for number in range(6)]
    assert kept == [True] * 3 + [False] * 3
    assert sum(RefusedDelivery.objects.values_list("size_bytes", flat=True)) <= 20_000
    assert not keep(endpoint, "192.0.2.9", 1, size=20_000)  # larger than all there is
    assert senders() == {"192.0.2.1": 3}


def test_a_stranger_s_flood_displaces_only_itself(endpoint, settings):
    settings.REFUSED_KEPT_COUNT = 20
    provider, stranger = "198.51.100.7", "203.0.113.9"
    assert all(keep(endpoint, provider, number) for number in range(5))
    for number in range(40):
        keep(endpoint, stranger, number)
    assert senders() == {provider: 5, stranger: 15}
    assert all(keep(endpoint, provider, number) for number in range(5, 10))
    assert senders() == {provider: 10, stranger: 10}
    assert not keep(endpoint, provider, 10)
    for address in (provider, stranger):  # the oldest stay
        rows = RefusedDelivery.objects.filter(address=address).order_by("id")
        bodies = [refused.unsealed(row).body.decode().strip() for row in rows]
        assert bodies == [f"{address} {number}" for number in range(10)]


def test_large_bodies_give_way_to_small_ones_of_others(endpoint, settings):
    settings.REFUSED_KEPT_BYTES = 40_000
    for number in range(9):
        keep(endpoint, "203.0.113.9", number, size=5_000)
    assert keep(endpoint, "198.51.100.7", 1, size=5_000)
    assert senders() == {"203.0.113.9": 4, "198.51.100.7": 1}


def test_many_small_ones_give_way_where_it_is_the_count_that_is_full(endpoint, settings):
    settings.REFUSED_KEPT_COUNT = 10
    assert keep(endpoint, "198.51.100.7", 1, size=50_000)
    for number in range(9):
        keep(endpoint, "203.0.113.9", number)
    assert keep(endpoint, "192.0.2.1", 1)
    assert senders() == {"198.51.100.7": 1, "203.0.113.9": 8, "192.0.2.1": 1}


def test_other_endpoints_have_room_of_their_own(endpoint, settings):
    settings.REFUSED_KEPT_COUNT = 1
    other = registry.endpoint("vcp")
    assert keep(endpoint, "192.0.2.1", 1)
    assert keep(other, "192.0.2.1", 1)
    assert not keep(endpoint, "192.0.2.1", 2)


@pytest.mark.parametrize(
    ("address", "whose"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_an_ipv6_sender_has_one_share_however_many_addresses(address, whose):
    assert refused.sender(address) == whose


@pytest.mark.django_db(transaction=True)
def test_the_bound_holds_for_many_at_once(catalogue, settings, monkeypatch):
    settings.REFUSED_KEPT_COUNT = 4
    together, encrypt = threading.Barrier(16), vault.encrypt_bytes

    def encrypt_together(data):
        # By now each has seen that there is room.
        together.wait(timeout=30)
        return encrypt(data)

    monkeypatch.setattr(vault, "encrypt_bytes", encrypt_together)

    def post(number):
        body = as_body({"event": "x", "number": number})
        headers = signed(body, secret=NOBODY)
        return Client().generic("POST", "/webhook/retell", body, "application/json", headers=headers).status_code

    assert in_threads(*[lambda number=number: post(number) for number in range(16)]) == [401] * 16
    assert RefusedDelivery.objects.count() == 4
    assert list(Refusal.objects.values_list("count", "not_kept")) == [(16, 12)]


@pytest.mark.django_db(transaction=True)
def test_two_rechecks_at_once_admit_each_delivery_once(catalogue, refuse):
    for number in range(8):
        refuse(sample(ENDED, call_id=f"call{number}"))
    enter(NEW)
    one, other = in_threads(recheck, recheck)
    assert one.admitted + other.admitted == 8
    assert (one.known, other.known, one.refused, other.refused) == (0, 0, {}, {})
    assert (InboundEvent.objects.count(), RefusedDelivery.objects.count()) == (8, 0)


# --- their end ------------------------------------------------------------------------------------------------------


def test_after_72_hours_they_are_gone(refuse, settings, monkeypatch):
    monkeypatch.setattr(refused, "BATCH", 2)
    for number in range(5):
        refuse({"event": "x", "number": number})
    aged(timedelta(hours=71, minutes=59))
    assert tasks.prune() == 0
    aged(timedelta(minutes=1))
    enter(NEW)
    assert recheck() == Rechecked()  # also before the prune has come by
    assert tasks.prune() == 5
    assert not RefusedDelivery.objects.exists()
    assert settings.REFUSED_KEPT_HOURS == 72


def test_deleting_many_does_not_read_what_they_hold(refuse, django_assert_num_queries):
    refuse(sample(ENDED))
    ids = list(RefusedDelivery.objects.values_list("pk", flat=True))
    with django_assert_num_queries(2) as queries:
        refused.delete(ids)
    assert not [query for query in queries.captured_queries if "ciphertext" in query["sql"]]


# --- the command ----------------------------------------------------------------------------------------------------


def test_a_dry_run_says_the_same_and_changes_nothing(refuse, capsys, rings):
    refuse(sample(ENDED))
    refuse(sample(ANALYZED), secret=NOBODY)
    secret = enter(NEW)
    before = list(RefusedDelivery.objects.order_by("id").values())
    call_command("recheck", "--dry-run")
    assert capsys.readouterr().out.splitlines()[1:] == ["1 admitted", "1 still refused: signature_mismatch"]
    assert list(RefusedDelivery.objects.order_by("id").values()) == before
    secret.refresh_from_db()
    assert (InboundEvent.objects.count(), rings, secret.last_used_at) == (0, [], None)
    call_command("recheck")
    assert capsys.readouterr().out.splitlines() == ["1 admitted", "1 still refused: signature_mismatch"]
    secret.refresh_from_db()
    assert secret.last_used_at is not None


@pytest.mark.parametrize(
    ("options", "admitted"),
    [
        (["--provider", "Retell"], 1),
        (["--provider", "vcp"], 0),
        (["--endpoint", "default"], 1),
        (["--endpoint", "demo"], 0),
        (["--since", "2020-01-01"], 1),
        (["--since", "2999-01-01"], 0),
        (["--provider", "retell", "--endpoint", "default", "--since", "2020-01-01T00:00:00Z"], 1),
    ],
)
def test_the_command_takes_those_that_match(refuse, capsys, options, admitted):
    refuse(sample(ENDED))
    enter(NEW)
    call_command("recheck", *options)
    assert capsys.readouterr().out.startswith(f"{admitted} admitted")
    assert InboundEvent.objects.count() == admitted


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--provider", "nobody"], "no endpoint with --provider nobody"),
        (["--provider", "retell", "--endpoint", "x"], "no endpoint with --provider retell --endpoint x"),
        (["--since", "soon"], "--since: invalid"),
    ],
)
def test_the_command_names_what_it_does_not_find(catalogue, options, problem):
    with pytest.raises(CommandError, match=problem):
        call_command("recheck", *options)


def test_a_recheck_notes_no_request_for_a_decision(refuse):
    refuse(sample("call_inbound"))
    enter(NEW)
    assert recheck().admitted == 1
    assert not DecisionRequest.objects.exists()  # nobody was answered


def test_json_of_a_body_is_never_read_before_it_is_proven(refuse, monkeypatch):
    def read(*args):
        raise AssertionError("an unproven body was read")

    monkeypatch.setattr("apps.ingest.inbox.parse", read)
    refuse(json.dumps({"event": "x"}).encode())
    assert recheck() == Rechecked(refused=Counter(signature_mismatch=1))
