"""The protocol's operations over HTTP: each with good, bad and hostile bodies, and that nothing is stored."""

import json
from datetime import datetime

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

import vcp
from apps.ingest.models import InboundEvent, Message

pytestmark = pytest.mark.django_db

JSON = "application/json"
OPERATIONS = ["validate", "migrate", "checksum", "export?to=vcon", "export?to=otel"]
NOW = "2025-11-01T00:00:00+00:00"


@pytest.fixture
def post():
    """Posts a message (JSON value or bytes) to an operation as a user who may read the registry."""
    user = get_user_model().objects.create_user("reader")
    user.user_permissions.set(Permission.objects.filter(codename="view_provider"))
    client = Client(headers={"accept": JSON})
    client.force_login(user)

    def send(operation, message, content_type=JSON, **extra):
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        return client.post(f"/api/vcp/{operation}", body, content_type, **extra)

    return send


def refused(answer, code, field_path, status=400):
    told = answer.json()
    assert (answer.status_code, told["code"], told.get("field_path")) == (status, code, field_path)
    assert told["context"]["trace_id"] == answer.headers["X-Trace-Id"]
    return told


def whole():
    return vcp.examples.load("v05_whole")


def broken():
    message = whole()
    del message["vcp_payload"]["call"]["call_id"]
    message["vcp_payload"]["call"]["duration_sec"] = "SECRET VALUE"
    return message


# --- validate -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", vcp.examples.names())
def test_a_message_of_any_version_is_checked_as_the_library_does(post, name):
    answer = post(f"validate?now={NOW.replace('+', '%2B')}", vcp.examples.load(name))
    report = vcp.validate(vcp.examples.load(name), now=datetime.fromisoformat(NOW))
    assert answer.status_code == 200
    assert answer.json() == {
        "valid": report.ok, "version": report.form.version, "shape": report.form.shape, **report.to_dict(),
    }  # fmt: skip


def test_every_finding_is_told_with_rule_and_place_and_without_values(post):
    answer = post("validate", broken())
    told = answer.json()
    assert (answer.status_code, told["valid"], told["version"]) == (200, False, "0.5")
    assert [(error["context"]["rule"], error["field_path"]) for error in told["errors"]] == [
        ("S1", "$.vcp_payload.call.call_id"), ("S2", "$.vcp_payload.call.duration_sec"),
    ]  # fmt: skip
    assert "SECRET" not in answer.content.decode()


def test_a_consent_is_judged_at_the_given_time(post):
    message = whole()
    message["vcp_payload"]["consent"] |= {"granted_at": "2025-01-01T00:00:00Z", "expires_at": "2025-12-01T00:00:00Z"}
    for now, expired in (("2025-11-30T00:00:00Z", False), ("2025-12-02T00:00:00Z", True)):
        rules = [warning["context"]["rule"] for warning in post(f"validate?now={now}", message).json()["warnings"]]
        assert ("C2" in rules) is expired


def test_a_version_of_the_future_is_told_which_ones_are_known(post):
    told = post("validate", whole() | {"vcp_version": "0.9"}).json()
    assert (told["valid"], told["version"], told["shape"]) == (False, None, None)
    assert told["errors"][0]["message"] == "unknown version; supported: 0.3, 0.4, 0.5"


@pytest.mark.parametrize("body", [b"null", b"[]", b"7", b'"text"', b'{"vcp_payload": []}', b"NaN", b"1e400"])
def test_json_that_is_no_message_has_findings(post, body):
    answer = post("validate", body)
    assert answer.status_code == 200
    assert answer.json()["valid"] is False


# --- migrate ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "query", "arguments"),
    [
        ("v03_lineage", "", ()),
        ("v03_full_mode", "?to=0.5", ("0.5",)),
        ("v04_incomplete", "", ()),
        ("v05_whole", "?to=0.3&shape=published", ("0.3", "published")),
        ("v05_whole", "?to=0.3", ("0.3",)),
    ],
)
def test_a_message_is_migrated_with_its_report(post, name, query, arguments):
    answer = post(f"migrate{query}", vcp.examples.load(name))
    assert answer.status_code == 200
    assert answer.json() == vcp.migrate(vcp.examples.load(name), *arguments).to_dict()


def test_a_refused_consent_goes_down_only_by_force(post):
    message = vcp.examples.load("v05_whole")
    message["vcp_payload"]["consent"]["status"] = "denied"
    del message["audit"]["checksum"]
    told = refused(post("migrate?to=0.3", message), "VCP_E003", "$.vcp_payload.consent.status")
    assert "consent is denied" in told["message"]
    assert post("migrate?to=0.3&force=true", message).status_code == 200


def test_what_hinders_a_migration_is_told_whole(post):
    told = refused(post("migrate", broken()), "VCP_E003", "$.vcp_payload.call.call_id")
    assert [error["code"] for error in told["context"]["errors"]] == ["VCP_E005", "VCP_E004"]


# --- checksum and export ------------------------------------------------------------------------------------


def test_a_checksum_is_the_library_s(post):
    assert post("checksum", whole()).json() == {"checksum": vcp.checksum(whole())}


def test_a_message_is_exported_as_the_library_does(post):
    message = vcp.VCPMessage.from_dict(whole())
    assert post("export?to=vcon", whole()).json() == vcp.to_vcon(message)
    assert post("export?to=otel", whole()).json() == vcp.to_spans(message)


def test_a_call_that_has_not_ended_makes_no_vcon(post):
    message = whole()
    for name in ("end_time", "duration_sec"):
        del message["vcp_payload"]["call"][name]
    refused(post("export?to=vcon", message), "VCP_E005", "$.vcp_payload.call.end_time")


@pytest.mark.parametrize("operation", OPERATIONS[2:])
def test_an_older_message_is_to_be_upgraded_first(post, operation):
    told = refused(post(operation, vcp.examples.load("v03_lineage")), "VCP_E001", "$.vcp_version")
    assert told["message"] == "this is version 0.3; upgrade it to 0.5 first"


@pytest.mark.parametrize("operation", OPERATIONS[2:])
def test_a_broken_message_is_refused_with_every_finding(post, operation):
    told = refused(post(operation, broken()), "VCP_E005", "$.vcp_payload.call.call_id")
    assert [error["context"]["rule"] for error in told["context"]["errors"]] == ["S1", "S2"]


# --- what is no message, and options that are none ----------------------------------------------------------

NO_JSON = [
    b"",
    b" ",
    b"{",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"9" * 5000,
    b'"\\ud800"',
    b"\xef\xbb\xbf{}",
]


@pytest.mark.parametrize("body", NO_JSON, ids=range(len(NO_JSON)))
@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_is_no_json_is_refused_everywhere(post, operation, body):
    told = refused(post(operation, body), "VCP_E004", "$")
    assert told["message"].startswith("the text cannot be read as JSON")
    assert told["context"]["expected"] == "JSON in UTF-8"


@pytest.mark.parametrize("body", [b"null", b"[]", b"7", b"NaN", b'{"vcp_version": "\\u0000"}', b'{"vcp_version": {}}'])
@pytest.mark.parametrize("operation", OPERATIONS[1:])
def test_json_that_is_no_message_is_refused(post, operation, body):
    answer = post(operation, body)
    assert answer.status_code == 400
    assert answer.json()["code"].startswith("VCP_E00")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_body_above_the_limit_is_refused(post, settings, operation):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    refused(post(operation, b'"' + b"x" * 99 + b'"'), "HTTP_413", None, 413)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_another_content_type_is_refused(post, operation):
    refused(post(operation, b"a=b", "application/x-www-form-urlencoded"), "HTTP_415", None, 415)


@pytest.mark.parametrize(
    ("operation", "field_path"),
    [
        ("validate?now=soon", "$.now"),
        ("validate?to=0.3", "$.to"),
        ("migrate?to=0.4", "$.to"),
        ("migrate?to=0.3&shape=round", "$.shape"),
        ("migrate?force=perhaps", "$.force"),
        ("migrate?shap=lineage", "$.shap"),
        ("checksum?to=0.3", "$.to"),
        ("export", "$.to"),
        ("export?to=pdf", "$.to"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused_by_name(post, operation, field_path):
    answer = post(operation, whole())
    assert (answer.status_code, answer.json()["field_path"]) == (400, field_path)


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ("export?to=pdf", "this must be one of: vcon, otel"),
        ("migrate?to=0.4", "this must be one of: 0.5, 0.3"),
        ("migrate?too=0.3", "there is no such option; there are: to, shape, force"),
        ("checksum?to=0.3", "there is no such option; there are none"),
    ],
)
def test_the_refusal_of_an_option_names_those_there_are(post, operation, words):
    told = refused(post(operation, whole()), "VCP_E004", f"$.{operation.partition('?')[2].partition('=')[0]}")
    assert told["message"] == words


def test_a_shape_that_the_version_does_not_have_is_refused(post):
    refused(post("migrate?to=0.5&shape=lineage", whole()), "VCP_E003", None)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_nothing_is_stored(post, operation):
    assert post(operation, whole()).status_code == 200
    assert not InboundEvent.objects.exists()
    assert not Message.objects.exists()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_stranger_is_asked_to_log_in(operation):
    answer = Client(headers={"accept": JSON}).post(f"/api/vcp/{operation}", b"{}", JSON)
    refused(answer, "HTTP_401", None, 401)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_browser_gets_a_form_and_a_readable_answer(operation):
    client = Client(headers={"accept": "text/html"})
    client.force_login(get_user_model().objects.create_superuser("root"))
    page = client.get(f"/api/vcp/{operation}")
    assert (page.status_code, "<form" in page.content.decode()) == (405, True)
    assert client.post(f"/api/vcp/{operation}", json.dumps(whole()), JSON).status_code == 200
