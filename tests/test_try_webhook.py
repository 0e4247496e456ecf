"""`manage.py try_webhook`: what it says of captured deliveries, its exit status, and that it writes nothing."""

import io
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command

from apps.providers import registry
from apps.providers.engine.signatures import HmacScheme, sign
from apps.providers.models import AuthConfig, Secret
from tests.calls import ANALYZED, ARRIVAL, CALL_ID, ENDED, SECRET, STARTED, TRANSFER, as_body, sample, signed

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]
ROOT = Path(__file__).resolve().parent.parent


def case(payload, *, provider="retell", secret=SECRET, at=ARRIVAL, **members):
    """A captured delivery in the form of the file; keywords add members or replace them."""
    body = as_body(payload)
    captured = {"headers": signed(body, provider=provider, secret=secret, at=at), "received_at": at.isoformat()}
    return {**captured, "body": body.decode("utf-8", "surrogateescape"), **members}


@pytest.fixture
def tried(tmp_path, capsys):
    """Runs the command on a case; gives (exit status, the object it printed)."""

    def run(given, provider="retell", **options):
        file = tmp_path / "case.json"
        file.write_text(given if isinstance(given, str) else json.dumps(given))
        status = 0
        try:
            call_command("try_webhook", provider, case=str(file), **options)
        except SystemExit as ended:
            status = ended.code
        return status, json.loads(capsys.readouterr().out)

    return run


# --- one delivery -------------------------------------------------------------------------------------------


def test_an_authentic_delivery_shows_its_message(catalogue, tried):
    status, told = tried(case(sample(ANALYZED)))
    assert status == 0
    assert (told["authentic"], told["reason"], told["event"]) == (True, "ok", "call_analyzed")
    assert told["errors"] == []
    assert told["cost_usd"] == 0.07875
    call = told["message"]["vcp_payload"]["call"]
    assert (call["call_id"], call["provider"], call["duration_sec"]) == (CALL_ID, "retell", 35)
    assert told["message"]["audit"]["received_at"] == "2026-03-17T09:00:00.000Z"
    assert told["message"]["audit"]["checksum"]


def test_what_it_shows_is_what_the_service_makes_of_it(catalogue, tried, arrive, drain):
    _, told = tried(case(sample(ANALYZED)))
    arrive(sample(ANALYZED))
    drain()
    (stored,) = apps.get_model("ingest", "Message").objects.all()
    for message in (told["message"], stored.vcp):
        message["audit"] = {}
        message["vcp_payload"]["artifacts"].pop("transcript_ref")
        message["vcp_payload"]["artifacts"].pop("provider_raw_payload_ref", None)
    assert told["message"] == stored.vcp


def test_the_report_tells_what_each_rule_did(catalogue, tried):
    payload = sample(ENDED, duration_ms="long", direction="sideways", disconnection_reason="flew_away")
    status, told = tried(case(payload))
    report = told["report"]
    assert status == 0
    assert "call.start_timestamp -> call.start_time" in report["used"]
    assert "call.call_analysis.call_summary -> hcr.summary" in report["missing"]
    assert report["defaulted"] == []
    assert report["failed"][0] == {
        "rule": "call.duration_ms -> call.duration_sec",
        "path": "$.call.duration_ms",
        "target": "call.duration_sec",
        "error": "expected a number, got str",
    }
    assert [item["word"] for item in report["unseen"]] == ["sideways", "flew_away"]


def test_nothing_is_written(catalogue, tried, rings):
    def rows():
        return {model._meta.label: list(model.objects.order_by("pk").values()) for model in apps.get_models()}

    before = rows()
    tried(case(sample(ANALYZED)))
    tried(case(sample(ANALYZED), secret="wrong"))
    tried({"cases": [case(sample(STARTED)), case(sample(ENDED))]})
    assert rows() == before
    assert rings == []


@pytest.mark.parametrize("name", ["x-retell-signature", "X-RETELL-SIGNATURE"])
def test_headers_are_found_in_any_case(catalogue, tried, name):
    captured = case(sample(ENDED))
    captured["headers"] = {name: captured["headers"]["X-Retell-Signature"]}
    assert tried(captured)[1]["authentic"]


def test_the_file_may_come_on_standard_input(catalogue, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(case(sample(ENDED)))))
    call_command("try_webhook", "retell", case="-")
    assert json.loads(capsys.readouterr().out)["authentic"]


def test_the_provider_may_be_written_in_any_case(catalogue, tried):
    assert tried(case(sample(ENDED)), provider="Retell")[0] == 0


# --- proof --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"headers": {}}, "header_missing"),
        ({"headers": {"X-Retell-Signature": "nonsense"}}, "header_malformed"),
        ({"body": "{}"}, "signature_mismatch"),
        ({"secret": "another"}, "signature_mismatch"),
        ({"received_at": (ARRIVAL + timedelta(seconds=301)).isoformat()}, "timestamp_too_old"),
        ({"received_at": (ARRIVAL - timedelta(seconds=301)).isoformat()}, "timestamp_in_future"),
        ({"received_at": None}, "timestamp_too_old"),
    ],
)
def test_a_delivery_that_is_not_authentic_says_why_and_fails(catalogue, tried, change, reason):
    status, told = tried(case(sample(ENDED)) | change)
    assert (status, told["authentic"], told["reason"]) == (1, False, reason)
    assert told["detail"]


def test_what_is_not_authentic_becomes_nothing(catalogue, tried):
    _, told = tried(case(sample(ENDED), headers={}))
    assert (told["message"], told["cost_usd"]) == (None, None)
    assert told["errors"][0]["code"] == "HTTP_401"


def test_what_it_would_become_is_shown_when_asked(catalogue, tried):
    status, told = tried(case(sample(ENDED), headers={}), unproven=True)
    assert (status, told["authentic"]) == (1, False)
    assert told["message"]["vcp_payload"]["call"]["call_id"] == CALL_ID


def test_a_secret_of_the_file_is_tried_instead_of_the_stored_ones(catalogue, tried):
    assert tried(case(sample(ENDED), secret="typed"))[0] == 1
    assert tried(case(sample(ENDED), secret="typed") | {"secret": "typed"})[0] == 0
    assert tried(case(sample(ENDED)) | {"secret": "typed"})[1]["reason"] == "signature_mismatch"
    assert tried(case(sample(ENDED), secret="typed") | {"secret": ["old", "typed"]})[0] == 0


def test_an_auth_config_of_the_file_overrides_the_stored_one(catalogue, tried):
    auth = {
        "kind": "hmac",
        "header": "X-Sig",
        "signed": "{timestamp}.{body}",
        "timestamp_header": "X-Time",
        "timestamp_unit": "s",
    }
    body = as_body(sample(ENDED))
    headers = sign(HmacScheme.model_validate(auth), "typed", body, ARRIVAL)
    captured = {"headers": headers, "body": body.decode(), "received_at": ARRIVAL.isoformat(), "auth": auth}
    assert tried(captured | {"secret": "typed"})[0] == 0
    assert tried(captured)[1]["reason"] == "signature_mismatch"
    stored_secret = sign(HmacScheme.model_validate(auth), SECRET, body, ARRIVAL)
    assert tried(captured | {"headers": stored_secret})[0] == 0


def test_the_url_counts_where_the_scheme_signs_it(catalogue, tried):
    auth = {"kind": "hmac", "header": "X-Sig", "signed": "{url}{body}"}
    body = as_body(sample(ENDED))
    headers = sign(HmacScheme.model_validate(auth), "typed", body, ARRIVAL, url="https://v.example/hook?a=1")
    captured = {
        "headers": headers,
        "body": body.decode(),
        "auth": auth,
        "secret": "typed",
        "received_at": ARRIVAL.isoformat(),
    }
    assert tried(captured | {"url": "https://v.example/hook?a=1"})[0] == 0
    assert tried(captured)[1]["reason"] == "signature_mismatch"


def test_no_proof_is_needed_where_someone_chose_none(catalogue, tried):
    auth = {"kind": "none", "reason": "a test"}
    status, told = tried({"body": json.dumps(sample(ENDED)), "auth": auth})
    assert (status, told["authentic"], told["reason"]) == (0, True, "not_checked")


def test_without_any_secret_it_says_so(catalogue, tried):
    Secret.objects.all().delete()
    registry.forget()
    assert tried(case(sample(ENDED)))[1]["reason"] == "no_secret"


def test_a_stored_secret_counts_if_it_was_valid_when_the_delivery_came(catalogue, tried):
    secret = Secret(auth_config=AuthConfig.objects.get(endpoint__slug="default", endpoint__provider__slug="retell"))
    secret.set_value("rotated away")
    secret.valid_until = ARRIVAL + timedelta(days=1)
    secret.save()
    registry.forget()
    assert tried(case(sample(ENDED), secret="rotated away"))[0] == 0
    assert tried(case(sample(ENDED), secret="rotated away", at=ARRIVAL + timedelta(days=2)))[0] == 1


def test_no_secret_is_printed(catalogue, tried):
    web = sample("call_ended.web_call_minimal", access_token="hush-token")
    _, told = tried(case(web, secret="hush-secret") | {"secret": "hush-secret"})
    assert told["authentic"]
    assert "hush" not in json.dumps(told)


# --- what makes no message ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "event", "disposition"),
    [
        (sample("call_inbound"), "call_inbound", "store"),
        (sample("chat_ended"), "chat_ended", "ignore"),
        ({"event": "call_flew_away", "call": {"call_id": "c"}}, "call_flew_away", "store"),
    ],
)
def test_an_event_that_is_no_part_of_a_message_says_what_happens_to_it(catalogue, tried, payload, event, disposition):
    status, told = tried(case(payload))
    assert (status, told["authentic"], told["message"], told["cost_usd"]) == (1, True, None, None)
    assert (told["event"], told["disposition"], told["errors"]) == (event, disposition, [])


def test_an_event_that_waits_for_its_call_says_so(catalogue, tried):
    status, told = tried(case(sample(TRANSFER)))
    assert (status, told["message"]) == (1, None)
    assert "transfer_started may not open a call" in told["errors"][0]["message"]


@pytest.mark.parametrize(
    ("payload", "code", "path"),
    [
        (b"not json", "VCP_E002", "$"),
        (b"\xff\xfe", "VCP_E002", "$"),
        ({"event": "call_ended"}, "VCP_E005", "$.call"),
        ({"event": "call_ended", "call": {"call_id": "x" * 256}}, "VCP_E001", "$.call.call_id"),
    ],
)
def test_a_body_that_cannot_be_mapped_gives_the_error_of_the_protocol(catalogue, tried, payload, code, path):
    status, told = tried(case(payload))
    assert (status, told["authentic"], told["message"]) == (1, True, None)
    (error,) = told["errors"]
    assert (error["code"], error["field_path"], error["provider"]) == (code, path, "retell")


def test_a_call_without_an_id_gets_one_derived_from_its_body(catalogue, tried):
    captured = case(sample(ENDED, call_id=None))
    first, second = tried(captured)[1], tried(captured)[1]
    call_id = first["message"]["vcp_payload"]["call"]["call_id"]
    assert call_id.startswith("retell_")
    assert len(call_id) == len("retell_") + 32
    assert second["message"] == first["message"]
    assert first["report"]["warnings"] == ["the payload has no call id; one was derived from its body"]


# --- several deliveries -------------------------------------------------------------------------------------


def test_several_deliveries_of_a_call_are_folded_in_whatever_order_they_stand(catalogue, tried):
    cases = [case(sample(name)) for name in (STARTED, TRANSFER, ENDED, ANALYZED)]
    status, told = tried({"cases": cases})
    assert (status, told["authentic"], told["event"]) == (0, True, "call_analyzed")
    assert [one["event"] for one in told["cases"]] == [
        "call_started",
        "transfer_started",
        "call_ended",
        "call_analyzed",
    ]
    assert {one["call_id"] for one in told["cases"]} == {CALL_ID}
    assert tried({"cases": cases[::-1]})[1]["message"] == told["message"]
    data = told["message"]["vcp_payload"]["custom"]["provider_specific"]["retell"]["data"]
    assert data["transfer_destination"]["extension"] == "204"


def test_a_secret_beside_the_cases_holds_for_each(catalogue, tried):
    cases = [case(sample(name), secret="typed") for name in (STARTED, ENDED)]
    assert tried({"secret": "typed", "cases": cases})[0] == 0


def test_one_case_that_is_not_authentic_fails_all_of_them(catalogue, tried):
    status, told = tried({"cases": [case(sample(STARTED), secret="wrong"), case(sample(ENDED))]})
    assert (status, told["authentic"], told["reason"]) == (1, False, "signature_mismatch")
    assert [one["authentic"] for one in told["cases"]] == [False, True]


def test_a_delivery_of_another_call_is_pointed_out(catalogue, tried):
    _, told = tried({"cases": [case(sample("call_ended.web_call_minimal")), case(sample(ENDED))]})
    assert told["message"]["vcp_payload"]["call"]["call_id"] == CALL_ID
    assert "1 of the cases are of another call" in told["errors"][0]["message"]


def test_a_ready_made_message_is_shown_as_its_sender_wrote_it(catalogue, tried):
    message = sample("message", "vcp")
    status, told = tried(case(message, provider="vcp"), provider="vcp")
    assert (status, told["event"], told["cost_usd"]) == (0, "message", 0.044)
    assert told["message"]["vcp_payload"]["hcr"]["headline"] == message["vcp_payload"]["hcr"]["headline"]
    message["vcp_payload"]["call"].pop("start_time")
    status, told = tried(case(message, provider="vcp"), provider="vcp")
    assert (status, told["message"], told["errors"][0]["code"]) == (1, None, "VCP_E005")
    assert told["errors"][0]["field_path"] == "$.vcp_payload.call.start_time"


# --- files that cannot be used ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("{", "is not JSON"),
        ("[]", "must hold a JSON object"),
        ({"cases": []}, "cases: must be a list of at least one object"),
        ({"cases": ["x"]}, "cases: must be a list of at least one object"),
        ({"headers": {}}, "body: must be the raw body as one text"),
        ({"body": {"event": "x"}}, "body: must be the raw body as one text"),
        ({"body": "{}", "headers": []}, "headers: must be an object"),
        ({"body": "{}", "received_at": "yesterday"}, "received_at: must be an ISO 8601 time"),
        ({"body": "{}", "received_at": 5}, "received_at: must be an ISO 8601 time"),
        ({"body": "{}", "auth": {"kind": "magic"}}, "auth: "),
        ({"cases": [{"body": "{}"}, {"body": 5}]}, "cases[1].body: "),
    ],
)
def test_a_file_that_cannot_be_used_says_where_with_exit_status_2(catalogue, tried, given, problem):
    with pytest.raises(CommandError) as raised:
        tried(given)
    assert problem in str(raised.value)
    assert raised.value.returncode == 2


def test_a_missing_file_or_provider_is_named(catalogue, tried):
    with pytest.raises(CommandError, match=r"/nowhere\.json") as raised:
        call_command("try_webhook", "retell", case="/nowhere.json")
    assert raised.value.returncode == 2
    with pytest.raises(CommandError, match=r"unknown provider 'acme'; known: .*retell, .*vcp") as raised:
        tried(case(sample(ENDED)), provider="acme")
    assert raised.value.returncode == 2


def test_it_works_from_the_shell_before_anything_is_set_up(tmp_path):
    env = {**os.environ, "DATABASE_URL": f"sqlite:///{tmp_path / 'empty.sqlite3'}"}
    command = [sys.executable, "manage.py", "try_webhook", "retell", "--case", "-"]
    given = json.dumps(case(sample(ENDED), secret="typed") | {"secret": "typed"})
    done = subprocess.run(command, input=given, capture_output=True, text=True, cwd=ROOT, env=env, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["message"]["vcp_payload"]["call"]["call_id"] == CALL_ID
    refused = subprocess.run(
        [*command[:-1], "/nowhere"], capture_output=True, text=True, cwd=ROOT, env=env, check=False
    )
    assert (refused.returncode, refused.stdout) == (2, "")
