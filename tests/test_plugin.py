"""What the test plugin promises: the database that was asked for, a Redis of its own, test keys only."""

import pytest
import redis
from django.conf import settings
from django.db import connection

from tests import plugin


@pytest.mark.django_db
def test_the_run_uses_the_database_it_was_asked_for(pytestconfig):
    vendor = {"sqlite": "sqlite", "postgres": "postgresql"}[pytestconfig.getoption("db")]
    assert connection.vendor == vendor
    assert "memory" not in str(connection.settings_dict["NAME"])


def test_the_keys_are_those_of_the_tests():
    keys = {name: value for name, value in plugin.KEYS.items() if name != "MONITORING_ENABLED"}
    assert {name: getattr(settings, name) for name in keys} == keys
    assert settings.MONITORING_ENABLED is False


def test_redis_answers_at_the_address_of_the_settings():
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        assert client.ping()


@pytest.mark.parametrize(("worker", "database"), [(None, 1), ("gw0", 1), ("gw3", 4)])
def test_each_test_process_has_a_redis_database_of_its_own_and_spares_the_first(monkeypatch, worker, database):
    monkeypatch.delenv(plugin.XDIST_WORKER, raising=False)
    if worker:
        monkeypatch.setenv(plugin.XDIST_WORKER, worker)
    assert plugin._redis_database() == database


def test_a_path_is_replaced_and_the_rest_of_a_url_stays():
    assert plugin._with_path("redis://:word@127.0.0.1:6379/0", 4) == "redis://:word@127.0.0.1:6379/4"
    assert (
        plugin._with_path("postgres://a:b@h/x?sslmode=require", "test_x") == "postgres://a:b@h/test_x?sslmode=require"
    )


def test_a_given_redis_that_does_not_answer_stops_the_run_and_is_named():
    with pytest.raises(pytest.UsageError, match="REDIS_URL cannot be used"):
        plugin._empty_redis("redis://127.0.0.1:1/1")
