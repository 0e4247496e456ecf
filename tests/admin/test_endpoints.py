"""Endpoints and their secrets in the admin: forms are posted, then rows are looked at."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.history.models import Change
from apps.providers import registry
from apps.providers.models import AuthConfig, Endpoint, MappingVersion, Provider, RegistryStamp, Secret
from apps.providers.sync import sync_catalog
from tests.admin.rows import default_endpoint, endpoint_url, every_page
from tests.browser import filled, page, problems, said_after, text_of
from tests.calls import ENDED, SECRET, sample

pytestmark = pytest.mark.django_db


@pytest.mark.any_database
def test_an_endpoint_tells_how_to_set_it_up(operator: Client, db: None, settings: Any) -> None:
    settings.PUBLIC_BASE_URL = "https://voice.example.com"
    sync_catalog()
    shown = text_of(operator.get(endpoint_url()))
    assert 'value="https://voice.example.com/webhook/retell"' in shown
    assert "the key with the “webhook” badge" in shown
    assert "<code>call_analyzed</code>" in shown
    assert "It has no secret yet" in shown
    assert "Last accepted</dt> <dd>nothing yet" in shown


def test_an_endpoint_shows_its_last_accepted_and_refused_delivery(operator: Client, calls: None, deliver: Any) -> None:
    for _ in range(3):
        deliver({"event": "x"}, headers={"X-Retell-Signature": "v=1,d=" + "0" * 64})
    deliver({"event": "x"}, headers={})
    shown = text_of(operator.get(endpoint_url()))
    assert "Deliveries with a valid proof are taken." in shown
    assert "header_missing: header X-Retell-Signature is missing or empty" in shown
    assert "3 × signature_mismatch, 1 × header_missing" in shown
    assert "transfer_started" in shown


@pytest.mark.parametrize(
    ("arrange", "why"),
    [
        (lambda: Provider.objects.update(enabled=False), "The provider is switched off."),
        (lambda: Endpoint.objects.update(enabled=False), "The endpoint is switched off."),
        (lambda: Secret.objects.all().delete(), "It has no secret yet"),
        (lambda: Secret.objects.update(valid_until=timezone.now() - timedelta(days=1)), "Every secret has ended"),
        (
            lambda: AuthConfig.objects.update(scheme={"kind": "none", "reason": "a trial"}),
            "Nobody has to prove anything",
        ),
        (lambda: MappingVersion.objects.update(state="retired"), "no published mapping"),
        (lambda: Secret.objects.update(key_id="lost"), "FIELD_ENCRYPTION_KEYS has no key"),
    ],
    ids=["provider off", "endpoint off", "no secret", "all ended", "scheme none", "no mapping", "key lost"],
)
@pytest.mark.any_database
def test_an_endpoint_says_why_it_takes_nothing(
    arrange: Callable[[], Any], why: str, operator: Client, catalogue: None
) -> None:
    arrange()
    assert why in text_of(operator.get(endpoint_url()))
    assert operator.get(page(Endpoint, "changelist")).status_code == 200
    assert operator.get(reverse("admin:index")).status_code == 200


@pytest.mark.any_database
def test_an_entered_secret_opens_the_endpoint_and_is_never_shown(operator: Client, db: None, deliver: Any) -> None:
    Secret.objects.all().delete()
    registry.forget()
    assert deliver(sample(ENDED)).status_code == 401
    stamp = RegistryStamp.objects.get().value
    data = filled(operator, endpoint_url()) | {"new_secret": SECRET, "secret_label": "since March"}
    answer = operator.post(endpoint_url(), data, follow=True)
    assert "The secret was stored. It is not shown again." in said_after(answer)
    assert RegistryStamp.objects.get().value > stamp
    stored = Secret.objects.get()
    assert stored.value() == SECRET
    registry.forget()
    assert deliver(sample(ENDED)).status_code == 200
    for url in every_page():
        shown = operator.get(url).content.decode()
        assert SECRET not in shown, url
        assert stored.ciphertext not in shown, url
    assert not [change for change in Change.objects.all() if SECRET in str(change.changes)]


@pytest.mark.any_database
def test_a_refused_form_does_not_bring_the_secret_back(operator: Client, catalogue: None) -> None:
    data = filled(operator, endpoint_url()) | {"new_secret": "mistyped-secret-1", "allowed_addresses": "nonsense"}
    answer = operator.post(endpoint_url(), data)
    assert answer.status_code == 200
    assert "mistyped-secret-1" not in answer.content.decode()
    assert Secret.objects.filter(auth_config__endpoint=default_endpoint()).count() == 1


@pytest.mark.any_database
def test_a_secret_that_its_scheme_cannot_use_is_refused(operator: Client, catalogue: None) -> None:
    way = AuthConfig.objects.get(endpoint=default_endpoint())
    way.scheme = way.scheme | {"secret_encoding": "base64"}
    way.save()
    answer = operator.post(endpoint_url(), filled(operator, endpoint_url()) | {"new_secret": "no base64!"})
    assert "it is to be base64" in str(answer.context["adminform"].form.errors["new_secret"])
    way.scheme = {"kind": "none", "reason": "a trial"}
    way.save()
    answer = operator.post(endpoint_url(), filled(operator, endpoint_url()) | {"new_secret": "anything"})
    assert "needs no secret" in str(answer.context["adminform"].form.errors["new_secret"])


@pytest.mark.parametrize(
    ("choice", "ends_within"),
    [("", None), ("0", timedelta(0)), ("3600", timedelta(hours=1)), ("604800", timedelta(days=7))],
)
@pytest.mark.any_database
def test_a_rotation_says_when_the_older_secrets_end(
    choice: str, ends_within: timedelta | None, operator: Client, catalogue: None
) -> None:
    before = timezone.now()
    data = filled(operator, endpoint_url()) | {"new_secret": "the next secret", "older_end": choice}
    operator.post(endpoint_url(), data)
    old, new = Secret.objects.filter(auth_config__endpoint=default_endpoint()).order_by("created_at")
    assert new.valid_until is None
    if ends_within is None:
        assert old.valid_until is None
    else:
        assert old.valid_until is not None
        assert before + ends_within <= old.valid_until <= timezone.now() + ends_within


def test_a_secret_goes_to_the_chosen_auth_config(operator: Client, catalogue: None) -> None:
    second = AuthConfig.objects.create(
        endpoint=default_endpoint(), name="token", scheme={"kind": "token", "header": "X-Token"}
    )
    data = filled(operator, endpoint_url()) | {"new_secret": "for the token", "secret_for": str(second.pk)}
    operator.post(endpoint_url(), data)
    assert second.secrets.get().value() == "for the token"


def test_a_secret_is_not_stored_for_an_auth_config_deleted_with_it(operator: Client, catalogue: None) -> None:
    data = filled(operator, endpoint_url()) | {"new_secret": "too late", "auth_configs-0-DELETE": "on"}
    answer = operator.post(endpoint_url(), data, follow=True)
    assert any("was not stored" in text for text in said_after(answer))
    assert not Secret.objects.filter(auth_config__endpoint=default_endpoint()).exists()


def test_a_secret_can_be_deleted_and_leads_back_to_its_endpoint(operator: Client, catalogue: None) -> None:
    secret = Secret.objects.get(auth_config__endpoint=default_endpoint())
    assert f'href="{page(Secret, "delete", secret.pk)}"' in operator.get(endpoint_url()).content.decode()
    answer = operator.post(page(Secret, "delete", secret.pk), {"post": "yes"})
    assert answer["Location"] == endpoint_url()
    assert not Secret.objects.filter(pk=secret.pk).exists()


def test_changing_endpoints_does_not_allow_entering_secrets(catalogue: None) -> None:
    helper = User.objects.create_user("hans", is_staff=True)
    names = ("view_endpoint", "change_endpoint", "view_authconfig")
    helper.user_permissions.set(Permission.objects.filter(codename__in=names))
    browser = Client()
    browser.force_login(helper)
    data = filled(browser, endpoint_url())
    assert "new_secret" not in data
    browser.post(endpoint_url(), data | {"new_secret": "slipped in"})
    assert Secret.objects.filter(auth_config__endpoint=default_endpoint()).count() == 1


@pytest.mark.parametrize(
    ("scheme", "problem"), [('{"kind": "hmac"}', "header"), ("[]", "required"), ('{"kind": "magic"}', "magic")]
)
@pytest.mark.any_database
def test_an_auth_scheme_that_cannot_work_is_refused(
    scheme: str, problem: str, operator: Client, catalogue: None
) -> None:
    answer = operator.post(endpoint_url(), filled(operator, endpoint_url()) | {"auth_configs-0-scheme": scheme})
    assert problem in " ".join(problems(answer))


def test_provider_and_slug_of_an_endpoint_cannot_be_changed(operator: Client, catalogue: None) -> None:
    vcp = Provider.objects.get(slug="vcp")
    operator.post(endpoint_url(), filled(operator, endpoint_url()) | {"slug": "other", "provider": vcp.pk})
    assert default_endpoint().provider.slug == "retell"


def test_an_endpoint_with_deliveries_cannot_be_deleted_and_an_unused_one_can(operator: Client, calls: None) -> None:
    assert operator.post(page(Endpoint, "delete", default_endpoint().pk), {"post": "yes"}).status_code == 403
    unused = Endpoint.objects.get(provider__slug="retell", slug="demo")
    assert operator.post(page(Endpoint, "delete", unused.pk), {"post": "yes"}).status_code == 302
    assert not Endpoint.objects.filter(pk=unused.pk).exists()
