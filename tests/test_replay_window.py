"""A recorded delivery that is sent again: within the window it changes nothing, after it it is refused, and an id that
the signature covers is taken once, whatever stands beside it."""

from datetime import timedelta

import pytest

from apps.ingest import inbox
from apps.ingest.models import InboundEvent
from apps.providers import catalog, registry
from apps.providers.engine.signatures import sign
from apps.providers.models import AuthConfig, Endpoint, Provider
from tests.calls import ARRIVAL, ENDED, as_body, sample, signed

pytestmark = pytest.mark.django_db
BODY = as_body(sample(ENDED))
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
# A way of proof that covers an id.
WITH_ID = catalog.load("openai_realtime").auth


def come(endpoint, headers, at, body=BODY):
    """What a delivery is told at that time: `new`, `known`, or the reason it is refused for."""
    lower = {name.lower(): value for name, value in headers.items()}
    outcome = inbox.accept(endpoint, headers=lower, body=body, now=at, trace_id="0" * 32)
    if isinstance(outcome, inbox.Refused):
        return outcome.reason
    return "known" if outcome.duplicate else "new"


def test_a_recorded_delivery_is_taken_once_and_refused_after_its_time(endpoint):
    recorded = signed(BODY, at=ARRIVAL)
    told = [come(endpoint, recorded, ARRIVAL + timedelta(seconds=late)) for late in (0, 1, 299, 300, 301, 86_400)]
    assert told == ["new", "known", "known", "known", "timestamp_too_old", "timestamp_too_old"]
    assert come(endpoint, recorded, ARRIVAL - timedelta(seconds=301)) == "timestamp_in_future"
    assert InboundEvent.objects.count() == 1


def test_a_time_that_nobody_signed_opens_no_window(endpoint):
    later = ARRIVAL + timedelta(hours=1)
    [(name, value)] = signed(BODY, at=ARRIVAL).items()
    [(_, now)] = signed(BODY, secret="another secret", at=later).items()
    moved = now.partition(",")[0] + "," + value.partition(",")[2]
    assert come(endpoint, {name: moved}, later) == "signature_mismatch"


@pytest.fixture
def with_id(catalogue):
    row = Endpoint.objects.create(provider=Provider.objects.get(slug="retell"), slug="with-id")
    way = AuthConfig.objects.create(endpoint=row, scheme=WITH_ID.model_dump(mode="json"))
    secret = way.secrets.model(auth_config=way)
    secret.set_value(SECRET)
    secret.save()
    registry.forget()
    return registry.endpoint("retell", "with-id")


def of_id(identifier, at=ARRIVAL, body=BODY):
    return sign(WITH_ID, SECRET, body, at, id=identifier)


def test_an_id_is_taken_once_also_when_it_is_signed_anew(with_id):
    assert come(with_id, of_id("msg_1"), ARRIVAL) == "new"
    later = ARRIVAL + timedelta(hours=5)
    assert come(with_id, of_id("msg_1", later), later) == "known"
    assert come(with_id, of_id("msg_1", later, b"{}"), later, b"{}") == "known"
    assert come(with_id, of_id("msg_2", later), later) == "new"
    assert InboundEvent.objects.count() == 2


def test_an_id_that_was_put_in_place_of_the_signed_one_is_refused(with_id):
    recorded = of_id("msg_1")
    assert come(with_id, {**recorded, "webhook-id": "msg_2"}, ARRIVAL) == "signature_mismatch"
    assert come(with_id, {name: recorded[name] for name in recorded if name != "webhook-id"}, ARRIVAL) == "id_missing"
