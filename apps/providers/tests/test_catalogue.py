"""The catalogue's contract, for every provider file and every sample of it; a new provider gets it for free."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import permutations

import pytest
from django.core.management import CommandError, call_command
from pydantic import ValidationError

from apps.providers import catalog, golden
from apps.providers.catalog import CatalogError
from apps.providers.engine.errors import EngineError
from apps.providers.engine.mapping import Mapping
from apps.providers.engine.payload import parse
from apps.providers.engine.signatures import HmacScheme, NoneScheme, Secret, SignedRequest, sign, url_tail, verify
from apps.providers.engine.spec import ProviderSpec
from apps.providers.models import MappingVersion, Provider
from apps.providers.sync import sync_catalog
from vcp import validate

NOW = datetime(2026, 3, 17, tzinfo=UTC)
SECRET = "c2VjcmV0IG9mIHRoZSBjb250cmFjdCB0ZXN0cw=="  # of a form that every encoding of secrets takes
CASES = [(slug, name) for slug in catalog.slugs() for name in golden.sample_bodies(slug)]
CALLS = [(slug, name) for slug in catalog.slugs() for name in golden.sample_calls(slug)]
SIGNED = [case for case in CASES if not isinstance(catalog.load(case[0]).auth, NoneScheme)]
COVERED = [case for case in SIGNED if isinstance(catalog.load(case[0]).auth, HmacScheme)]
OPTIONS = [(slug, option) for slug in catalog.slugs() for option in catalog.load(slug).auth_options]
# What the samples hold that must be stored nowhere: the value of any key of these names.
CREDENTIALS = ("access_token", "api_key", "apiKey", "secret", "password", "authorization", "Authorization")


def body_of(slug, name):
    return golden.sample_bodies(slug)[name]


def expected(slug, name):
    return json.loads((catalog.FOLDER / "samples" / slug / f"{name}.expected.json").read_text())


def delivery(slug, name, body=None, secret=SECRET):
    """A sample as its provider would post it, perhaps with another body than was signed."""
    headers = sign(catalog.load(slug).auth, secret, body_of(slug, name), NOW, id="msg_1", url="https://v.example/hook")
    lowered = {header.lower(): value for header, value in headers.items()}
    return SignedRequest(lowered, body_of(slug, name) if body is None else body, "POST", "https://v.example/hook")


def proved(slug, request, now=NOW):
    return verify(
        catalog.load(slug).auth, [Secret("old", "b2xkIG9uZQ=="), Secret("new", SECRET)], request, now
    ).authentic


def credentials_in(value):
    if isinstance(value, list):
        return [found for inner in value for found in credentials_in(inner)]
    if not isinstance(value, dict):
        return []
    own = [inner for key, inner in value.items() if key in CREDENTIALS and isinstance(inner, str) and inner]
    return own + [found for inner in value.values() for found in credentials_in(inner)]


def test_there_is_a_catalogue():
    assert {"retell", "vcp"} <= set(catalog.slugs())
    assert all(golden.sample_bodies(slug) for slug in catalog.slugs())


@pytest.mark.parametrize(("slug", "name"), SIGNED)
def test_a_sample_signed_as_the_provider_does_is_authentic(slug, name):
    assert proved(slug, delivery(slug, name))
    assert not proved(slug, delivery(slug, name, secret="YW5vdGhlciBzZWNyZXQ="))


@pytest.mark.parametrize(("slug", "name"), COVERED)
def test_a_sample_with_one_byte_changed_is_refused(slug, name):
    body = body_of(slug, name)
    for place in (0, len(body) // 2, len(body) - 1):
        changed = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        assert not proved(slug, delivery(slug, name, changed))
    assert not proved(slug, delivery(slug, name, body + b" "))


@pytest.mark.parametrize("slug", sorted({slug for slug, _ in COVERED}))
def test_an_old_delivery_is_refused_where_the_scheme_has_a_time(slug):
    scheme = catalog.load(slug).auth
    if "{timestamp}" in scheme.signed and scheme.timestamp_unit != "none":
        request = delivery(slug, next(name for owner, name in CASES if owner == slug))
        assert not proved(slug, request, NOW + timedelta(seconds=scheme.tolerance_past_sec + 1))


@pytest.mark.parametrize(("slug", "option"), OPTIONS, ids=lambda part: getattr(part, "name", part))
def test_an_offered_way_says_when_to_choose_it_and_proves_with_its_secret_alone(slug, option):
    assert option.when
    assert option.scheme.kind != "none"
    headers = {name.lower(): text for name, text in sign(option.scheme, SECRET, b"{}", NOW, id="msg_1").items()}
    request = SignedRequest(headers, b"{}", url_token=url_tail(option.scheme, SECRET).removeprefix("/"))
    assert verify(option.scheme, [Secret("s", SECRET)], request, NOW).authentic
    assert not verify(option.scheme, [Secret("s", "b2xkIG9uZQ==")], request, NOW).authentic


@pytest.mark.parametrize(("slug", "name"), CASES)
def test_a_sample_comes_to_what_is_stored_beside_it(slug, name):
    provider = catalog.load(slug)
    assert golden.outcome(provider, Mapping(provider.mapping), body_of(slug, name)) == expected(slug, name)


@pytest.mark.parametrize(("slug", "name"), CALLS)
def test_samples_of_one_call_come_to_one_message_in_any_order_and_repeated(slug, name):
    provider = catalog.load(slug)
    mapping, bodies = Mapping(provider.mapping), golden.sample_calls(slug)[name]
    stored = expected(slug, name)
    assert len(bodies) > 1
    assert stored["message"]
    assert stored["errors"] == stored["failed"] == stored["unseen"] == []
    for order in permutations(bodies):
        assert golden.outcome_of_call(provider, mapping, order) == stored
    twice = golden.outcome_of_call(provider, mapping, [*bodies, *bodies])
    assert twice["message"]["vcp_payload"] == stored["message"]["vcp_payload"]


def test_there_are_calls_of_several_samples():
    assert CALLS


@pytest.mark.parametrize(("slug", "name"), CASES)
def test_what_is_stored_beside_a_sample_is_a_valid_message_or_its_disposition(slug, name):
    stored = expected(slug, name)
    if stored["disposition"] != "map":
        assert stored["disposition"] in ("store", "ignore")
        assert "message" not in stored
        return
    assert stored["errors"] == stored["failed"] == stored["unseen"] == []
    opens_call = catalog.load(slug).mapping.event_spec(stored["event"]).opens_call
    assert (stored["message"] is not None) is opens_call
    if stored["message"]:
        assert validate(stored["message"], now=golden.RECEIVED_AT).errors == []


@pytest.mark.parametrize(("slug", "name"), CASES)
def test_no_credential_of_a_sample_is_stored(slug, name):
    body = body_of(slug, name)
    redacted = Mapping(catalog.load(slug).mapping).redact(body, parse(body)).decode()
    told = (catalog.FOLDER / "samples" / slug / f"{name}.expected.json").read_text()
    for credential in credentials_in(json.loads(body)):
        assert credential not in redacted
        assert credential not in told


def test_the_samples_do_hold_a_credential_to_lose():
    assert credentials_in(json.loads(body_of("retell", "call_ended.web_call_minimal")))


@pytest.mark.parametrize("slug", catalog.slugs())
def test_no_stored_result_is_left_of_a_sample_that_is_gone(slug):
    stored = {
        path.name.removesuffix(".expected.json") for path in (catalog.FOLDER / "samples" / slug).glob("*.expected.json")
    }
    assert stored == {*golden.sample_bodies(slug), *golden.sample_calls(slug)}


@pytest.mark.django_db
@pytest.mark.parametrize("slug", catalog.slugs())
def test_a_mapping_comes_back_from_the_database_as_it_went_in(slug):
    sync_catalog((slug,))
    # A database may hand out the keys of an object in another order: nothing may depend on it.
    version = MappingVersion.objects.get(provider__slug=slug)
    assert version.to_spec() == catalog.load(slug).mapping
    mapping = Mapping(version.to_spec())
    for name, body in golden.sample_bodies(slug).items():
        assert golden.outcome(catalog.load(slug), mapping, body) == expected(slug, name)
    for name, bodies in golden.sample_calls(slug).items():
        assert golden.outcome_of_call(catalog.load(slug), mapping, bodies) == expected(slug, name)


@pytest.mark.django_db
@pytest.mark.parametrize("slug", catalog.slugs())
def test_the_rows_of_a_provider_pass_the_checks_of_the_admin(slug):
    sync_catalog((slug,))
    provider = Provider.objects.get(slug=slug)
    provider.full_clean()
    version = provider.published
    version.clean()
    for row in (*version.webhook_schemas.all(), *version.rules.all()):
        row.clean()


# --- reading the files --------------------------------------------------------------------------------------

MINIMAL = 'slug = "acme"\nname = "Acme"\n[auth]\nkind = "token"\n[mapping]\n'


def test_a_small_file_is_enough():
    assert isinstance(catalog.parse(MINIMAL, "acme.toml"), ProviderSpec)


TWICE = '[[auth_options]]\nname = "x"\nscheme = {kind = "token"}\n' * 2


@pytest.mark.parametrize(
    ("text", "name", "problem"),
    [
        (MINIMAL, "other.toml", "other.toml: slug 'acme' must be the file's name"),
        ("slug = ", "acme.toml", "acme.toml: Invalid value"),
        (MINIMAL.replace("token", "magic"), "acme.toml", "acme.toml: auth"),
        (MINIMAL.replace('"acme"', '"Acme!"'), "acme.toml", "acme.toml: slug"),
        (
            MINIMAL.replace("[mapping]", TWICE + "[mapping]"),
            "acme.toml",
            "acme.toml: auth_options: 'x' stands",
        ),
        (MINIMAL + 'colour = "red"\n', "acme.toml", "acme.toml: mapping.colour"),
        (MINIMAL + '[[mapping.rules]]\nsource = "a"\ntarget = "b"\n', "acme.toml", "acme.toml: mapping.rules.0.target"),
    ],
)
def test_a_file_that_cannot_be_used_names_itself_and_the_place(text, name, problem):
    with pytest.raises(CatalogError) as raised:
        catalog.parse(text, name)
    assert str(raised.value).startswith(problem)


def test_a_specification_is_never_changed():
    with pytest.raises(ValidationError):
        catalog.load("retell").slug = "other"


# --- the stored results -------------------------------------------------------------------------------------


def test_the_command_finds_nothing_to_write():
    out = StringIO()
    call_command("golden", stdout=out)
    assert out.getvalue() == ""


def test_the_command_names_what_differs_and_writes_it_when_asked(tmp_path, monkeypatch):
    stale, fresh = tmp_path / "a.expected.json", tmp_path / "b.expected.json"
    stale.write_text("old")
    files = [(stale, "new"), (fresh, "first")]
    monkeypatch.setattr("apps.providers.management.commands.golden.expected_files", lambda: iter(files))
    with pytest.raises(CommandError, match="golden --write"):
        call_command("golden", stdout=(out := StringIO()))
    assert out.getvalue() == f"differs: {stale}\ndiffers: {fresh}\n"
    assert stale.read_text() == "old"
    call_command("golden", "--write", stdout=StringIO())
    assert (stale.read_text(), fresh.read_text()) == ("new", "first")
    call_command("golden", stdout=StringIO())


def test_a_sample_that_cannot_be_mapped_has_no_result():
    provider = catalog.load("retell")
    with pytest.raises(EngineError):
        golden.outcome(provider, Mapping(provider.mapping), b'{"event": "call_ended"}')
