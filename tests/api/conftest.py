"""Fixtures of the tests of the API: who asks, and what is there to be asked for."""

import json

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.cache import cache
from django.test import Client

from apps.ingest.tasks import drain
from apps.providers import catalog
from tests.api.asking import JSON, PASSWORD, deliver
from tests.synced import synced


@pytest.fixture
def providers():
    """The catalogue in the database; only the demo endpoints have a secret, as on a new machine."""
    cache.clear()  # the registry's stamp was rolled back after other tests and comes again
    synced(retell=None, vcp=None)


@pytest.fixture
def user():
    reader = get_user_model().objects.create_user("reader")
    reader.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    return reader


@pytest.fixture
def user_with_password(user):
    user.set_password(PASSWORD)  # hashing one takes its time, so only where it is needed
    user.save()
    return user


@pytest.fixture
def api(user):
    client = Client(headers={"accept": JSON})
    client.force_login(user)
    return client


@pytest.fixture
def stranger():
    return Client(headers={"accept": JSON})


@pytest.fixture
def calls(providers, stranger):
    """The calls of Retell's samples, delivered and worked off."""
    for payload in catalog.samples("retell").values():
        assert deliver(stranger, json.dumps(payload).encode()).status_code == 200
    drain()
