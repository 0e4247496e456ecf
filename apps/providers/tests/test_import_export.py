"""A provider out of the database as its file and back in: nothing lost but comments, and nothing done unasked."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from apps.providers import catalog, importing
from apps.providers.catalog import CatalogError
from apps.providers.catalog.writing import write
from apps.providers.engine.spec import ProviderSpec
from apps.providers.exporting import export
from apps.providers.models import AuthConfig, Endpoint, MappingVersion, Provider, Secret
from apps.providers.publishing import SamplesFail
from apps.providers.sync import sync_catalog

MINIMAL = 'slug = "acme"\nname = "Acme"\n[auth]\nkind = "token"\n[mapping]\n'
EVENT = '[[mapping.events]]\nname = "done"\nkind = "call_ended"\ndisposition = "map"\n'
READ = '[mapping.read]\nevent = "type"\ncall_id = "id"\n'


def spec_of(text):
    return catalog.read(text, "acme.toml")


def with_mapping(**mapping):
    return ProviderSpec.model_validate({"slug": "acme", "name": "Acme", "auth": {"kind": "token"}, "mapping": mapping})


def with_rule(**more):
    return with_mapping(rules=[{"source": "a", "target": "hcr.summary", **more}])


def event(**more):
    return {"name": "done", "kind": "call_ended", "disposition": "map", **more}


# --- writing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", catalog.slugs())
def test_a_catalogue_file_is_written_as_what_it_was_read_from(slug):
    assert catalog.parse(write(catalog.load(slug)), f"{slug}.toml") == catalog.load(slug)


def test_a_written_file_has_a_table_for_each_part_and_small_objects_on_their_line():
    text = write(
        with_mapping(
            read={"call_id": ["id"]},
            rules=[{"source": "a", "target": "call.to", "transform": "text", "args": {"nothing": ["-"]}}],
        )
    )
    assert '[mapping.read]\ncall_id = ["id"]\n' in text
    rule = '[[mapping.rules]]\nsource = "a"\ntarget = "call.to"\ntransform = "text"\nargs = {nothing = ["-"]}\n'
    assert rule in text


@pytest.mark.parametrize(
    "text", ['"', "\\", "a\nb", "a\r\nb\n", "\n", '"""', "tab\there", "\x01\x7f", "ü – 🦜", "'''\n'''", " x "]
)
def test_any_text_survives(text):
    spec = with_rule(transform="template", args={"text": text})
    assert catalog.read(write(spec.model_copy(update={"notes": text})), "x").notes == text
    assert catalog.read(write(spec), "x") == spec


@pytest.mark.parametrize(
    "value", [True, 0, -1, 1.0, 1e300, 10**15, [], {}, [[1], ["a"]], [{"a": {"b c": 1}}], {"x.y": []}]
)
def test_any_json_but_null_survives(value):
    spec = with_rule(transform="constant", args={"value": value})
    back = catalog.read(write(spec), "x").mapping.rules[0].args["value"]
    assert (back, type(back)) == (value, type(value))


def test_examples_lose_their_nulls_which_say_nothing():
    spec = with_mapping(events=[event(example={"a": None, "b": [None, {"c": None, "d": 1}]})])
    assert catalog.read(write(spec), "x").mapping.events[0].example == {"b": [{"d": 1}]}


def test_a_null_elsewhere_is_refused_with_its_place():
    with pytest.raises(CatalogError, match=r"mapping\.events\.0\.answer\.result is null"):
        write(with_mapping(events=[event(answer={"result": None})]))


# --- reading --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("slug = ", "acme.toml: Invalid value (at end of document)"),
        ('a = 1\nslug = "x\n', "line 2"),
        (MINIMAL + EVENT + EVENT.replace('"map"', '"keep"'), "mapping.events.1.disposition"),
        (MINIMAL + EVENT + EVENT.replace('"map"', '"keep"'), "(see line 10)"),
        (
            MINIMAL + '[[mapping.decisions]]\ntarget = "call.to"\n[[mapping.decisions.rows]]\nwhen = {}\nvalue = "x"\n'
            '[[mapping.decisions]]\ntarget = "call.from"\n[[mapping.decisions.rows]]\nwhen = {}\n',
            "mapping.decisions.1.rows.0.value: Field required (see line 13)",
        ),
        (MINIMAL + EVENT + "example = { minutes = nan }", "mapping.events.0.example.minutes is nan: only finite"),
        (MINIMAL + EVENT + "example = [-inf]", "mapping.events.0.example.0 is -inf"),
        (MINIMAL.replace("Acme", "Ac\\u0000me"), "name holds a NUL character"),
        (MINIMAL + EVENT + 'example = { a = { "b\\u0000" = 1 } }', "mapping.events.0.example.a holds a NUL character"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_told_with_line_or_field(text, problem):
    with pytest.raises(CatalogError) as raised:
        spec_of(text)
    assert problem in str(raised.value)


# --- into the database ------------------------------------------------------------------------------------------


@pytest.fixture
def acme(db):
    provider, version = importing.carry_out(importing.plan(MINIMAL + READ + EVENT), publish=True)
    assert version.state == MappingVersion.State.PUBLISHED
    return provider


def test_a_new_provider_comes_with_a_closed_endpoint_and_a_draft(db):
    plan = importing.plan(MINIMAL + READ + EVENT)
    assert plan.lines() == ["acme is new"]
    provider, version = importing.carry_out(plan)
    assert (version.state, version.origin, version.to_spec()) == ("draft", "admin", plan.spec.mapping)
    assert provider.edited_at is not None
    assert AuthConfig.objects.get().endpoint == Endpoint.objects.get(provider=provider, slug="default")
    assert not Secret.objects.exists()


def test_planning_writes_nothing(acme):
    before = (Provider.objects.get().last_updated, MappingVersion.objects.count())
    plan = importing.plan(MINIMAL.replace("Acme", "Other") + READ)
    assert plan.lines() == ["name changes", "events: removed done"]
    assert (Provider.objects.get().last_updated, MappingVersion.objects.count()) == before


def test_the_same_file_again_changes_nothing(acme):
    plan = importing.plan(MINIMAL + READ + EVENT)
    assert plan.changes_nothing
    assert importing.carry_out(plan) == (acme, None)
    assert MappingVersion.objects.count() == 1


def test_a_changed_file_writes_the_facts_and_leaves_what_is_in_force(acme):
    plan = importing.plan(MINIMAL.replace('"Acme"', '"Acme 2"') + READ + EVENT + "rank = 7\n")
    assert plan.lines() == ["name changes", "events: changed done"]
    provider, version = importing.carry_out(plan)
    assert (provider.name, version.number, version.state, provider.published.number) == ("Acme 2", 2, "draft", 1)
    assert Endpoint.objects.count() == 1


def test_a_mapping_that_its_samples_refute_changes_nothing_at_all(acme):
    bad = EVENT + 'opens_call = true\nexample = { type = "done" }\n'
    with pytest.raises(SamplesFail, match="no call id found"):
        importing.carry_out(importing.plan(MINIMAL.replace('"Acme"', '"Acme 2"') + READ + bad), publish=True)
    assert Provider.objects.get().name == "Acme"
    assert MappingVersion.objects.count() == 1


def test_a_published_mapping_that_no_longer_holds_together_can_be_replaced(acme):
    MappingVersion.objects.update(read={"event": ["a..b"]})
    assert not importing.plan(MINIMAL + READ + EVENT).changes_nothing


def test_a_sync_leaves_an_imported_provider_as_it_is(db):
    importing.carry_out(importing.plan(write(catalog.load("vcp")).replace(catalog.load("vcp").name, "Ours")))
    sync_catalog(("vcp",))
    assert Provider.objects.get().name == "Ours"


# --- out of it --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", catalog.slugs())
def test_a_provider_of_the_database_is_exported_as_its_file(slug, db):
    sync_catalog((slug,))
    text = export(Provider.objects.get().published)
    assert catalog.parse(text, f"{slug}.toml") == catalog.load(slug)
    assert importing.plan(text).changes_nothing


def test_a_provider_that_could_not_be_read_back_is_not_exported(acme):
    acme.body_limit_bytes = 1
    acme.save()
    with pytest.raises(CatalogError, match="acme v1: body_limit_bytes"):
        export(acme.published)


# --- the commands -------------------------------------------------------------------------------------------------


def run(*args):
    out = StringIO()
    call_command(*args, stdout=out)
    return out.getvalue()


def test_the_commands_take_out_and_bring_in(acme, tmp_path):
    file = tmp_path / "acme.toml"
    file.write_text(run("export_provider", "acme"))
    assert run("import_provider", str(file)) == "nothing changes\n"
    file.write_text(file.read_text().replace('"Acme"', '"Acme 2"') + "rank = 3\n")
    assert run("import_provider", str(file)) == (
        "name changes\nevents: changed done\n"
        "acme v2 is a draft: try and publish it in the admin, or import with --publish\n"
    )
    assert "rank = 3" in run("export_provider", "acme", "--version", "2")
    assert "rank" not in run("export_provider", "acme")
    assert "acme v3 is in force" in run("import_provider", str(file), "--publish")
    assert "rank = 3" in run("export_provider", "acme")


def test_a_new_provider_is_told_what_it_lacks(db, tmp_path):
    file = tmp_path / "acme.toml"
    file.write_text(MINIMAL + READ + EVENT)
    assert "enter the secret of acme/default in the admin" in run("import_provider", str(file))


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (("export_provider", "nobody"), "unknown provider 'nobody'; known: acme"),
        (("export_provider", "acme", "--version", "9"), "acme has no version 9; there are: 1"),
        (("import_provider", "/no/such/file.toml"), "cannot be read"),
    ],
)
def test_a_command_that_cannot_be_done_says_why(args, problem, acme):
    with pytest.raises(CommandError, match=problem):
        run(*args)


def test_an_export_needs_a_version(db):
    Provider.objects.create(slug="bare", name="Bare", auth={"kind": "token"})
    with pytest.raises(CommandError, match="bare has no published version"):
        run("export_provider", "bare")


def test_a_file_that_cannot_be_used_is_told_with_its_name(db, tmp_path):
    file = tmp_path / "acme.toml"
    file.write_text(MINIMAL + EVENT.replace('"map"', '"keep"'))
    with pytest.raises(CommandError, match=r"acme\.toml: mapping\.events\.0\.disposition.*see line 6"):
        run("import_provider", str(file))
    assert not Provider.objects.exists()
