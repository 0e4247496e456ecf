"""The catalogue into the database: new files, changed files, and what an operator edited."""

import pytest

from apps.providers import catalog, publishing, registry, sync
from apps.providers.models import AuthConfig, Endpoint, Environment, MappingVersion, Provider, Secret

pytestmark = pytest.mark.django_db
State, Origin = MappingVersion.State, MappingVersion.Origin
EVERY_SLUG = catalog.slugs()


@pytest.fixture(autouse=True)
def _two_files(monkeypatch):
    """Of the whole catalogue only what the `catalogue` fixture brings in: the others would only take their time."""
    monkeypatch.setattr(catalog, "slugs", lambda: ["retell", "vcp"])


@pytest.fixture
def files(monkeypatch):
    """The catalogue's files as the test wants them: change(name, mapping=..., facts=...) edits retell's."""
    specs = {slug: catalog.load(slug) for slug in catalog.slugs()}
    monkeypatch.setattr(catalog, "load", lambda slug: specs[slug])

    def change(**facts):
        specs["retell"] = specs["retell"].model_copy(update=facts)

    def change_mapping(**parts):
        change(mapping=specs["retell"].mapping.model_copy(update=parts))

    change.mapping = change_mapping
    return change


def retell():
    return Provider.objects.get(slug="retell")


def versions():
    return list(retell().versions.order_by("number").values_list("number", "state", "origin"))


def edit_and_publish(draft):
    """What an operator does: change a rule of a draft and put it in force."""
    rule = draft.rules.get(target="call.to")
    rule.keep = not rule.keep
    rule.save()
    publishing.publish(draft)


def test_an_empty_database_gets_every_provider_and_says_so(monkeypatch):
    monkeypatch.setattr(catalog, "slugs", lambda: EVERY_SLUG)
    report = sync.sync_catalog()
    assert report.created == catalog.slugs()
    assert [version.digest for version in MappingVersion.objects.order_by("provider__slug")] == [
        publishing.digest(catalog.load(slug).mapping) for slug in catalog.slugs()
    ]
    assert report.published == [f"{slug} v1" for slug in catalog.slugs()]
    assert "created retell" in report.lines()


def test_a_second_time_nothing_happens(catalogue):
    before = list(MappingVersion.objects.values_list("pk", "state")), Secret.objects.count()
    assert sync.sync_catalog().lines() == []
    assert (list(MappingVersion.objects.values_list("pk", "state")), Secret.objects.count()) == before


def test_each_provider_gets_a_live_endpoint_without_and_a_demo_endpoint_with_a_secret(db):
    sync.sync_catalog()
    for provider in Provider.objects.all():
        ways = AuthConfig.objects.filter(endpoint__provider=provider)
        assert {way.endpoint.slug: way.endpoint.environment for way in ways} == {
            "default": Environment.LIVE,
            "demo": Environment.DEMO,
        }
        assert all(way.scheme == provider.auth for way in ways)
    assert set(Secret.objects.values_list("auth_config__endpoint__slug", flat=True)) == {"demo"}
    registry.forget()
    assert registry.endpoint("retell", "demo").open
    assert not registry.endpoint("retell").open


def test_an_endpoint_that_was_changed_or_whose_secret_was_deleted_is_left_alone(catalogue):
    Secret.objects.all().delete()
    Endpoint.objects.filter(slug="demo").update(enabled=False)
    AuthConfig.objects.update(scheme={"kind": "token"})
    sync.sync_catalog()
    assert Secret.objects.count() == 0
    assert not Endpoint.objects.filter(slug="demo", enabled=True).exists()
    assert all(way.scheme == {"kind": "token"} for way in AuthConfig.objects.all())


# --- facts --------------------------------------------------------------------------------------------------


def test_changed_facts_are_taken_over(catalogue, files):
    files(name="Retell the second")
    assert sync.sync_catalog().updated == ["retell"]
    assert retell().name == "Retell the second"


def test_facts_that_somebody_edited_stay_and_it_is_said(catalogue, files, django_assert_num_queries):
    Provider.objects.filter(slug="retell").update(name="Ours", edited_at="2026-01-01T00:00:00Z")
    files(name="Retell the second")
    report = sync.sync_catalog()
    assert (report.updated, report.edited) == ([], ["retell"])
    assert retell().name == "Ours"
    assert "kept as edited here: retell" in report.lines()


# --- mappings -----------------------------------------------------------------------------------------------


def test_a_changed_mapping_is_published_over_an_unedited_one(catalogue, files):
    files.mapping(end_from_duration=True)
    assert sync.sync_catalog().published == ["retell v2"]
    assert versions() == [(1, State.RETIRED, Origin.CATALOGUE), (2, State.PUBLISHED, Origin.CATALOGUE)]
    assert retell().published.to_spec().end_from_duration


def test_over_an_edited_mapping_a_changed_one_is_left_as_a_draft_and_reported_once(catalogue, files):
    edit_and_publish(publishing.draft_of(retell().published))
    files.mapping(end_from_duration=True)
    report = sync.sync_catalog()
    assert (report.published, report.drafts) == ([], ["retell v3"])
    assert versions() == [
        (1, State.RETIRED, Origin.CATALOGUE),
        (2, State.PUBLISHED, Origin.ADMIN),
        (3, State.DRAFT, Origin.CATALOGUE),
    ]
    assert "left as a draft: retell v3 (the published version was edited here; compare and publish)" in report.lines()
    assert sync.sync_catalog().lines() == []


def test_an_edited_mapping_without_a_changed_file_is_left_alone(catalogue):
    edit_and_publish(publishing.draft_of(retell().published))
    assert sync.sync_catalog().lines() == []
    assert retell().published.number == 2


def test_a_draft_that_was_published_as_it_came_follows_the_catalogue_again(catalogue, files):
    edit_and_publish(publishing.draft_of(retell().published))
    files.mapping(end_from_duration=True)
    sync.sync_catalog()
    publishing.publish(retell().versions.get(number=3))
    files.mapping(end_from_duration=False, leftovers=catalog.load("vcp").mapping.leftovers)
    assert sync.sync_catalog().published == ["retell v4"]


def test_a_catalogue_draft_that_was_edited_and_published_is_never_published_over(catalogue, files):
    edit_and_publish(publishing.draft_of(retell().published))
    files.mapping(end_from_duration=True)
    sync.sync_catalog()
    edit_and_publish(retell().versions.get(number=3))
    assert retell().published.origin == Origin.ADMIN
    files.mapping(end_from_duration=False, leftovers=catalog.load("vcp").mapping.leftovers)
    report = sync.sync_catalog()
    assert (report.published, report.drafts) == ([], ["retell v4"])
    assert retell().published.number == 3


def test_what_was_undone_is_not_published_again_without_a_changed_file(catalogue, files):
    files.mapping(end_from_duration=True)
    sync.sync_catalog()
    publishing.undo(retell())
    assert sync.sync_catalog().lines() == []
    assert retell().published.number == 1


def test_a_file_that_cannot_be_used_changes_nothing(monkeypatch):
    def broken(slug):
        if slug == catalog.slugs()[-1]:
            raise catalog.CatalogError("vcp.toml: broken")
        return catalog.parse((catalog.FOLDER / f"{slug}.toml").read_text(), f"{slug}.toml")

    monkeypatch.setattr(catalog, "load", broken)
    with pytest.raises(catalog.CatalogError):
        sync.sync_catalog()
    assert not Provider.objects.exists()
