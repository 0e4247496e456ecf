"""The door's own count of what it accepted, and of what it had already."""

import os
from datetime import UTC, datetime, timedelta, timezone
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps as django_apps
from django.db import DataError, connection, transaction

from apps.ingest import tally
from apps.ingest.models import InboundEvent, Tally
from apps.providers.models import Endpoint
from tests.calls import ARRIVAL, ENDED, STARTED, sample

pytestmark = pytest.mark.django_db


def counted() -> list[tuple[datetime, int, int]]:
    return [(line.hour, line.accepted, line.repeated) for line in Tally.objects.order_by("hour")]


def test_each_delivery_is_counted_in_the_hour_of_its_arrival(arrive):
    arrive(sample(STARTED), ARRIVAL)
    arrive(sample(ENDED), ARRIVAL)
    arrive(sample(ENDED), ARRIVAL + timedelta(hours=1))
    arrive(sample(ENDED, call_id="another"), ARRIVAL + timedelta(hours=1))
    hour = tally.hour_of(ARRIVAL)
    assert counted() == [(hour, 2, 0), (hour + timedelta(hours=1), 1, 1)]


def test_an_hour_is_that_of_utc_whatever_zone_a_time_is_told_in():
    kathmandu = timezone(timedelta(hours=5, minutes=45))
    assert tally.hour_of(datetime(2026, 1, 1, 3, 50, tzinfo=kathmandu)) == datetime(2025, 12, 31, 22, tzinfo=UTC)


def test_a_batch_is_counted_in_one_statement(endpoint, django_assert_num_queries):
    rows = [InboundEvent(endpoint_id=endpoint.id, received_at=ARRIVAL + timedelta(minutes=20 * n)) for n in range(6)]
    with django_assert_num_queries(1), connection.cursor() as cursor:
        tally.add(cursor, [(row, n != 1) for n, row in enumerate(rows)])
    assert sum(line[1] for line in counted()) == 5
    assert sum(line[2] for line in counted()) == 1


def test_nothing_is_counted_of_an_empty_batch(django_assert_num_queries):
    with django_assert_num_queries(0), connection.cursor() as cursor:
        tally.add(cursor, [])


def test_processes_count_in_rows_of_their_own(arrive, monkeypatch):
    arrive(sample(STARTED), ARRIVAL)
    another = os.getpid() + 1
    monkeypatch.setattr(os, "getpid", lambda: another)
    arrive(sample(ENDED), ARRIVAL)
    assert [line.accepted for line in Tally.objects.all()] == [1, 1]


def test_what_is_rolled_back_is_not_counted(arrive):
    with transaction.atomic():
        arrive(sample(STARTED), ARRIVAL)
        transaction.set_rollback(True)
    assert not InboundEvent.objects.exists()
    assert counted() == []


def test_what_cannot_be_counted_is_not_stored(arrive, monkeypatch):
    counting = tally.counting

    def fail(*args: object) -> None:
        raise DataError

    def fail_in_the_statement(*args: Any) -> tuple[str, list[Any]]:
        sql, values = counting(*args)
        return sql.replace(" ON CONFLICT", " WHERE 1 / 0 = 1 ON CONFLICT"), values

    monkeypatch.setattr(tally, "add", fail)
    monkeypatch.setattr(tally, "counting", fail_in_the_statement)
    with pytest.raises(DataError), transaction.atomic():
        arrive(sample(STARTED), ARRIVAL)
    assert not InboundEvent.objects.exists()


def test_an_upgrade_counts_what_was_stored_before(arrive):
    arrive(sample(STARTED), ARRIVAL)
    arrive(sample(ENDED), ARRIVAL + timedelta(hours=1))
    arrive(sample(ENDED, call_id="another"), ARRIVAL + timedelta(hours=1))
    before = counted()
    Tally.objects.all().delete()
    import_module("apps.ingest.migrations.0004_tally").count_what_is_stored(django_apps, None)
    assert counted() == before
    assert Endpoint.objects.filter(tallies__accepted=2).count() == 1
