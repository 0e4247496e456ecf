"""A provider that the catalogue does not know, added by its TOML alone and by the admin alone: no code knows of it.

Parrotline is invented: paths with blanks and signs, minutes, cents, end words and a signature of its own.
"""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from apps.ingest import tasks
from apps.ingest.models import Artifact, InboundEvent, Message
from apps.providers import catalog, registry
from apps.providers.comparing import differences
from apps.providers.engine.signatures import sign
from apps.providers.models import Endpoint, MappingVersion, Provider
from apps.providers.sync import sync_catalog
from tests.browser import action, added, filled, page, problems, said_after, text_of

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]

FILE = Path(__file__).parent / "data" / "parrotline.toml"
NEST_KEY = "the nest key of the tests"
LOG = {"No.": "PL-0042", "took off": "2026-03-16T10:00:30+01:00"}
TOOK_OFF = {"squawk": "flight.took_off", "sent": 1773651630, "flight-log": LOG}
LANDED = {
    "squawk": "flight.landed",
    "sent": 1773651842,
    "nest_key": "never to be stored",
    "flight-log": {
        **LOG,
        "airborne minutes": "3.5",
        "roost": {"way": "homing", "caller": "0041 44 668 18 00", "called": "+41446681801"},
        "fare": {"cents": 87},
        "brain": "gpt-5-mini",
        "chatter": [{"who": "owner", "squawked": "Polly?"}, {"who": "bird", "squawked": "Hello!"}],
        "why_perched": "cat-at-the-window",
        "feathers": 7,
    },
}
REVIEWED = {
    "squawk": "flight.reviewed",
    "sent": 1773652000,
    "flight-log": {**LOG, "vet": {"mood": 2, "verdict": "Shaken. Cut short by a cat."}},
}
FEATHER = {"squawk": "feather.moulted", "sent": 1773652001, "colour": "green"}
# Every field of the message that Parrotline's words decide, by hand.
EXPECTED = {
    "call.call_id": "PL-0042",
    "call.provider": "parrotline",
    "call.start_time": "2026-03-16T09:00:30.000Z",
    "call.end_time": "2026-03-16T09:04:00.000Z",
    "call.duration_sec": 210,
    "call.channel": "phone",
    "call.direction": "inbound",
    "call.from": "+41446681800",
    "call.to": "+41446681801",
    "model_selection.roles.LLM.chosen": "gpt-5-mini",
    "outcomes.objective.status": "failure",
    "outcomes.objective.metrics.disconnect_reason": "cat-at-the-window",
    "outcomes.user_satisfaction_score": 0.25,
    "outcomes.model_outcome_attribution.total_cost_usd": 0.87,
    "outcomes.model_outcome_attribution.kpis.cost_native": 87,
    "outcomes.model_outcome_attribution.kpis.cost_native_unit": "us_cents",
    "hcr.outcome_status": "failure",
    "hcr.summary": "Shaken. Cut short by a cat.",
    "hcr.headline": "Shaken",
}


def enter_the_secret(operator: Client) -> None:
    url = page(Endpoint, "change", Endpoint.objects.get(provider__slug="parrotline", slug="default").pk)
    answer = operator.post(url, filled(operator, url) | {"new_secret": NEST_KEY}, follow=True)
    assert "The secret was stored. It is not shown again." in said_after(answer)
    registry.forget()


# --- four ways in --------------------------------------------------------------------------------------------------


def by_the_catalogue(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file lies in the catalogue's folder, and a start brings it in."""
    monkeypatch.setattr(catalog, "FOLDER", FILE.parent)
    catalog.load.cache_clear()
    sync_catalog()
    catalog.load.cache_clear()


def by_the_command(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    call_command("import_provider", str(FILE), "--publish", stdout=StringIO())


def by_the_import_page(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{page(Provider, 'changelist')}import/"
    with FILE.open("rb") as file:
        checked = operator.post(url, {"file": file})
    assert "is new. It gets an endpoint" in text_of(checked)
    assert not Provider.objects.exists()
    operator.post(url, {"text": checked.context["text"], "confirmed": "yes"})
    operator.post(action(MappingVersion.objects.get(), "publish"))


def by_the_admin(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but forms filled in: provider, endpoint, draft with events and rules, a try, publishing."""
    spec = catalog.read(FILE.read_text(), FILE.name)
    url = page(Provider, "add")
    facts = {"slug": spec.slug, "name": spec.name, "auth": spec.auth.model_dump_json()}
    answer = operator.post(url, filled(operator, url) | facts, follow=True)
    assert answer.status_code == 200
    provider = Provider.objects.get()
    assert answer.redirect_chain[-1][0] == page(Provider, "change", provider.pk)
    assert "Before it takes calls" in text_of(answer)

    url = f"{page(Endpoint, 'add')}?provider={provider.pk}"
    answer = operator.post(url, filled(operator, url) | {"provider": str(provider.pk)}, follow=True)
    assert "/webhook/parrotline" in text_of(answer)

    operator.post(action(provider, "new_draft"))
    draft = MappingVersion.objects.get()
    url = page(MappingVersion, "change", draft.pk)
    answer = operator.post(url, filled(operator, url) | _typed(spec.mapping))
    assert answer.status_code == 302, problems(answer)

    tried = operator.post(action(draft, "try_it"), {"payload": json.dumps([LANDED, REVIEWED])})
    assert not tried.context["tried"].errors
    assert tried.context["tried"].message["vcp_payload"]["call"]["duration_sec"] == 210
    operator.post(action(draft, "publish"))


def _typed(mapping: Any) -> dict[str, str]:
    """What somebody types into the form of an empty draft."""
    data = mapping.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    typed = {name: json.dumps(data[name]) for name in ("read", "decisions", "redact")} | {"end_from_duration": "on"}
    for at, row in enumerate(data["events"]):
        typed |= added("webhook_schemas", _row({"event": row.pop("name"), "rank": 0, **row}, at), at)
    for at, row in enumerate(data["rules"]):
        typed |= added("rules", _row({"transform": "same", "event": "*", **row}, at), at)
    return typed


def _row(row: dict[str, Any], position: int) -> dict[str, str]:
    """Ticked boxes are sent as `on`, texts as they are, anything else as JSON."""
    told = {name: "on" if value is True else value for name, value in row.items()} | {"position": position}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in told.items()}


WAYS = [by_the_catalogue, by_the_command, by_the_import_page, by_the_admin]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def parrotline(request: Any, operator: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Parrotline is there, its mapping in force and its secret known; posts a payload as Parrotline would."""
    request.param(operator, monkeypatch)
    enter_the_secret(operator)
    scheme = catalog.read(FILE.read_text(), FILE.name).auth

    def post(payload: Any, *, secret: str = NEST_KEY, at: datetime | None = None) -> Any:
        body = json.dumps(payload).encode()
        headers = sign(scheme, secret, body, at or timezone.now())
        return Client().generic("POST", "/webhook/parrotline", body, "application/json", headers=headers)

    yield post
    catalog.load.cache_clear()


def at(message: dict[str, Any], path: str) -> Any:
    node: Any = message["vcp_payload"]
    for name in path.split("."):
        node = node[name]
    return node


# --- and the same calls ----------------------------------------------------------------------------------------------


def test_a_signed_call_becomes_the_message_that_its_words_say(parrotline: Callable[..., Any]) -> None:
    assert [parrotline(one).status_code for one in (REVIEWED, TOOK_OFF, LANDED, FEATHER)] == [200] * 4
    tasks.drain()
    message = Message.objects.get()
    assert {path: at(message.vcp, path) for path in EXPECTED} == EXPECTED
    assert (message.stage, message.status, message.duration_sec) == ("analysed", "failure", 210)
    assert at(message.vcp, "call.caller_id").startswith("psn_")
    assert at(message.vcp, "custom.provider_specific.parrotline.data")["flight-log"]["feathers"] == 7
    assert Artifact.objects.get().content == [
        {"speaker": "caller", "text": "Polly?"},
        {"speaker": "agent", "text": "Hello!"},
    ]
    assert message.vcp["audit"]["validation_errors"] == []
    assert dict(InboundEvent.objects.values_list("event", "state"))["feather.moulted"] == "ignored"
    assert not any(b"never to be stored" in bytes(row.body) for row in InboundEvent.objects.all())


def test_a_forged_or_stale_delivery_is_refused(parrotline: Callable[..., Any]) -> None:
    assert parrotline(LANDED, secret="another key").status_code == 401
    assert parrotline(LANDED, at=timezone.now() - timedelta(hours=1)).status_code == 401
    assert not InboundEvent.objects.exists()


def test_whichever_way_it_came_its_mapping_is_that_of_the_file(parrotline: Callable[..., Any]) -> None:
    published = Provider.objects.get(slug="parrotline").published
    assert published is not None
    assert differences(catalog.read(FILE.read_text(), FILE.name).mapping, published.to_spec()) == []
