"""The registry's snapshot: when it is renewed, which secrets count when, and that none is ever told."""

import logging
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import transaction

from apps.providers import registry, vault
from apps.providers.checks import check_registry
from apps.providers.engine.prices import Rate
from apps.providers.models import AuthConfig, Endpoint, MappingVersion, Price, Provider, RegistryStamp, Secret
from apps.providers.publishing import draft_of, publish

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 17, tzinfo=UTC)
KEY_1 = "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
KEY_2 = "k2:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="


class Clock:
    """A process's clock that a test moves."""

    def __init__(self):
        self.sec = 1000.0

    def __call__(self):
        return self.sec


@pytest.fixture
def process(catalogue):
    """A process of its own: its holder of the snapshot, and its clock. Asking it gives the snapshot it runs on."""
    holder, clock = registry._Holder(), Clock()
    return lambda later_sec=0.0: (setattr(clock, "sec", clock.sec + later_sec), holder.current(clock))[1]


def add_secret(
    value: str, slug: str = "default", valid_until: datetime | None = None, provider: str = "retell"
) -> Secret:
    way = AuthConfig.objects.get(endpoint__slug=slug, endpoint__provider__slug=provider)
    secret = Secret(auth_config=way, valid_until=valid_until)
    secret.set_value(value)
    secret.save()
    return secret


def add_price(usd="4", valid_from=date(2026, 3, 1), valid_until=None) -> Price:
    provider = Provider.objects.get(slug="retell")
    return Price.objects.create(
        provider=provider, model="m-1", rate="text_in", usd=usd, valid_from=valid_from, valid_until=valid_until
    )


def values(slug="default", now=NOW, provider="retell"):
    registry.forget()
    (auth,) = registry.endpoint(provider, slug).auths
    return {secret.value for secret in auth.valid_secrets(now)}


# --- when a change takes effect -----------------------------------------------------------------------------


def test_a_change_takes_effect_after_half_a_second_and_not_by_asking_more_often(process):
    assert process().providers["retell"].name == "Retell AI"
    provider = Provider.objects.get(slug="retell")
    provider.name = "Retell renamed"
    provider.save()
    assert process(later_sec=0.4).providers["retell"].name == "Retell AI"
    assert process(later_sec=0.1).providers["retell"].name == "Retell renamed"


def test_a_snapshot_is_kept_while_nothing_changes(process, django_assert_num_queries):
    first = process()
    with django_assert_num_queries(0):
        assert process(later_sec=0.4) is first
    with django_assert_num_queries(1):
        assert process(later_sec=1) is first


@pytest.mark.parametrize(
    "change",
    [
        lambda: Provider.objects.get(slug="retell").save(),
        lambda: Endpoint.objects.get(provider__slug="retell", slug="default").save(),
        lambda: AuthConfig.objects.get(endpoint__slug="default", endpoint__provider__slug="retell").save(),
        lambda: add_secret("another"),
        lambda: Secret.objects.all()[0].delete(),
        lambda: publish(draft_of(MappingVersion.objects.get(provider__slug="retell"))),
        lambda: add_price(),
        lambda: add_price().delete(),
    ],
)
def test_every_change_of_the_registry_raises_its_stamp(catalogue, change):
    before = RegistryStamp.objects.get().value
    change()
    assert RegistryStamp.objects.get().value > before


def test_the_prices_of_a_model_are_those_of_the_day(catalogue):
    add_price("4", valid_until=NOW.date())
    add_price("3.5", valid_from=NOW.date())
    registry.forget()
    before = NOW - timedelta(seconds=1)
    assert registry.rates("retell", "m-1", before) == {"text_in": Rate(Decimal(4))}
    assert registry.rates("Retell", "m-1", NOW) == {"text_in": Rate(Decimal("3.5"))}
    assert registry.rates("retell", "m-1", datetime(2026, 2, 28, tzinfo=UTC)) is None
    assert registry.rates("retell", "m-2", NOW) is None
    assert registry.rates("vcp", "m-1", NOW) is None
    assert registry.rates("nobody", "m-1", NOW) is None


def test_a_change_that_is_rolled_back_leaves_the_stamp(catalogue):
    before = RegistryStamp.objects.get().value
    with transaction.atomic():
        add_secret("never kept")
        transaction.set_rollback(True)
    assert RegistryStamp.objects.get().value == before


def test_a_published_version_runs_after_the_stamp(process):
    version = MappingVersion.objects.get(provider__slug="retell")
    assert process().providers["retell"].version_id == version.pk
    draft = draft_of(version)
    assert process(later_sec=1).providers["retell"].version_id == version.pk
    publish(draft)
    assert process(later_sec=1).providers["retell"].version_id == draft.pk


def test_using_a_secret_is_noted_and_is_no_change(catalogue):
    secret, before = Secret.objects.first(), RegistryStamp.objects.get().value
    for minute in (0, 0.5, 2):
        registry.note_secret_used(str(secret.pk), NOW + timedelta(minutes=minute))
        noted = Secret.objects.get(pk=secret.pk).last_used_at
        assert noted == NOW + timedelta(minutes=0 if minute < 1 else minute)
    registry.note_secret_used(registry.ENV_SECRET, NOW)
    assert RegistryStamp.objects.get().value == before


# --- who is found -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", ["retell", "Retell", "RETELL"])
def test_providers_are_found_in_any_case(catalogue, slug):
    assert registry.provider(slug).slug == "retell"
    assert registry.endpoint(slug, "Default").name == "retell/default"


def test_what_is_not_there_is_none(catalogue):
    assert registry.provider("acme") is None
    assert registry.endpoint("retell", "acme") is None
    assert registry.endpoint("acme") is None


def test_a_provider_without_a_published_version_is_not_run(catalogue):
    MappingVersion.objects.filter(provider__slug="retell").update(state="retired")
    registry.forget()
    assert registry.provider("retell") is None
    assert registry.endpoint("retell") is None


@pytest.mark.parametrize(("model", "field"), [(Endpoint, "enabled"), (Provider, "enabled")])
def test_an_endpoint_is_open_while_it_and_its_provider_are_enabled(catalogue, model, field):
    assert registry.endpoint("retell").open
    model.objects.update(**{field: False})
    registry.forget()
    assert not registry.endpoint("retell").open


def test_an_endpoint_without_a_secret_is_closed_until_it_has_one(catalogue):
    Secret.objects.all().delete()
    registry.forget()
    assert not registry.endpoint("retell").open
    add_secret("now")
    registry.forget()
    assert registry.endpoint("retell").open


def test_a_scheme_that_someone_chose_to_be_none_needs_no_secret(catalogue):
    Secret.objects.all().delete()
    AuthConfig.objects.update(scheme={"kind": "none", "reason": "behind a VPN"})
    registry.forget()
    assert registry.endpoint("retell").open
    warnings = [message.id for message in check_registry(databases=["default"])]
    assert set(warnings) == {"providers.W001"}


def test_only_listed_addresses_are_allowed(catalogue):
    Endpoint.objects.filter(slug="default").update(allowed_addresses=["203.0.113.0/24"])
    registry.forget()
    endpoint = registry.endpoint("retell")
    assert endpoint.allows("203.0.113.9")
    assert not endpoint.allows("198.51.100.1")
    assert registry.endpoint("retell", "demo").allows("198.51.100.1")


# --- secrets ------------------------------------------------------------------------------------------------


def test_while_secrets_rotate_old_and_new_both_count(catalogue):
    Secret.objects.all().delete()
    add_secret("old", valid_until=NOW)
    add_secret("new")
    assert values(now=NOW - timedelta(microseconds=1)) == {"old", "new"}
    assert values(now=NOW) == {"new"}


def test_a_secret_of_the_environment_counts_beside_those_stored_for_the_default_endpoint_only(catalogue, settings):
    Secret.objects.filter(auth_config__endpoint__slug="default").delete()
    add_secret("stored")
    settings.WEBHOOK_SECRETS = {"retell": ["from env", "older"]}
    assert values() == {"stored", "from env", "older"}
    assert not {"from env", "older"} & values("demo")
    assert not {"from env", "older"} & values(provider="vcp")


def test_a_secret_of_the_environment_opens_an_endpoint_alone(catalogue, settings):
    Secret.objects.all().delete()
    settings.WEBHOOK_SECRETS = {"retell": ["from env"]}
    assert values() == {"from env"}
    assert registry.endpoint("retell").open
    assert not registry.endpoint("vcp").open


def test_a_disabled_way_of_proof_does_not_count(catalogue):
    AuthConfig.objects.filter(endpoint__slug="default").update(enabled=False)
    registry.forget()
    assert registry.endpoint("retell").auths == ()
    assert not registry.endpoint("retell").open


def test_a_secret_is_stored_encrypted_and_told_nowhere(catalogue, settings, caplog):
    caplog.set_level(logging.DEBUG)
    settings.WEBHOOK_SECRETS = {"retell": ["hush-from-env"]}
    row = add_secret("hush-stored")
    registry.forget()
    endpoint = registry.endpoint("retell")
    row.refresh_from_db()
    assert row.value() == "hush-stored"
    told = [repr(endpoint), str(endpoint), repr(registry._holder.snapshot), repr(row), str(row), row.ciphertext]
    told += [repr(vars(row)), caplog.text]
    assert not [text for text in told if "hush" in text]


def test_keys_rotate_without_a_gap(catalogue, settings):
    Secret.objects.all().delete()
    settings.FIELD_ENCRYPTION_KEYS = KEY_1
    old = add_secret("old")
    settings.FIELD_ENCRYPTION_KEYS = f"{KEY_2},{KEY_1}"
    new = add_secret("new")
    assert (old.key_id, new.key_id) == ("k1", "k2")
    assert values() == {"old", "new"}
    assert registry.verify_stored_secrets() == 2


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (KEY_2, "has no key 'k1'"),
        (KEY_2.replace("k2", "k1"), "'k1' in FIELD_ENCRYPTION_KEYS is not the one"),
    ],
)
def test_a_missing_key_stops_the_start_and_is_named(catalogue, settings, keys, problem):
    Secret.objects.all().delete()
    settings.FIELD_ENCRYPTION_KEYS = KEY_1
    add_secret("hush")
    settings.FIELD_ENCRYPTION_KEYS = keys
    with pytest.raises(vault.MissingKey, match=problem):
        registry.verify_stored_secrets()
    (error,) = [message for message in check_registry(databases=["default"]) if message.id == "providers.E001"]
    assert problem in error.msg
    assert "hush" not in error.msg


def test_in_a_running_process_a_secret_without_its_key_fails_closed_and_alone(catalogue, settings, caplog):
    Secret.objects.all().delete()
    settings.FIELD_ENCRYPTION_KEYS = KEY_1
    add_secret("hush")
    settings.FIELD_ENCRYPTION_KEYS = KEY_2
    add_secret("other", provider="vcp")
    assert values() == set()
    assert not registry.endpoint("retell").open
    assert registry.endpoint("vcp").open
    assert "has no key 'k1'" in caplog.text
    assert "hush" not in caplog.text


@pytest.mark.parametrize("keys", ["k1:short", "no colon", "k1:", ""])
def test_a_key_that_is_none_is_refused_and_named(settings, keys):
    settings.FIELD_ENCRYPTION_KEYS = keys
    with pytest.raises(Exception, match="FIELD_ENCRYPTION_KEYS: the key"):
        vault.encrypt("x")


# --- mappings of versions -----------------------------------------------------------------------------------


def test_the_mapping_of_a_version_in_use_is_compiled_once(catalogue):
    version = MappingVersion.objects.get(provider__slug="retell")
    assert registry.mapping_of_version(version.pk) is registry.provider("retell").mapping


def test_the_mapping_of_a_draft_is_not_kept(catalogue):
    draft = draft_of(MappingVersion.objects.get(provider__slug="retell"))
    with pytest.raises(LookupError, match="is a draft"):
        registry.mapping_of_version(draft.pk)
