"""The whole API held against its own description: whatever is sent, no error of ours, and every answer as described.

schemathesis draws the requests from the description, as described and not: always the same ones, more with PROOF=20.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.db.models import Model
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from rest_framework.authtoken.models import Token
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

from apps.ingest.models import Artifact, InboundEvent, Message
from apps.monitoring.models import Change, ChangeType, Severity
from apps.providers import catalog
from tests.calls import SECRET
from tests.synced import synced
from vcp.tests.tries import tries

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]

PROVIDERS = ("retell", "vapi", "bland", "elevenlabs", "openai_realtime", "assistable", "vcp")
# A request that is as described may still be refused for what no description says: a cursor that is none, a message
# that is none. The token stands in a header of ours, which that check does not know of; strangers are a test below.
NOT_JUDGED = [checks.positive_data_acceptance, checks.ignored_auth]


@pytest.fixture
def catalogue(db):
    synced(**dict.fromkeys(PROVIDERS) | {"retell": SECRET})


@pytest.fixture
def named(deliver, drain) -> dict[str, list[str]]:
    """What is there to be asked for, by the address that asks for one."""
    for payload in catalog.samples("retell").values():
        deliver(payload)
    drain()
    Change.objects.create(
        title="a change", detected_at=timezone.now(), change_type=ChangeType.values[0], severity=Severity.values[0]
    )
    return {
        "/api/messages/{id}": ids(Message),
        "/api/messages/{id}/vcp": ids(Message),
        "/api/artifacts/{id}": ids(Artifact),
        "/api/deliveries/{delivery_id}": ids(InboundEvent, "delivery_id"),
        "/api/monitoring/changes/{id}": ids(Change),
        "/api/providers/{slug}": list(PROVIDERS),
        "/api/vcp-example/{slug}": list(PROVIDERS),
    }


def ids(model: type[Model], column: str = "pk") -> list[str]:
    return [str(value) for value in model._default_manager.values_list(column, flat=True)]


@pytest.fixture
def schema(settings, named) -> Iterator[Any]:
    """The description as it is served, of the application in this process, on the test's own connection."""
    settings.TOKEN_REQUESTS_PER_MIN = 1_000_000
    cache.clear()
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield schemathesis.openapi.from_wsgi("/api/schema?format=json", WSGIHandler())
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def findings(
    schema: Any, mode: GenerationMode, named: dict[str, list[str]], headers: dict[str, str], count: int
) -> str:
    """What is wrong with the answers to so many requests of this mode to each operation."""
    found: set[str] = set()
    for result in schema.get_all_operations():
        operation = result.ok()

        @tries(count)
        @given(case=operation.as_strategy(generation_mode=mode), number=st.none() | st.integers(0, 100))
        def hold(case: Any, number: int | None) -> None:
            there = named.get(operation.path, [])  # noqa: B023 - called in this round
            if number is not None and there and case.path_parameters:
                case.path_parameters = dict.fromkeys(case.path_parameters, there[number % len(there)])
            response = case.call(headers=headers)
            try:
                case.validate_response(response, excluded_checks=NOT_JUDGED)
            except FailureGroup as group:
                asked = f"{case.as_curl_command()} -> {response.status_code} {response.text[:300]}"
                found.update(f"{failure.title}: {failure.message}; {asked}" for failure in group.exceptions)

        # What has nothing but an address cannot be sent in another way than described.
        with contextlib.suppress(Unsatisfiable):
            hold()
    return "\n\n".join(sorted(found))


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_to_someone_with_all_rights_is_as_described(schema, named, mode):
    token = Token.objects.create(user=User.objects.create_superuser("olga"))
    assert findings(schema, mode, named, {"Authorization": f"Token {token.key}"}, 12) == ""


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_to_a_stranger_is_as_described(schema, named, mode):
    assert findings(schema, mode, named, {}, 3) == ""
