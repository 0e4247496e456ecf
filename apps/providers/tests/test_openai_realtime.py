"""OpenAI Realtime's facts, one by one, against the catalogue file, and the relay contract's rules of folding.

Each payload is a sample of the catalogue, or a relay batch built from single server events. It is redacted, parsed,
mapped and folded by the engine alone.
"""

import copy
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.providers import catalog
from apps.providers.engine.fold import Context, Event, Folded, fold
from apps.providers.engine.mapping import Fragment, Mapping, call_id_of
from apps.providers.engine.payload import parse
from apps.providers.engine.prices import PriceList
from apps.providers.engine.signatures import Reason, Secret, SignedRequest, verify
from vcp import validate
from vcp.tests.tries import tries

SLUG = "openai_realtime"
SPEC = catalog.load(SLUG)
MAPPING = Mapping(SPEC.mapping)
PRICES = PriceList(row for price in SPEC.prices for row in price.rows())
RECEIVED_AT = datetime(2026, 11, 1, tzinfo=UTC)
INCOMING, COMPLETE, FAILED = "realtime.call.incoming", "relay.complete", "relay.failed"
DAY = "2026-06-02T"


def sample(name: str = COMPLETE, /, **data: Any) -> dict[str, Any]:
    """A copy of a sample; keywords replace fields of its `data` (`from_` is `from`)."""
    payload: dict[str, Any] = copy.deepcopy(catalog.samples(SLUG)[name])
    payload["data"] |= {field.rstrip("_"): value for field, value in data.items()}
    return payload


def relay(*events: Any, final: bool = True, batch: str = "r1", **data: Any) -> dict[str, Any]:
    """A relay batch of these server events; a pair (time, event) has its own time, the others are a second apart."""
    listed = []
    for number, event in enumerate(events):
        at, told = event if isinstance(event, tuple) else (f"{DAY}10:00:{number:02d}.000Z", event)
        listed.append({"received_at": at, "event": {"event_id": f"event_{told['type']}_{number}", **told}})
    blank = dict.fromkeys(("call_id", "started_at", "ended_at", "direction", "from", "to", "close", "recording_url"))
    told = {"session_id": "sess_1", "transport": "sip", "sequence": 1, "final": final, "events": listed}
    fields = {field.rstrip("_"): value for field, value in data.items()}
    head = {
        "object": "voicelens.realtime_relay",
        "type": "realtime.session.relay",
        "id": batch,
        "created_at": 1780409204,
    }
    return head | {"data": blank | told | fields}


def session(model: str = "gpt-realtime-2", event: str = "session.created", **fields: Any) -> dict[str, Any]:
    return {"type": event, "session": {"id": "sess_1", "model": model, **fields}}


def response(status: str = "completed", name: str = "", usage: Any = None, output: Any = (), **details: Any) -> Any:
    told = {"status": status, "usage": usage, "output": list(output), "status_details": details or None}
    return {"type": "response.done", "response": told | ({"id": name} if name else {})}


def usage(text: int = 0, audio: int = 0, out: int = 0, cached: int = 0, **more: int) -> dict[str, Any]:
    """Tokens: text and audio in (of the text so many cached), audio out."""
    return {
        "total_tokens": text + audio + out, "input_tokens": text + audio, "output_tokens": out,
        "input_token_details": {"text_tokens": text, "audio_tokens": audio, "cached_tokens": cached,
                                "cached_tokens_details": {"text_tokens": cached, "audio_tokens": 0}},
        "output_token_details": {"audio_tokens": out},
    } | more  # fmt: skip


def words(item: str, text: str, **fields: Any) -> dict[str, Any]:
    told = {"item_id": item, "content_index": 0, "transcript": text, **fields}
    return {"type": "conversation.item.input_audio_transcription.completed", **told}


def added(item: str, role: str = "user", previous: str | None = None, event: str = "conversation.item.added") -> Any:
    content = [{"type": "input_audio", "transcript": None}]
    told = {"id": item, "type": "message", "role": role, "content": content}
    return {"type": event, "previous_item_id": previous, "item": told}


def said(item: str, text: str) -> dict[str, Any]:
    content = [{"type": "output_audio", "transcript": text}]
    return {"id": item, "type": "message", "role": "assistant", "content": content}


def error(code: str | None = None) -> dict[str, Any]:
    return {"type": "error", "error": {"type": "server_error", "code": code, "message": "of no interest"}}


def folded(*payloads: Any) -> Folded:
    """The valid message of these deliveries, the same in any order."""
    applied = [(MAPPING.apply(parse(redacted(payload))), str(number)) for number, payload in enumerate(payloads)]
    events = [_event(*found, digest) for found, digest in applied]
    call_id = call_id_of(identity for (identity, _, _), _ in applied)
    context = Context(
        SLUG, SPEC.name, call_id or "", "standard_30_days", lambda number: f"psn_{number[-4:]}",
        prices=lambda model, at: PRICES.at(model, datetime.fromisoformat(at)),
    )  # fmt: skip
    found = fold(events, MAPPING, context)
    assert found is not None
    assert all(fold(order, MAPPING, context) == found for order in permutations(events[:5]) if len(events) <= 5)
    assert validate(found.message, now=RECEIVED_AT).errors == []
    return found


def redacted(payload: Any) -> bytes:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return MAPPING.redact(raw, parse(raw))


def _event(identity: Any, fragment: Fragment, report: Any, digest: str) -> Event:
    spec = identity.spec
    assert (spec.disposition, report.failed) == ("map", [])
    stored = Fragment.from_json(json.loads(json.dumps(fragment.to_json())))
    clock = identity.occurred_at
    return Event(stored, identity.event, spec.rank, spec.opens_call, spec.proves, clock, digest, RECEIVED_AT)


def message(*payloads: Any) -> dict[str, Any]:
    return dict(folded(*payloads).message["vcp_payload"])


def call_of(*payloads: Any) -> dict[str, Any]:
    return dict(message(*payloads)["call"])


def status_of(*payloads: Any) -> str:
    return str(message(*payloads)["outcomes"]["objective"]["status"])


def metrics_of(*payloads: Any) -> dict[str, Any]:
    return dict(message(*payloads)["outcomes"]["objective"]["metrics"])


def attribution_of(*payloads: Any) -> dict[str, Any]:
    return dict(message(*payloads)["outcomes"]["model_outcome_attribution"])


def role_of(role: str, *payloads: Any) -> dict[str, Any]:
    return dict(attribution_of(*payloads)["roles"].get(role, {}))


def data_of(*payloads: Any) -> dict[str, Any]:
    return dict(message(*payloads)["custom"]["provider_specific"][SLUG]["data"])


def turns_of(*payloads: Any) -> list[tuple[str, str]]:
    return [(turn["speaker"], turn["text"]) for turn in folded(*payloads).artifacts.get("transcript", [])]


# --- the provider, and its signature --------------------------------------------------------------------------


def test_the_provider_is_known_by_its_pages():
    assert (SPEC.api_base_url, SPEC.source_addresses) == ("https://api.openai.com/v1", ())
    urls = {page.url for page in SPEC.pages}
    assert {"https://status.openai.com/api/v2/summary.json", "https://status.openai.com/feed.rss"} <= urls
    assert not any("platform.openai.com" in text for text in (*urls, SPEC.docs_url, *SPEC.sources))


SECRET = "whsec_dm9pY2VsZW5zLW9wZW5haS12ZWN0b3Itc2VjcmV0LTE="
VECTORS = [
    ("wh_685342e6c53c8190a1be43f081506c52", "1780409111",
     (b'{"object":"event","id":"evt_1","type":"realtime.call.incoming","created_at":1780409111,'
      b'"data":{"call_id":"rtc_1","sip_headers":[]}}'),
     "v1,NN2fb0vcIM2tfuMBE/9aUHsRfgvPycYXIZ6uVITUpWc="),
    ("wh_relay_0001", "1780409204", '{"type":"realtime.session.relay","note":"Zoë ☎"}'.encode(),
     "v1,c0wGexO1mrfVjGUyFHY3ESWAu424CaQz8Gcq9p7zuhI="),
]  # fmt: skip
ID, AT, BODY, SIGNATURE = VECTORS[0]


def proved(
    webhook_id: str = ID, at: str = AT, body: bytes = BODY, header: str = SIGNATURE, late: int = 0, secret: str = SECRET
):
    headers = {"webhook-id": webhook_id, "webhook-timestamp": at, "webhook-signature": header}
    request = SignedRequest({name: value for name, value in headers.items() if value}, body)
    now = datetime.fromtimestamp(int(AT), UTC) + timedelta(seconds=late)
    secrets = [Secret("old", "whsec_b2xkZXIgc2VjcmV0IG9mIHRoZSB0ZXN0cw=="), Secret("new", secret)]
    return verify(SPEC.auth, secrets, request, now)


@pytest.mark.parametrize(("webhook_id", "at", "body", "header"), VECTORS)
def test_the_published_vectors_are_accepted(webhook_id, at, body, header):
    verdict = proved(webhook_id, at, body, header, late=int(at) - int(AT))
    assert (verdict.reason, verdict.covered_id) == (Reason.OK, webhook_id)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"header": f"v1,AAAA {SIGNATURE}"}, Reason.OK),
        ({"header": f"v1a,xyz {SIGNATURE} v2,abc"}, Reason.OK),
        ({"late": 300}, Reason.OK),
        ({"late": -300}, Reason.OK),
        ({"late": 301}, Reason.TIMESTAMP_TOO_OLD),
        ({"late": -301}, Reason.TIMESTAMP_IN_FUTURE),
        ({"body": BODY + b" "}, Reason.SIGNATURE_MISMATCH),
        ({"webhook_id": "wh_other"}, Reason.SIGNATURE_MISMATCH),
        ({"at": str(int(AT) + 1)}, Reason.SIGNATURE_MISMATCH),
        ({"secret": "whsec_dm9pY2VsZW5zLW9wZW5haS12ZWN0b3Itc2VjcmV0LTI="}, Reason.SIGNATURE_MISMATCH),
        ({"header": ""}, Reason.HEADER_MISSING),
        ({"webhook_id": ""}, Reason.ID_MISSING),
        ({"at": ""}, Reason.TIMESTAMP_MISSING),
    ],
)
def test_what_the_scheme_takes_and_refuses(changes, reason):
    assert proved(**changes).reason is reason


# --- what arrives ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "event", "kind", "disposition"),
    [
        (sample(INCOMING), "realtime.call.incoming", "call_started", "map"),
        (relay(final=False), "realtime.session.relay", "call_progress", "map"),
        (relay(final=True), "realtime.session.relay.final", "call_ended", "map"),
        *[({"type": name, "data": {"call_id": "rtc_1"}}, name, "ignored", "ignore") for name in (
            "batch.completed", "response.done", "response.completed", "fine_tuning.job.succeeded", "eval.run.failed",
            "video.completed", "agent.session.created", "safety.alert", "live.transport.incoming",
            "live.transport.connected", "live.call.incoming", "realtime.call.ended", "session.updated")],
        ({"data": {"call_id": "rtc_1"}}, "unknown", "unknown", "store"),
        ([], "unknown", "unknown", "store"),
    ],
)  # fmt: skip
def test_each_payload_is_told_by_its_type(payload, event, kind, disposition):
    identity = MAPPING.identify(payload)
    assert (identity.event, identity.spec.kind, identity.spec.disposition) == (event, kind, disposition)


@pytest.mark.parametrize(
    ("ids", "call_id", "aliases"),
    [
        ({"call_id": "rtc_1", "session_id": "sess_1"}, "rtc_1", ("sess_1",)),
        ({"call_id": None, "session_id": "sess_1"}, "sess_1", ()),
        ({"call_id": "rtc_1", "session_id": None}, "rtc_1", ()),
    ],
)
def test_a_call_has_its_call_id_else_its_session_s_and_is_known_by_both(ids, call_id, aliases):
    identity = MAPPING.identify(relay(**ids))
    assert (identity.call_id, identity.aliases) == (call_id, aliases)


def test_the_session_id_is_told_once_it_is_known():
    assert call_of(sample(INCOMING))["session_id"] == sample(INCOMING)["data"]["call_id"]
    assert call_of(sample(INCOMING), sample())["session_id"] == "sess_DaB1kX9"


# --- the incoming webhook -------------------------------------------------------------------------------------


def test_the_webhook_alone_opens_a_call_of_which_no_end_is_known():
    found = message(sample(INCOMING))
    assert found["call"] | {"caller_id": ""} == {
        "call_id": "rtc_479a275623b54bdb9b6fbae2f7cbd408", "session_id": "rtc_479a275623b54bdb9b6fbae2f7cbd408",
        "provider": SLUG, "start_time": "2026-06-02T14:05:11.000Z", "channel": "phone", "direction": "inbound",
        "from": "+15550142233", "to": "+15550199001", "caller_id": "",
    }  # fmt: skip
    assert found["outcomes"]["objective"]["status"] == "unknown"
    assert "consent" not in found


@pytest.mark.parametrize("created_at", [1780409111, 1780499999])
def test_a_webhook_sent_again_never_opens_a_finished_record_again(created_at):
    again = sample(INCOMING) | {"id": "evt_again", "created_at": created_at}
    before, after = folded(sample(INCOMING), sample()), folded(sample(INCOMING), sample(), again)
    assert after.stage == before.stage == "ended"
    for part in ("call", "outcomes", "hcr", "custom"):
        assert after.message["vcp_payload"][part] == before.message["vcp_payload"][part]


@pytest.mark.parametrize(
    ("headers", "caller"),
    [
        ([("From", '"Dana" <sip:+15550142233@sip.example.com>;tag=as5')], "+15550142233"),
        ([("FROM", "<sips:%2B15550142233@h;user=phone>")], "+15550142233"),
        ([("from", "tel:+15550142233")], "+15550142233"),
        ([("f", "<sip:4711@pbx>")], "4711"),
        ([("From", "<sip:+15550142233;phone-context=x@h>")], "+15550142233"),
        ([("From", '"sip:+19990001111@x" <sip:+15550142233@h>')], "+15550142233"),
        ([("Via", "x"), ("From", "<sip:+1555@h>"), ("From", "<sip:+1666@h>")], "+1555"),
        ([("From", "<sip:anonymous@anonymous.invalid>")], None),
        ([("From", "<sip:proj_abc@sip.api.openai.com>")], None),
        ([("From", "<sip:+1555x@h>")], None),
        ([("From", "nobody")], None),
        ([("Diversion", "<sip:+15550142233@h>")], None),
        ([("P-Asserted-Identity", "<sip:+15550142233@h>")], None),
        ([], None),
    ],
)
def test_the_caller_is_the_user_of_the_from_header_if_it_is_a_number(headers, caller):
    told = [{"name": name, "value": value} for name, value in headers]
    assert call_of(sample(INCOMING, sip_headers=told)).get("from") == caller
    as_to = [{"name": {"from": "to", "f": "t"}.get(name.lower(), name), "value": value} for name, value in headers]
    assert call_of(sample(INCOMING, sip_headers=as_to)).get("to") == caller


def test_the_relay_s_word_of_numbers_and_transport_goes_before_the_webhook_s():
    call = call_of(sample(INCOMING), sample(from_="+15550000001", transport="webrtc", direction="outbound"))
    assert (call["from"], call["channel"], call["direction"]) == ("+15550000001", "web", "outbound")


@pytest.mark.parametrize(
    ("transport", "channel"),
    [("sip", "phone"), ("webrtc", "web"), ("websocket", "websocket"), (None, None)],
)
def test_channels(transport, channel):
    assert call_of(relay(transport=transport)).get("channel") == channel


@pytest.mark.parametrize(("direction", "ours"), [("inbound", "inbound"), ("outbound", "outbound"), (None, None)])
def test_no_direction_is_invented(direction, ours):
    assert call_of(relay(direction=direction)).get("direction") == ours


# --- times ----------------------------------------------------------------------------------------------------

OPENED, LATER = f"{DAY}10:00:01.500Z", f"{DAY}10:01:31.500Z"


@pytest.mark.parametrize(
    ("payloads", "start"),
    [
        ([relay((OPENED, session()), started_at=f"{DAY}09:59:59Z"), sample(INCOMING, call_id="sess_1")],
         f"{DAY}09:59:59.000Z"),
        ([relay((LATER, session()), (OPENED, error())), sample(INCOMING, call_id="sess_1")], LATER),
        ([relay((OPENED, session(event="session.updated"))), sample(INCOMING, call_id="sess_1")],
         f"{DAY}14:05:11.000Z"),
        ([relay((LATER, error()), (OPENED, error("again")))], OPENED),
    ],
)  # fmt: skip
def test_the_start_is_told_else_the_session_s_else_the_webhook_s_else_the_first_event_s(payloads, start):
    for payload in payloads:
        payload["data"]["call_id"] = None if "events" in payload["data"] else "sess_1"
    assert call_of(*payloads)["start_time"] == start


@pytest.mark.parametrize(
    ("batches", "end", "duration"),
    [
        ([{"ended_at": f"{DAY}10:02:01.500Z", "final": True}], f"{DAY}10:02:01.500Z", 120),
        ([{"final": True}], LATER, 90),
        ([{"final": False}], None, None),
        ([{"ended_at": f"{DAY}10:02:01.500Z", "final": False}], None, None),
        ([{"final": False}, {"final": True, "events": []}], LATER, 90),
        ([{"final": True, "events": []}, {"final": False}], LATER, 90),
    ],
)
def test_the_end_is_known_only_with_a_final_batch(batches, end, duration):
    told = [relay((OPENED, session()), (LATER, {"type": "rate_limits.updated"}), **batch) for batch in batches]
    call = call_of(*told)
    assert (call.get("end_time"), call.get("duration_sec")) == (end, duration)


def test_a_time_that_cannot_be_read_is_left_out_alone():
    call = call_of(relay(("soon", session()), (OPENED, error()), (LATER, error())))
    assert (call["start_time"], call["end_time"]) == (OPENED, LATER)


# --- tokens and money -----------------------------------------------------------------------------------------


def test_the_recorded_session_has_1478_tokens_and_costs_0_028406_dollars():
    attribution = attribution_of(sample())
    assert attribution["roles"]["V2V"] == {
        "model_id": "gpt-realtime-2", "minutes": 1.5, "tokens_processed": 1478, "cost_usd": 0.028406
    }  # fmt: skip
    assert attribution["total_cost_usd"] == attribution["kpis"]["cost_per_call_usd"] == 0.028406
    assert attribution["kpis"]["cost_estimated"] is True
    history = message(sample())["provenance"]["transformation_history"]
    assert "estimated:outcomes.model_outcome_attribution.total_cost_usd" in history


@pytest.mark.parametrize("status", ["completed", "cancelled", "incomplete", "failed"])
def test_every_response_with_usage_is_billed(status):
    events = (session(), response(name="a", usage=usage(1000)), response(status, name="b", usage=usage(0, 100, 50)))
    assert role_of("V2V", relay(*events))["tokens_processed"] == 1150
    assert role_of("V2V", relay(*events))["cost_usd"] == float(
        (Decimal(1000) * 4 + Decimal(100) * 32 + Decimal(50) * 64) / 10**6
    )


def test_a_response_counts_once_however_often_it_is_told():
    once = response(name="a", usage=usage(1000))
    twice = relay(session(), once, once | {"event_id": "event_again"})
    assert role_of("V2V", twice)["tokens_processed"] == 1000
    assert metrics_of(twice)["responses"] == {"completed": 1}


def test_cached_tokens_are_part_of_the_input_and_are_charged_once_at_their_own_price():
    role = role_of("V2V", relay(session(), response(usage=usage(1000, cached=400))))
    assert (role["tokens_processed"], role["cost_usd"]) == (1000, 0.00256)  # 600 at 4.00 and 400 at 0.40


@pytest.mark.parametrize(
    ("events", "tokens"),
    [
        ([session(), response("failed", usage=None)], None),
        ([session()], None),
        ([session("gpt-unheard-of"), response(usage=usage(1000))], 1000),
        ([session("gpt-4o-realtime-preview-2024-10-01"), response(usage=usage(1000))], 1000),
        # cached tokens of which nobody says whether they were text or audio
        ([session(), response(usage=usage(1000) | {"input_token_details": {
            "text_tokens": 900, "audio_tokens": 100, "cached_tokens": 400}})], 1000),
        ([response(usage=usage(1000))], 1000),
    ],
)  # fmt: skip
def test_a_cost_that_cannot_be_known_is_none_and_never_zero(events, tokens):
    attribution = attribution_of(relay(*events))
    assert attribution["roles"]["V2V"].get("tokens_processed") == tokens
    assert "cost_usd" not in attribution["roles"]["V2V"]
    assert "total_cost_usd" not in attribution
    assert attribution["kpis"] == {}


MODEL_PRICES = {
    "gpt-realtime-2": ("4.00", "0.40", "24.00", "32.00", "0.40", "64.00", "5.00", "0.50"),
    "gpt-realtime-1.5": ("4.00", "0.40", "16.00", "32.00", "0.40", "64.00", "5.00", "0.50"),
    "gpt-realtime-2.1-mini": ("0.60", "0.06", "2.40", "10.00", "0.30", "20.00", "0.80", "0.08"),
    "gpt-4o-mini-realtime-preview": ("0.60", "0.30", "2.40", "10.00", "0.30", "20.00", None, None),
    "gpt-4o-realtime-preview": ("5.00", "2.50", "20.00", "40.00", "2.50", "80.00", None, None),
}
KINDS = (
    "text_in",
    "text_cached",
    "text_out",
    "audio_in",
    "audio_cached",
    "audio_out",
    "image_in",
    "image_cached",
)


@pytest.mark.parametrize("model", MODEL_PRICES)
def test_the_price_list_is_that_of_the_models_pages(model):
    rates = PRICES.at(model, datetime(2026, 8, 1, tzinfo=UTC))
    assert rates is not None
    told = {kind: Decimal(usd) for kind, usd in zip(KINDS, MODEL_PRICES[model], strict=True) if usd}
    assert {kind: rate.usd for kind, rate in rates.items()} == told


def test_transcription_is_a_role_of_its_own_in_tokens_or_seconds():
    tokens = relay(
        session(audio={"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}}),
        words("i1", "a", usage={"type": "tokens", "total_tokens": 58}),
        words("i2", "b", usage={"type": "tokens", "total_tokens": 2}),
    )
    assert role_of("STT", tokens)["tokens_processed"] == 60
    assert role_of("V2V", tokens).get("tokens_processed") is None
    seconds = relay(
        session(audio={"input": {"transcription": {"model": "gpt-realtime-whisper"}}}),
        response(usage=usage(1000)),
        words("i1", "a", usage={"type": "duration", "seconds": 45}),
        words("i2", "b", usage={"type": "duration", "seconds": 45.0}),
    )
    assert role_of("STT", seconds) == {"model_id": "gpt-realtime-whisper", "minutes": 1.5, "cost_usd": 0.0255}
    assert attribution_of(seconds)["total_cost_usd"] == 0.0295
    assert "STT" not in attribution_of(relay(session(audio={"input": {"transcription": None}})))["roles"]


def test_errors_of_the_model_are_failed_responses_and_error_events():
    assert role_of("V2V", relay(session(), error("a"), response("failed"), response()))["errors"] == 2


# --- the session ------------------------------------------------------------------------------------------------


def test_the_last_word_on_the_session_counts():
    first = session("gpt-realtime-1.5", audio={"output": {"voice": "alloy"}})
    last = session("gpt-realtime-2", event="session.updated", audio={"output": {"voice": {"id": "voice_9"}}})
    for batches in ([relay(first, last)], [relay((LATER, last)), relay((OPENED, first), final=False, batch="r2")]):
        found = message(*batches)
        assert found["model_selection"]["roles"]["V2V"]["chosen"] == "gpt-realtime-2"
        assert data_of(*batches)["voice"] == "voice_9"


def test_the_shape_of_the_beta_is_read_as_well():
    found, data = message(sample("relay.beta")), data_of(sample("relay.beta"))
    assert found["model_selection"]["roles"]["STT"]["chosen"] == "whisper-1"
    assert (data["voice"], data["output_format"], data["output_modalities"]) == ("alloy", "pcm16", ["text", "audio"])


def test_the_session_s_end_by_the_clock_is_in_seconds():
    assert data_of(relay(session(expires_at=1780412713)))["expires_at"] == "2026-06-02T15:05:13.000Z"


@pytest.mark.parametrize(
    ("body", "secrets"),
    [
        (relay(session(instructions="The door code is 7788.")), ["7788"]),
        (relay(session(prompt={"id": "p", "variables": {"pin": "7788"}})), ["7788"]),
        (relay(session(tools=[{"type": "mcp", "authorization": "tok_7788", "headers": {"X": "key_7788"}}])), ["7788"]),
        (relay(session(client_secret={"value": "ek_7788"})), ["7788"]),
        (relay({"type": "input_audio_buffer.dtmf_event_received", "event": "7788", "received_at": 1}), ["7788"]),
        (relay({"type": "conversation.item.added", "item": {"content": [{"audio": "UklGRg=="}]}}), ["UklGRg"]),
        (relay(response(output=[{"content": [{"audio": "UklGRg=="}]}])), ["UklGRg"]),
    ],
)
def test_prompts_credentials_keys_pressed_and_sound_are_not_stored(body, secrets):
    stored = redacted(body).decode()
    assert not any(secret in stored for secret in secrets)
    assert not any(secret in json.dumps(folded(body).message) for secret in secrets)


def test_a_change_of_the_instructions_shows_without_showing_them():
    first, second = (data_of(relay(session(instructions=text)))["instructions_hash"] for text in ("a", "b"))
    assert first != second
    assert first == "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"


def test_what_a_tool_was_given_and_answered_stays_out_of_fragment_and_message():
    for text in ("2026-06-09", "14:00"):
        _, fragment, _ = MAPPING.apply(parse(redacted(sample())))
        assert text not in json.dumps(fragment.to_json())
        assert text not in json.dumps(folded(sample()).message)


# --- words and tools ------------------------------------------------------------------------------------------


def test_the_transcript_of_the_recorded_session():
    assert turns_of(sample()) == [
        ("agent", "Northside Heating, how can I help you today?"),
        ("caller", "I need a tune-up next Tuesday."),
        ("agent", "I can offer two in the afternoon on Tuesday the ninth."),
    ]


@pytest.mark.parametrize(
    ("events", "turns"),
    [
        # the caller's words come after the answer
        ([added("u"), response(output=[said("a", "answer")]), words("u", "question")],
         [("caller", "question"), ("agent", "answer")]),
        # the answer is told when it ends, after the caller has spoken again
        ([added("u", previous="a"), words("u", "second"), response(output=[said("a", "first")])],
         [("agent", "first"), ("caller", "second")]),
        # without response.done its words alone
        ([{"type": "response.output_audio_transcript.done", "item_id": "a", "content_index": 0, "transcript": "x"}],
         [("agent", "x")]),
        ([{"type": "response.audio_transcript.done", "item_id": "a", "content_index": 0, "transcript": "x"}],
         [("agent", "x")]),
        ([{"type": "response.output_text.done", "item_id": "a", "content_index": 0, "text": "x"}], [("agent", "x")]),
        ([added("u", event="conversation.item.created"), words("u", "x")], [("caller", "x")]),
        ([added("u", event="conversation.item.done"), words("u", "x")], [("caller", "x")]),
        ([{"type": "conversation.item.added", "item": {"id": "u", "role": "user", "content": [{"text": "typed"}]}}],
         [("caller", "typed")]),
        ([{"type": "conversation.item.added", "item": {"id": "s", "role": "system", "content": [{"text": "Be kind"}]}}],
         []),
        # what was cut short was not all heard
        ([response("cancelled", output=[said("a", "a long story")]),
          {"type": "conversation.item.truncated", "item_id": "a", "content_index": 0, "audio_end_ms": 900}],
         [("agent", "")]),
        ([{"type": "response.output_audio_transcript.delta", "item_id": "a", "delta": "x"}], []),
    ],
)  # fmt: skip
def test_who_said_what_and_in_which_order(events, turns):
    assert turns_of(relay(*events)) == turns


def tool(item: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"id": item, "type": kind, "name": "look_up", "arguments": '{"a": 1}', **fields}


ANSWERED = {"type": "conversation.item.added", "item": {"id": "o", "type": "function_call_output", "call_id": "c"}}
FUNCTION, REMOTE = tool("f", "function_call", call_id="c"), tool("m", "mcp_call", error=None)
ARGUMENTS = {"type": "response.function_call_arguments.done", "item_id": "f", "call_id": "c", "name": "look_up"}


@pytest.mark.parametrize(
    ("events", "uses"),
    [
        ([response(output=[FUNCTION])], [("function_call", False)]),
        ([response(output=[FUNCTION]), ANSWERED], [("function_call", True)]),
        ([ARGUMENTS, response(output=[FUNCTION]), ANSWERED], [("function_call", True)]),
        ([ARGUMENTS, ANSWERED], [("function_call", True)]),
        (
            [{"type": "conversation.item.done", "item": FUNCTION}, response(output=[FUNCTION])],
            [("function_call", False)],
        ),
        ([response(output=[REMOTE])], [("tool_call", True)]),
        ([response(output=[REMOTE | {"error": {"type": "http_error", "message": "away"}}])], [("tool_call", False)]),
        ([response(output=[REMOTE]), {"type": "response.mcp_call.failed", "item_id": "m"}], [("tool_call", False)]),
        ([response(output=[REMOTE]), {"type": "response.mcp_call.completed", "item_id": "m"}], [("tool_call", True)]),
        ([response(output=[FUNCTION, FUNCTION | {"call_id": "d"}])], [("function_call", False)] * 2),
        ([response(output=[REMOTE, FUNCTION])], [("tool_call", True), ("function_call", False)]),
        ([response(output=[said("a", "none")])], []),
    ],
)
def test_each_use_of_a_tool_is_told_once_with_how_it_went(events, uses):
    found = call_of(relay(*events)).get("capabilities_invoked", [])
    assert [(one["capability_type"], one["success"]) for one in found] == uses
    assert {one["capability_id"] for one in found} <= {"look_up"}
    assert all(one["invoked_at"] == f"{DAY}10:00:00.000Z" for one in found)


# --- outcome --------------------------------------------------------------------------------------------------

NORMAL, BROKEN = {"code": 1000, "reason": None}, {"code": 1006, "reason": None}
DONE, CANCELLED, CUT, BAD = (response(status) for status in ("completed", "cancelled", "incomplete", "failed"))
BEGUN = {"type": "response.created", "response": {"id": "resp_x"}}
# A relay that forwards neither the beginning nor the end of a response.
SPOKEN = {"type": "response.output_audio_transcript.done", "item_id": "item_x", "transcript": "Hello."}


@pytest.mark.parametrize(
    ("payloads", "status"),
    [
        # the end is not known
        ([sample(INCOMING)], "unknown"),
        ([relay(session(), DONE, final=False)], "unknown"),
        ([relay(session(), BAD, final=False)], "unknown"),
        ([relay(session(), error("session_expired"), final=False)], "unknown"),
        # the limit
        ([relay(DONE, error("session_expired"))], "timeout"),
        ([relay(BAD, error("session_expired"), close=BROKEN)], "timeout"),
        ([relay(DONE, close={"code": 1001, "reason": "Session expired"})], "timeout"),
        ([relay(DONE, close={"code": 1000, "reason": "idle timeout"})], "timeout"),
        # refused
        ([relay(close={"code": 1000, "reason": "Rejected with 603"})], "failure"),
        # nobody was served
        ([relay()], "failure"),
        ([relay(session(), close=NORMAL)], "failure"),
        # broken
        ([relay(BAD)], "error"),
        ([relay(CANCELLED, BAD)], "error"),
        ([relay(DONE, BAD)], "partial"),
        ([relay(DONE, BAD, DONE)], "success"),
        ([relay(CANCELLED, close=BROKEN)], "error"),
        ([relay(DONE, close=BROKEN)], "partial"),
        ([relay(DONE, close={"code": 1011, "reason": None})], "partial"),
        ([relay(DONE, close={"code": 4000, "reason": None})], "partial"),
        *[([relay(DONE, close={"code": code, "reason": None})], "success") for code in (1000, 1001, 1005, "1000")],
        ([relay(DONE, close={"code": "1006", "reason": None})], "partial"),
        ([relay(error("other"))], "error"),
        # cut
        ([relay(DONE, CUT)], "partial"),
        ([relay(CUT)], "partial"),
        ([relay(CANCELLED)], "partial"),
        ([relay(CUT, CANCELLED)], "partial"),
        ([relay(BEGUN)], "partial"),
        ([relay(session(), SPOKEN)], "partial"),
        # normal
        ([relay(DONE)], "success"),
        ([relay(DONE, close=None)], "success"),
        ([relay(DONE, response("cancelled", reason="turn_detected"))], "success"),
        ([relay(CUT, DONE)], "success"),
        ([relay(DONE, error("response_cancel_not_active"))], "success"),
        ([relay(error("other"), DONE)], "success"),
        ([relay(DONE, final=False), relay(final=True, batch="r2")], "success"),
        # a word that is new
        ([relay(DONE, response("paused"))], "unknown"),
    ],
)  # fmt: skip
def test_outcomes(payloads, status):
    assert status_of(*payloads) == status


def test_a_new_status_of_a_response_is_noted():
    assert folded(relay(response("paused"))).unseen == [{"source": "collected.responses[-1].status", "word": "paused"}]


def cut_short(item: str) -> dict[str, Any]:
    return {"type": "conversation.item.truncated", "item_id": item, "audio_end_ms": 10}


TURN = response("cancelled", reason="turn_detected")


@pytest.mark.parametrize(
    ("events", "metrics"),
    [
        ([DONE, DONE, CANCELLED, CUT, BAD], {"completed": 2, "cancelled": 1, "incomplete": 1, "failed": 1}),
        ([DONE], {"completed": 1}),
    ],
)
def test_responses_are_counted_by_their_status(events, metrics):
    assert metrics_of(relay(*events))["responses"] == metrics


@pytest.mark.parametrize(
    ("events", "interruptions"),
    [([DONE], 0), ([TURN, cut_short("a")], 1), ([cut_short("a"), cut_short("a"), cut_short("b")], 2), ([TURN, DONE], 1),
     ([CANCELLED], 0)],
)  # fmt: skip
def test_interruptions(events, interruptions):
    assert metrics_of(relay(*events))["interruptions"] == interruptions


def test_keypad_events_have_no_id_and_are_told_apart_by_their_times():
    key = {"type": "input_audio_buffer.dtmf_event_received", "event_id": None, "event": "1", "received_at": 1780409204}
    events = [(f"{DAY}10:00:0{second}.000Z", key) for second in (1, 2, 2)]
    assert metrics_of(relay(*events))["keys_pressed"] == 2


def test_the_headline_is_made_from_facts():
    assert message(sample())["hcr"]["headline"] == (
        "OpenAI Realtime inbound call: success (caller hung up), 3 turns, 1 tool call, 90 s"
    )
    assert "summary" not in message(sample())["hcr"]


def test_a_recording_is_the_customer_s_own():
    assert message(relay(recording_url="https://r.example/x.ogg"))["artifacts"]["audio_recording_ref"] == (
        "https://r.example/x.ogg"
    )


def test_what_differs_from_batch_to_batch_is_no_data_of_the_call():
    assert data_of(relay(close=NORMAL)) == {"close": NORMAL}


# --- any batches ------------------------------------------------------------------------------------------------


def content_of(payloads: Iterable[Any]) -> tuple[Any, Any]:
    """Message and transcript, without what tells which deliveries they came from."""
    found = folded(*payloads)
    payload = copy.deepcopy(found.message["vcp_payload"])
    payload["provenance"].pop("transformation_history")
    return payload, found.artifacts


@pytest.mark.parametrize("name", [COMPLETE, "relay.interrupted", "relay.beta", FAILED])
def test_splitting_does_not_change_what_a_sample_says(name):
    whole = sample(name)
    halves = []
    for number, part in enumerate((whole["data"]["events"][:2], whole["data"]["events"][2:])):
        halves.append(sample(name, events=part, final=number == 1, sequence=number + 1) | {"id": f"r{number}"})
    assert content_of(halves) == content_of([whole])


@tries(20)
@given(st.sampled_from([COMPLETE, "relay.interrupted"]), st.randoms(use_true_random=False))
def test_any_batches_in_any_order_repeated_and_overlapping_make_the_same_record(name, chance):
    whole = sample(name)
    events = whole["data"]["events"]
    batches: list[list[Any]] = [[] for _ in range(chance.randint(1, 4))]
    for event in [*events, *chance.choices(events, k=4)]:
        chance.choice(batches).append(event)
    payloads = [
        sample(name, events=batch, final=False, ended_at=None, close=None, sequence=chance.randint(1, 9))
        | {"id": f"r{number}", "created_at": chance.randint(1780409000, 1780409999)}
        for number, batch in enumerate(batches)
    ]
    payloads.append(sample(name, events=chance.choices(events, k=2)) | {"id": "last"})
    chance.shuffle(payloads)
    assert content_of([*payloads, payloads[0]]) == content_of([whole])
