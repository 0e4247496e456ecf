"""Providers in the admin, as an operator edits them: forms are posted, then rows are looked at."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.ingest.models import Message
from apps.providers import registry
from apps.providers.models import AuthConfig, Endpoint, MappingVersion, Provider
from apps.providers.sync import sync_catalog
from tests.admin.rows import retell
from tests.browser import action, added, filled, page, problems, text_of

pytestmark = pytest.mark.django_db


def test_saving_a_provider_keeps_the_edit_from_the_next_sync(operator: Client, catalogue: None) -> None:
    url = page(Provider, "change", retell().pk)
    answer = operator.post(url, filled(operator, url) | {"name": "Retell of ours"})
    assert answer.status_code == 302
    assert retell().edited_at is not None
    sync_catalog()
    assert retell().name == "Retell of ours"


@pytest.mark.parametrize("gone", [[], ["enabled"]], ids=["nothing changed", "switched off"])
def test_a_provider_whose_facts_were_left_alone_keeps_following_the_catalogue(
    gone: list[str], operator: Client, catalogue: None
) -> None:
    url = page(Provider, "change", retell().pk)
    data = filled(operator, url)
    for name in gone:
        del data[name]
    assert operator.post(url, data).status_code == 302
    assert retell().edited_at is None
    assert retell().enabled is not bool(gone)


def test_limits_are_ours_and_outlive_a_sync(operator: Client, catalogue: None) -> None:
    url = page(Provider, "change", retell().pk)
    limits = {"rate_per_min": "300", "rate_burst": "50", "allowed_addresses": '["203.0.113.0/24", "2001:db8::/32"]'}
    assert operator.post(url, filled(operator, url) | limits).status_code == 302
    assert retell().edited_at is None
    sync_catalog(("retell",))
    assert (retell().rate_per_min, retell().rate_burst) == (300, 50)
    assert retell().allowed_addresses == ["203.0.113.0/24", "2001:db8::/32"]


def test_an_edited_provider_can_follow_the_catalogue_again(operator: Client, catalogue: None) -> None:
    Provider.objects.filter(slug="retell").update(edited_at=timezone.now(), name="Edited")
    assert operator.post(action(retell(), "follow_catalogue")).status_code == 302
    sync_catalog()
    assert retell().name == "Retell AI"


def test_the_slug_of_a_provider_cannot_be_changed(operator: Client, catalogue: None) -> None:
    url = page(Provider, "change", retell().pk)
    operator.post(url, filled(operator, url) | {"slug": "other"})
    assert Provider.objects.filter(slug="retell").exists()


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("auth", '{"kind": "hmac"}', "header"),
        ("auth", "", "required"),
        ("auth", "{", "valid JSON"),
        ("pages", '[{"kind": "blog", "url": "https://example.com"}]', "kind"),
        ("pages", "NaN", "cannot be stored"),
        ("pages", '["\\u0000"]', "NUL"),
        ("pages", '["\\ud800"]', "cannot be stored"),
        ("pages", "[1e999]", "cannot be stored"),
        ("pages", "9" * 5000, "cannot be stored"),
        ("pages", "[" * 100_000, "cannot be stored"),
        ("setup", '{"secrets": "x"}', "secrets"),
        ("source_addresses", '["nowhere"]', "nowhere"),
        ("docs_url", "no url", "valid URL"),
        ("body_limit_bytes", "-1", "greater than or equal"),
        ("allowed_addresses", '["203.0.113.7/24"]', "host bits"),
        ("allowed_addresses", '["fe80::1%eth0"]', "zone"),
        ("rate_per_min", "-1", "greater than or equal"),
        ("rate_burst", "0", "greater than or equal"),
    ],
)
@pytest.mark.any_database
def test_a_provider_that_could_not_run_is_refused_at_the_field(
    field: str, value: str, problem: str, operator: Client, catalogue: None
) -> None:
    url = page(Provider, "change", retell().pk)
    answer = operator.post(url, filled(operator, url) | {field: value})
    assert answer.status_code == 200
    assert problem in str(answer.context["adminform"].form.errors[field])
    assert retell().edited_at is None


def test_an_emptied_json_field_is_stored_as_nothing_of_its_kind(operator: Client, catalogue: None) -> None:
    url = page(Provider, "change", retell().pk)
    assert operator.post(url, filled(operator, url) | {"pages": "", "setup": ""}).status_code == 302
    assert (retell().pages, retell().setup) == ([], {})


def test_a_provider_in_use_is_not_deleted(operator: Client, catalogue: None) -> None:
    url = page(Provider, "delete", retell().pk)
    refusal = operator.get(url)
    assert refusal.context["protected"]
    assert "retell/default" in text_of(refusal)
    operator.post(url, {"post": "yes"})
    assert Provider.objects.filter(slug="retell").exists()


def test_a_provider_is_added_with_mapping_and_endpoint_and_takes_calls(
    operator: Client, deliver: Any, drain: Any
) -> None:
    """All of it by configuration: what no catalogue file knows works too."""
    facts = {"slug": "newvoice", "name": "New Voice", "enabled": "on", "priority": "normal", "pages": "[]",
             "source_addresses": "[]", "setup": "{}", "sources": "[]",
             "auth": '{"kind": "token", "header": "X-Token"}'}  # fmt: skip
    assert operator.post(page(Provider, "add"), facts).status_code == 302
    provider = Provider.objects.get(slug="newvoice")
    assert provider.edited_at is not None

    operator.post(action(provider, "new_draft"))
    draft = provider.versions.get()
    assert draft.is_draft
    url = page(MappingVersion, "change", draft.pk)
    events = {"event": "done", "kind": "call_ended", "disposition": "map", "rank": "10", "opens_call": "on",
              "proves": "ended", "required": "[]", "optional": "[]", "answer": "", "example": "",
              "position": "0"}  # fmt: skip
    rule = {"source": "began", "target": "call.start_time", "transform": "epoch", "args": '{"unit": "s"}', "event": "*",
            "default": "", "position": "0"}  # fmt: skip
    data = filled(operator, url) | {"read": '{"event": "type", "call_id": "id"}'}
    answer = operator.post(url, data | added("webhook_schemas", events) | added("rules", rule))
    assert answer.status_code == 302, problems(answer)
    assert operator.post(action(draft, "publish")).status_code == 302

    new = {"provider": provider.pk, "slug": "default", "account": "default", "environment": "live", "enabled": "on",
           "allowed_addresses": "", "new_secret": "a token of the tests"}  # fmt: skip
    assert operator.post(page(Endpoint, "add"), new).status_code == 302
    assert AuthConfig.objects.get(endpoint__provider=provider).scheme == provider.auth
    registry.forget()
    payload = {"type": "done", "id": "n1", "began": 1772000000}
    assert deliver(payload, path="/webhook/newvoice", headers={"X-Token": "a token of the tests"}).status_code == 200
    drain()
    assert Message.objects.get().call_id == "n1"
