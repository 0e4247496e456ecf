"""GET /api/metrics: the ledger as Prometheus reads it, with the API's rights."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from apps.ingest import inbox
from apps.ingest.models import InboundEvent
from tests.calls import ENDED, TRANSFER, sample

pytestmark = pytest.mark.django_db
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


@pytest.fixture
def reader():
    user = User.objects.create_user("prometheus")
    user.user_permissions.add(Permission.objects.get(codename="view_inboundevent"))
    client = Client(headers={"accept": OPENMETRICS})
    client.force_login(user)
    return client


def samples(answer):
    families = text_string_to_metric_families(answer.content.decode())
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


def test_they_tell_the_ledger_the_backlog_and_the_totals(arrive, drain, endpoint, reader):
    now = timezone.now()
    arrive(sample(ENDED), now)
    arrive(sample(ENDED), now)
    arrive(sample(TRANSFER, call_id="never opened"), now - timedelta(hours=30))
    drain()
    arrive(b"not JSON", now)
    inbox.refuse(endpoint, 401, "signature_mismatch", "", now)
    answer = reader.get("/api/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    told = samples(answer)
    age = told.pop(("voicelens_oldest_open_seconds", "retell", "waiting"))
    assert 30 * 3600 <= age < 31 * 3600
    assert told.pop(("voicelens_oldest_open_seconds", "retell", "received")) < 3600
    assert {key: value for key, value in told.items() if value or key[0] == "voicelens_ledger_difference"} == {
        ("voicelens_deliveries", "default", "retell", "processed"): 1,
        ("voicelens_deliveries", "default", "retell", "received"): 1,
        ("voicelens_deliveries_open", "retell", "received"): 1,
        ("voicelens_deliveries_open", "retell", "waiting"): 1,
        ("voicelens_ledger_difference", "default", "retell"): 0,
        ("voicelens_accepted_total", "retell"): 3,
        ("voicelens_repeated_total", "retell"): 1,
        ("voicelens_refused_total", "retell", "signature_mismatch"): 1,
    }


def test_a_lost_delivery_is_a_difference(arrive, reader):
    arrive(sample(ENDED), timezone.now())
    InboundEvent.objects.all().delete()
    assert samples(reader.get("/api/metrics"))["voicelens_ledger_difference", "default", "retell"] == 1


def test_they_are_for_those_who_may_see_deliveries(db):
    client = Client()
    assert client.get("/api/metrics").status_code == 401
    client.force_login(User.objects.create_user("somebody"))
    assert client.get("/api/metrics").status_code == 403
