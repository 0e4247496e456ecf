"""Calls and deliveries as the API tells them."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from apps.analytics import rollups
from apps.ingest.models import Artifact, InboundEvent, Message
from apps.ingest.operations import correct
from apps.ingest.tasks import drain
from tests.api.asking import CALL, JSON, NOBODY, assert_error, deliver, post, walk
from vcp import validate

pytestmark = pytest.mark.django_db


# --- calls ----------------------------------------------------------------------------------------------------


def test_calls_are_listed_newest_first_without_their_documents(api, calls):
    page = api.get("/api/messages").json()
    rows = page["results"]
    assert page["next"] is None
    assert [row["id"] for row in rows] == [str(pk) for pk in Message.objects.values_list("id", flat=True)]
    assert not {"vcp", "corrections"} & set(rows[0])
    row = next(row for row in rows if row["call_id"] == CALL)
    assert (row["provider"], row["environment"], row["stage"], row["status"]) == (
        "retell",
        "demo",
        "analysed",
        "success",
    )
    assert (row["duration_sec"], row["cost_usd"], row["user_satisfaction_score"]) == (35, 0.07875, 0.8)


@pytest.mark.parametrize("at_once", [False, True])
def test_pages_hold_every_call_once_in_order(api, calls, at_once):
    if at_once:
        Message.objects.update(start_time=datetime(2026, 3, 1, tzinfo=UTC))
        rollups.rebuild()
    expected = [str(pk) for pk in Message.objects.order_by("-start_time", "-id").values_list("id", flat=True)]
    assert len(expected) > 2
    assert [row["id"] for row in walk(api, "/api/messages?page_size=1")] == expected


def test_a_call_that_comes_between_two_pages_moves_nothing(api, calls):
    expected = [str(pk) for pk in Message.objects.values_list("id", flat=True)]
    first = api.get("/api/messages?page_size=2").json()
    body = json.dumps({"event": "call_ended", "call": {"call_id": "later", "start_timestamp": 1893456000000}}).encode()
    deliver(api, body)
    drain()
    assert [row["id"] for row in first["results"] + walk(api, first["next"])] == expected


@pytest.mark.parametrize(
    ("query", "condition"),
    [
        ("provider=retell", {"provider": "retell"}),
        ("provider=RETELL", {"provider": "retell"}),
        ("provider=nobody", {"provider": "nobody"}),
        ("account=default", {"account": "default"}),
        ("account=other", {"account": "other"}),
        ("environment=demo", {"environment": "demo"}),
        ("environment=live", {"environment": "live"}),
        ("status=success", {"status": "success"}),
        ("direction=inbound", {"direction": "inbound"}),
        ("stage=analysed", {"stage": "analysed"}),
        (f"call_id={CALL}", {"call_id": CALL}),
        ("status=success&stage=analysed", {"status": "success", "stage": "analysed"}),
        ("provider=&start_from=&environment=", {}),
    ],
)
def test_calls_are_filtered(api, calls, query, condition):
    expected = {str(pk) for pk in Message.objects.filter(**condition).values_list("id", flat=True)}
    assert {row["id"] for row in api.get(f"/api/messages?{query}").json()["results"]} == expected


def test_ranges_of_time_include_their_start_and_not_their_end(api, calls):
    message = Message.objects.get(call_id=CALL)
    at = message.start_time.isoformat().replace("+00:00", "Z")
    after = (message.start_time + timedelta(microseconds=1)).isoformat().replace("+00:00", "Z")
    ids = lambda query: [row["call_id"] for row in api.get(f"/api/messages?{query}").json()["results"]]  # noqa: E731
    assert ids(f"start_from={at}&start_to={after}") == [CALL]
    assert CALL not in ids(f"start_to={at}")
    assert CALL not in ids(f"start_from={after}")


@pytest.mark.parametrize(
    ("query", "code", "field_path"),
    [
        ("start_from=yesterday", "VCP_E004", "$.start_from"),
        ("start_to=2026-13-01", "VCP_E004", "$.start_to"),
        ("start_from=0001-01-01T00:00:00%2B14:00", "VCP_E004", "$.start_from"),
        ("start_to=9999-12-31T23:59:59-14:00", "VCP_E004", "$.start_to"),
        ("environment=prod", "HTTP_400", "$.environment"),
        ("status=great", "HTTP_400", "$.status"),
        ("direction=up", "HTTP_400", "$.direction"),
        ("call_id=%00", "HTTP_400", "$.call_id"),
        ("provider=%00", "HTTP_400", "$.provider"),
        ("page_size=0", "VCP_E004", "$.page_size"),
        ("page_size=501", "VCP_E004", "$.page_size"),
        ("page_size=%D9%A3", "VCP_E004", "$.page_size"),
        ("page_size=many", "VCP_E004", "$.page_size"),
        ("cursor=nonsense", "VCP_E004", "$.cursor"),
    ],
)
def test_a_query_that_cannot_be_read_is_refused_naming_the_field(api, query, code, field_path):
    told = assert_error(api.get(f"/api/messages?{query}"), 400, code, field_path)
    assert "great" not in told["message"]


def test_several_findings_are_all_told(api):
    told = assert_error(api.get("/api/messages?start_from=x&start_to=y"), 400, "VCP_E004", "$.start_from")
    assert [error["field_path"] for error in told["context"]["errors"]] == ["$.start_from", "$.start_to"]


CURSORS = [
    [], ["x"], ["2026-01-01T00:00:00+00:00"], ["2026-01-01T00:00:00", NOBODY], ["0001-01-01T00:00:00+14:00", NOBODY],
    ["2026-01-01T00:00:00+00:00", "no id"], ["2026-01-01T00:00:00+00:00", "\x00"], [1, 2], {"a": 1}, None, "ab",
]  # fmt: skip


@pytest.mark.parametrize("values", CURSORS)
def test_a_forged_cursor_is_refused(api, values):
    cursor = base64.urlsafe_b64encode(json.dumps(values).encode()).decode()
    assert_error(api.get(f"/api/messages?cursor={cursor}"), 400, "VCP_E004", "$.cursor")


@pytest.mark.parametrize("value", ["1" * 30, "-" + "1" * 30, "1" * 5000, "one", "1.5"])
def test_a_cursor_beyond_the_column_is_refused(api, value):
    cursor = base64.urlsafe_b64encode(json.dumps([value]).encode()).decode()
    assert_error(api.get(f"/api/deliveries?cursor={cursor}"), 400, "VCP_E004", "$.cursor")


def test_lists_take_as_many_queries_for_many_rows_as_for_one(api, calls, django_assert_max_num_queries):
    for address in ("/api/messages", "/api/deliveries", "/api/providers"):
        for size in (1, 500):
            with django_assert_max_num_queries(8):  # two of them ask for rights
                assert api.get(f"{address}?page_size={size}").status_code == 200


def test_one_call_takes_few_queries_and_does_not_read_bodies(api, calls, django_assert_max_num_queries):
    message = Message.objects.get(call_id=CALL)
    assert message.call_key.events.count() > 1
    with django_assert_max_num_queries(8) as seen:
        assert api.get(f"/api/messages/{message.pk}").status_code == 200
    assert not [query for query in seen.captured_queries if '"inbound_events"."body",' in query["sql"]]


def test_one_call_tells_its_message_its_deliveries_and_where_each_field_is_from(api, calls):
    message = Message.objects.get(call_id=CALL)
    told = api.get(f"/api/messages/{message.pk}").json()
    assert told["vcp"] == message.vcp
    assert told["corrections"] == []
    assert told["mapping_version"] == 1
    assert [event["delivery_id"] for event in told["events"]] == [
        str(pk) for pk in message.call_key.events.order_by("id").values_list("delivery_id", flat=True)
    ]
    analysed = next(event for event in told["events"] if event["event"] == "call_analyzed")
    summary = next(field for field in told["fields"] if field["target"] == "hcr.summary")
    rule = message.mapping_version.rules.all()[summary["rule"]]
    assert summary["source"] == rule.source == "call.call_analysis.call_summary"
    assert rule.target == "hcr.summary"
    assert (summary["delivery_id"], summary["event"], summary["basis"]) == (
        analysed["delivery_id"],
        "call_analyzed",
        "observed",
    )
    # Both ended and analysed tell the times; the higher rank lies on top.
    assert next(field for field in told["fields"] if field["target"] == "call.end_time")["event"] == "call_analyzed"


def test_a_correction_shows(api, calls):
    message = Message.objects.get(call_id=CALL)
    correct(message, {"hcr.summary": "Told by a person."}, "ann")
    told = api.get(f"/api/messages/{message.pk}").json()
    assert told["vcp"]["vcp_payload"]["hcr"]["summary"] == "Told by a person."
    assert [(item["path"], item["author"]) for item in told["corrections"]] == [("hcr.summary", "ann")]


def test_the_message_alone_is_exactly_what_is_stored(api, calls):
    message = Message.objects.get(call_id=CALL)
    answer = api.get(f"/api/messages/{message.pk}/vcp")
    assert answer.json() == message.vcp
    assert validate(answer.content, now=timezone.now()).ok


def test_the_references_of_a_message_lead_to_deliveries_and_artifacts(api, calls):
    message = Message.objects.get(call_id=CALL)
    references = message.vcp["vcp_payload"]["artifacts"]
    delivery = api.get(references["provider_raw_payload_ref"].replace("internal://", "/api/")).json()
    assert delivery["ref"] == references["provider_raw_payload_ref"]
    assert json.loads(delivery["body"]["text"])["call"]["call_id"] == CALL
    artifact = api.get(references["transcript_ref"].replace("internal://", "/api/")).json()
    assert (artifact["ref"], artifact["kind"], artifact["call_id"]) == (
        references["transcript_ref"],
        "transcript",
        CALL,
    )
    assert artifact["content"] == Artifact.objects.get(pk=artifact["id"]).content
    assert artifact["content"][0]["speaker"] == "agent"


@pytest.mark.parametrize(
    "address",
    [
        f"/api/messages/{NOBODY}",
        f"/api/messages/{NOBODY}/vcp",
        f"/api/deliveries/{NOBODY}",
        f"/api/artifacts/{NOBODY}",
        "/api/messages/7",
        "/api/messages/%00",
        "/api/providers/%00",
        "/api/nothing/here",
        "/api/nothing/here/",
        "/api/webhook",
    ],
)
def test_what_is_not_there_is_404_in_the_form_of_errors(api, providers, address):
    assert_error(api.get(address), 404, "HTTP_404")


def test_a_slash_at_the_end_does_no_harm(api, calls):
    assert api.get("/api/messages/").json() == api.get("/api/messages").json()
    assert api.get("/api/docs/", headers={"accept": "text/html"}).status_code == 200
    assert post(api, "/api/webhook-test/", {}).status_code == 400


# --- deliveries -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "condition"),
    [
        ("state=processed", {"state": "processed"}),
        ("state=failed", {"state": "failed"}),
        ("provider=Retell", {"provider": "retell"}),
        ("event=call_analyzed", {"event": "call_analyzed"}),
        (f"call_id={CALL}", {"call_id": CALL}),
        ("received_to=2026-01-01", {"received_at__year": 1999}),
        ("received_from=2026-01-01", {}),
    ],
)
def test_deliveries_are_filtered_newest_first(api, calls, query, condition):
    expected = InboundEvent.objects.filter(**condition).order_by("-id").values_list("delivery_id", flat=True)
    rows = walk(api, f"/api/deliveries?page_size=2&{query}")
    assert [row["delivery_id"] for row in rows] == [str(pk) for pk in expected]
    assert not [row for row in rows if "body" in row]


def test_a_delivery_tells_its_headers_without_the_signature_and_its_report(api, calls):
    row = InboundEvent.objects.filter(event="call_analyzed", call_id=CALL).get()
    answer = api.get(f"/api/deliveries/{row.delivery_id}")
    told = answer.json()
    assert told["headers"]["content-type"] == JSON
    assert "signature" not in answer.content.decode().lower()
    assert (told["endpoint"], told["state"], told["error"], told["mapping_version"]) == ("demo", "processed", None, 1)
    assert told["report"] == row.report
    assert (told["body_size"], told["body_sha256"]) == (row.body_size, row.body_sha256)


def test_a_failed_delivery_tells_why_as_an_error_object(api, providers):
    body = json.dumps({"event": "call_ended"}).encode()
    delivery_id = deliver(api, body).json()["delivery_id"]
    drain()
    told = api.get(f"/api/deliveries/{delivery_id}").json()
    assert told["state"] == "failed"
    error = told["error"]
    assert (error["code"], error["field_path"], error["provider"]) == ("VCP_E005", "$.call", "retell")
    assert error["context"]["trace_id"] == told["trace_id"]
    assert api.get("/api/deliveries?state=failed").json()["results"][0]["error"] == error


def test_a_body_that_is_no_text_is_told_in_base64(api, providers):
    body = b"\xff\x00 not text"
    delivery_id = deliver(api, body).json()["delivery_id"]
    drain()
    told = api.get(f"/api/deliveries/{delivery_id}").json()["body"]
    assert told["encoding"] == "base64"
    assert base64.b64decode(told["text"]) == body
