"""Signatures against stored vectors, against Retell's own SDK, and against everything a stranger may send."""

import base64
import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from retell.lib.webhook_auth import symmetric as retell_sdk

from apps.providers.engine.signatures import (
    HmacScheme,
    Reason,
    Secret,
    SignedRequest,
    Verdict,
    best_verdict,
    parse_scheme,
    sign,
    url_tail,
    verify,
)

RETELL = {
    "kind": "hmac",
    "header": "X-Retell-Signature",
    "items": ["v={timestamp},d={signature}"],
    "signed": "{body}{timestamp}",
    "timestamp_unit": "ms",
}
ELEVENLABS = {
    "kind": "hmac",
    "header": "ElevenLabs-Signature",
    "items": ["t={timestamp}", "v0={signature}"],
    "separator": ",",
    "signed": "{timestamp}.{body}",
    "timestamp_unit": "s",
    "tolerance_past_sec": 1800,
}
BLAND = {"kind": "hmac", "header": "X-Webhook-Signature"}
STANDARD_WEBHOOKS = {
    "kind": "hmac",
    "header": "webhook-signature",
    "items": ["v1,{signature}"],
    "separator": " ",
    "timestamp_header": "webhook-timestamp",
    "id_header": "webhook-id",
    "signed": "{id}.{timestamp}.{body}",
    "encoding": "base64",
    "timestamp_unit": "s",
    "secret_encoding": "whsec",
}
VAPI_A = {
    "kind": "hmac",
    "header": "x-signature",
    "timestamp_header": "x-timestamp",
    "signed": "{timestamp}.{body}",
    "timestamp_unit": "auto",
}
VAPI_B = {"kind": "hmac", "header": "x-signature", "items": ["sha256={signature}"]}
VAPI_C = {
    **VAPI_A,
    "id_header": "svix-id",
    "items": ["v1,{signature}"],
    "signed": "{id}.{timestamp}.{body}",
    "encoding": "base64",
    "secret_encoding": "base64",
}
VAPI_D = {**VAPI_A, "algorithm": "sha512", "encoding": "base64"}
ULTRAVOX = {
    "kind": "hmac",
    "header": "X-Ultravox-Webhook-Signature",
    "items": ["{signature}"],
    "separator": ",",
    "timestamp_header": "X-Ultravox-Webhook-Timestamp",
    "signed": "{body}{timestamp}",
    "timestamp_unit": "iso",
    "tolerance_past_sec": 60,
}
HUME = {
    "kind": "hmac",
    "header": "X-Hume-AI-Webhook-Signature",
    "timestamp_header": "X-Hume-AI-Webhook-Timestamp",
    "signed": "{body}.{timestamp}",
    "timestamp_unit": "s",
    "tolerance_past_sec": 180,
}
URL_TOKEN = {"kind": "url_token"}
BEARER = {"kind": "token", "header": "Authorization", "prefix": "Bearer"}

RETELL_KEY = "key_test_5f2c9a7be01d4c3f"
ELEVENLABS_SECRET = "wsec_0123456789abcdef0123456789abcdef"
WHSEC = "whsec_dm9pY2VsZW5zLW9wZW5haS12ZWN0b3Itc2VjcmV0LTE="
VAPI_SECRET = "vapi-hmac-secret-0001"
VAPI_BODY = (
    '{"message":{"type":"end-of-call-report","endedReason":"customer-ended-call",'
    '"call":{"id":"0f8b7c1e-0000-4000-8000-000000000001"}}}'
)
TOKEN = "as_ingest_5e1d9c"

# name: (scheme, secret, clock in Unix ms, body, headers)
VECTORS: dict[str, tuple[dict[str, Any], str, int, str, dict[str, str]]] = {
    # Also a constant in the tests of Retell's TypeScript SDK; all three are accepted by its Python SDK.
    "retell 1": (
        RETELL,
        "test-api-key",
        1700000000000,
        '{"event":"call_ended"}',
        {"x-retell-signature": "v=1700000000000,d=07024cabe7dd8f6d1c6e4a8324ca92c812e6ad4a7ee506c04f7e462e3321823e"},
    ),
    "retell 2": (
        RETELL,
        RETELL_KEY,
        1767225600000,
        '{"event":"call_ended","call":{"call_id":"call_a1b2c3"}}',
        {"x-retell-signature": "v=1767225600000,d=f3ab203e79284989e861d73448d076b2c96e8b45594b7ba8b03fb0d6e3564026"},
    ),
    "retell 3": (
        RETELL,
        RETELL_KEY,
        1767225661234,
        '{"event": "call_analyzed", "call": {"call_id": "call_0002", "note": "¿Qué tal? 👍"}}\n',
        {"x-retell-signature": "v=1767225661234,d=57dbb261fd3654a5bf15abf0ff7f1233df7cadaf4f4b1b546bfd647766d7fef7"},
    ),
    # Accepted by the ElevenLabs SDK's construct_event.
    "elevenlabs 1": (
        ELEVENLABS,
        ELEVENLABS_SECRET,
        1767225605000,
        ('{"type":"post_call_transcription","event_timestamp":1767225600,"data":{"conversation_id":"conv_a1b2c3"}}'),
        {"elevenlabs-signature": "t=1767225605,v0=3147113f214ccd538c2a5e2f3c8017d1274e89e487e773c52bc535e2914c3dad"},
    ),
    "elevenlabs 2": (
        ELEVENLABS,
        ELEVENLABS_SECRET,
        1767225700000,
        (
            '{"type": "post_call_transcription", "event_timestamp": 1767225661, '
            '"data": {"conversation_id": "conv_0002", "note": "Grüße 👋"}}\n'
        ),
        {"elevenlabs-signature": "t=1767225700,v0=43350ffcd31cc4cf8d3170d6ec8008110a129f315a38a0f3dcc74c10a6ad24b8"},
    ),
    "bland 1": (
        BLAND,
        "bland_whk_5f1c0b7e2d",
        0,
        '{"call_id":"c-1","status":"completed","call_length":0.75,"corrected_duration":"45","price":0.068}',
        {"x-webhook-signature": "50f9ca9b4a4c4e9bdf5f9fbdbe5e75105e6828ecc6e8b356ac0740c0f54fd371"},
    ),
    "bland 2": (
        BLAND,
        "bland_whk_5f1c0b7e2d",
        0,
        '{"call_id":"c-2","summary":"Zoë paid 12 € — fini","status":"no-answer","call_length":0}',
        {"x-webhook-signature": "d63b0888ca960413723001d0b07e7ab1f19515959e90651987dbf80b2bd54c6d"},
    ),
    # Accepted by OpenAI's SDK and by the standardwebhooks library.
    "openai 1": (
        STANDARD_WEBHOOKS,
        WHSEC,
        1780409111000,
        (
            '{"object":"event","id":"evt_1","type":"realtime.call.incoming","created_at":1780409111,'
            '"data":{"call_id":"rtc_1","sip_headers":[]}}'
        ),
        {
            "webhook-id": "wh_685342e6c53c8190a1be43f081506c52",
            "webhook-timestamp": "1780409111",
            "webhook-signature": "v1,NN2fb0vcIM2tfuMBE/9aUHsRfgvPycYXIZ6uVITUpWc=",
        },
    ),
    "openai 2": (
        STANDARD_WEBHOOKS,
        WHSEC,
        1780409204000,
        '{"type":"realtime.session.relay","note":"Zoë ☎"}',
        {
            "webhook-id": "wh_relay_0001",
            "webhook-timestamp": "1780409204",
            "webhook-signature": "v1,c0wGexO1mrfVjGUyFHY3ESWAu424CaQz8Gcq9p7zuhI=",
        },
    ),
    "vapi A": (
        VAPI_A,
        VAPI_SECRET,
        1767225600000,
        VAPI_BODY,
        {
            "x-timestamp": "1767225600000",
            "x-signature": "deedc1d2ea41950120f67fc90c8606fe408df8f6ad4a22caf61991cac9993a8a",
        },
    ),
    "vapi B": (
        VAPI_B,
        VAPI_SECRET,
        0,
        VAPI_BODY,
        {"x-signature": "sha256=ba3a3d22eae28a82a6d528942f0dc6f1fe33898c10ca6fa0de9df5b8db540990"},
    ),
    "vapi C": (
        VAPI_C,
        "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3",
        1767225600000,
        VAPI_BODY,
        {
            "svix-id": "msg_2test",
            "x-timestamp": "1767225600",
            "x-signature": "v1,oGrVyhBY3zD1STPsL8rM46RfBtxIBDe7+tSiWxWI4Is=",
        },
    ),
    "vapi D": (
        VAPI_D,
        VAPI_SECRET,
        1767225600000,
        VAPI_BODY,
        {
            "x-timestamp": "1767225600000",
            "x-signature": "nrr/T7/IPF5JiOEf5QPI6pRyglRESQG4FHNESYVRxBZy+0S3aPClpxicafbohnW7RXh9h0uZAdwDSbqElxjA7Q==",
        },
    ),
    "ultravox": (
        ULTRAVOX,
        "uvx-secret-1",
        1781082110000,
        '{"event":"call.ended","call":{"callId":"c-1"}}',
        {
            "x-ultravox-webhook-timestamp": "2026-06-10T09:01:50.000000+00:00",
            "x-ultravox-webhook-signature": "dbef0c06351f19026f464d45741f8c6450730fe2bdb90e8a09cd7e2b2de78511",
        },
    ),
    "hume": (
        HUME,
        "hume-signing-key",
        1781092891000,
        '{"event_name":"chat_ended","chat_id":"c-1","duration_seconds":5}',
        {
            "x-hume-ai-webhook-timestamp": "1781092891",
            "x-hume-ai-webhook-signature": "f55c9461d2ee273f652ea44350a6916222ca540a66ec5592d2e6bd2cb384c12b",
        },
    ),
}
TIMED = [name for name, vector in VECTORS.items() if "{timestamp}" in vector[0].get("signed", "")]


def at_ms(number: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=number)


def judge(name: str, *, late_ms: int = 0, body: bytes | None = None, secret: str = "", **headers: str):
    """The verdict on a stored vector, with the clock moved or a part replaced (`x_signature="..."`)."""
    scheme, key, clock_ms, text, sent = VECTORS[name]
    changed = {header.replace("_", "-"): value for header, value in headers.items()}
    request = SignedRequest({**sent, **changed}, text.encode() if body is None else body)
    return verify(parse_scheme(scheme), [Secret("s1", secret or key)], request, at_ms(clock_ms + late_ms))


# --- stored vectors --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VECTORS)
def test_it_accepts_the_stored_vector(name):
    verdict = judge(name)
    assert (verdict.authentic, verdict.reason, verdict.secret_id) == (True, Reason.OK, "s1")


@pytest.mark.parametrize("name", VECTORS)
def test_it_refuses_the_vector_when_one_byte_of_the_body_changes(name):
    body = bytearray(VECTORS[name][3].encode())
    body[2] ^= 1
    assert judge(name, body=bytes(body)).reason == Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize("name", VECTORS)
def test_it_refuses_the_vector_under_another_secret(name):
    other = base64.b64encode(b"another secret").decode()
    assert judge(name, secret=other).reason == Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize("name", VECTORS)
def test_sign_writes_the_headers_of_the_vector(name):
    scheme, secret, clock_ms, body, headers = VECTORS[name]
    if name == "vapi C":  # this unit is "auto", and its vector happens to be in seconds
        scheme = {**scheme, "timestamp_unit": "s"}
    sent_id = headers.get(scheme.get("id_header", ""), "")
    made = sign(parse_scheme(scheme), secret, body.encode(), at_ms(clock_ms), id=sent_id)
    assert {header.lower(): value for header, value in made.items()} == headers


@pytest.mark.parametrize("name", TIMED)
def test_it_accepts_exactly_the_tolerance_and_refuses_a_millisecond_more(name):
    scheme = parse_scheme(VECTORS[name][0])
    past_ms, future_ms = scheme.tolerance_past_sec * 1000, scheme.tolerance_future_sec * 1000
    assert judge(name, late_ms=past_ms).authentic
    assert judge(name, late_ms=past_ms + 1).reason == Reason.TIMESTAMP_TOO_OLD
    assert judge(name, late_ms=-future_ms).authentic
    assert judge(name, late_ms=-future_ms - 1).reason == Reason.TIMESTAMP_IN_FUTURE


@pytest.mark.parametrize("name", ["openai 1", "vapi C"])
def test_it_tells_the_id_only_when_the_signature_covers_it(name):
    assert judge(name).covered_id == VECTORS[name][4][VECTORS[name][0]["id_header"]]
    assert judge(name, body=b"{}").covered_id is None


def test_it_tells_no_id_where_none_is_signed():
    assert judge("retell 1").covered_id is None


# --- headers of strangers --------------------------------------------------------------------------

T2, H2 = "1767225600000", "f3ab203e79284989e861d73448d076b2c96e8b45594b7ba8b03fb0d6e3564026"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (f"v=1767225600001,d={H2}", Reason.SIGNATURE_MISMATCH),
        (f"v=01767225600000,d={H2}", Reason.SIGNATURE_MISMATCH),  # the text is signed, not the number
        (f"sha256={H2}", Reason.HEADER_MALFORMED),
        (H2, Reason.HEADER_MALFORMED),
        (f"v={T2},d={H2} ", Reason.HEADER_MALFORMED),
        (f" v={T2},d={H2}", Reason.HEADER_MALFORMED),
        (f"v={T2}, d={H2}", Reason.HEADER_MALFORMED),
        (f"v={T2},d={H2}\n", Reason.HEADER_MALFORMED),
        (f"v={T2},d={H2},d={H2}", Reason.HEADER_MALFORMED),
        (f"d={H2},v={T2}", Reason.HEADER_MALFORMED),
        (f"v={T2},d={H2.upper()}", Reason.HEADER_MALFORMED),
        (f"v={T2},d={H2[:-1]}", Reason.HEADER_MALFORMED),
        (f"v={T2},d={H2[:-1]}\N{ARABIC-INDIC DIGIT ONE}", Reason.HEADER_MALFORMED),
        (f"v=١٧٦٧٢٢٥٦٠٠٠٠٠,d={H2}", Reason.HEADER_MALFORMED),
        (f"v=-{T2},d={H2}", Reason.HEADER_MALFORMED),
        (f"v={'9' * 5000},d={H2}", Reason.HEADER_MALFORMED),
        (f"v=,d={H2}", Reason.HEADER_MALFORMED),
        (f"v={T2},d=", Reason.HEADER_MALFORMED),
        ("v=,d=", Reason.HEADER_MALFORMED),
        ("\x00", Reason.HEADER_MALFORMED),
        ("\xff\xfe", Reason.HEADER_MALFORMED),
        ("\ud800", Reason.HEADER_MALFORMED),
        ("", Reason.HEADER_MISSING),
    ],
)
def test_it_refuses_a_whole_header_of_another_form(header, reason):
    verdict = judge("retell 2", x_retell_signature=header)
    assert (verdict.authentic, verdict.reason) == (False, reason)


def test_it_names_the_header_that_is_missing():
    verdict = verify(parse_scheme(RETELL), [Secret("s", "k")], SignedRequest({}, b"{}"), at_ms(0))
    assert verdict.reason == Reason.HEADER_MISSING
    assert "X-Retell-Signature" in verdict.detail


V0 = "v0=3147113f214ccd538c2a5e2f3c8017d1274e89e487e773c52bc535e2914c3dad"
OTHER_V0 = "v0=" + "0" * 64


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (f"{V0},t=1767225605", Reason.OK),
        (f"t=1767225605, {V0}", Reason.HEADER_MALFORMED),
        (f"t=1767225605,{OTHER_V0},{V0}", Reason.OK),
        (f"t=1767225605,v9=future,,{V0},", Reason.OK),
        (f"t=1767225605,t=1767225605,{V0}", Reason.OK),
        (f"t=1767225605,t=1767225606,{V0}", Reason.HEADER_MALFORMED),
        (f"t=1767225605,{OTHER_V0}", Reason.SIGNATURE_MISMATCH),
        (f"t=1767225606,{V0}", Reason.SIGNATURE_MISMATCH),
        (V0, Reason.TIMESTAMP_MISSING),
        (f"t=,{V0}", Reason.TIMESTAMP_MISSING),
        (f"t=١٢٣,{V0}", Reason.TIMESTAMP_MISSING),
        ("t=1767225605", Reason.HEADER_MALFORMED),
        (",,,", Reason.HEADER_MALFORMED),
    ],
)
def test_it_reads_a_header_of_several_parts(header, reason):
    assert judge("elevenlabs 1", elevenlabs_signature=header).reason == reason


GOOD_V1 = "v1,NN2fb0vcIM2tfuMBE/9aUHsRfgvPycYXIZ6uVITUpWc="


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (f"v1,{'A' * 43}= {GOOD_V1}", Reason.OK),
        (f"v1a,abcdef  {GOOD_V1}", Reason.OK),
        (GOOD_V1.replace("v1", "v2"), Reason.HEADER_MALFORMED),
        (GOOD_V1.rstrip("="), Reason.HEADER_MALFORMED),
        (GOOD_V1.replace("/", "_"), Reason.HEADER_MALFORMED),
        (GOOD_V1.replace("Wc=", "Wd="), Reason.SIGNATURE_MISMATCH),  # the same bytes, written another way
        ("v1,not base64!", Reason.HEADER_MALFORMED),
        ("v1,", Reason.HEADER_MALFORMED),
    ],
)
def test_it_tries_each_of_several_signatures_and_skips_unknown_versions(header, reason):
    assert judge("openai 1", webhook_signature=header).reason == reason


@pytest.mark.parametrize(
    ("name", "headers", "reason"),
    [
        ("openai 1", {"webhook_id": ""}, Reason.ID_MISSING),
        ("openai 1", {"webhook_id": "wh_1\x00"}, Reason.ID_MALFORMED),
        ("openai 1", {"webhook_id": "wh.1"}, Reason.ID_MALFORMED),
        ("openai 1", {"webhook_id": "x" * 256}, Reason.ID_MALFORMED),
        ("openai 1", {"webhook_id": "wh_2"}, Reason.SIGNATURE_MISMATCH),
        ("openai 1", {"webhook_timestamp": ""}, Reason.TIMESTAMP_MISSING),
        ("openai 1", {"webhook_timestamp": "١٢٣"}, Reason.TIMESTAMP_MALFORMED),
        ("openai 1", {"webhook_timestamp": "1780409111.0"}, Reason.TIMESTAMP_MALFORMED),
        ("openai 1", {"webhook_timestamp": "1e9"}, Reason.TIMESTAMP_MALFORMED),
        ("openai 1", {"webhook_timestamp": "9" * 21}, Reason.TIMESTAMP_MALFORMED),
        ("openai 1", {"webhook_timestamp": " 1780409111"}, Reason.TIMESTAMP_MALFORMED),
        ("ultravox", {"x_ultravox_webhook_timestamp": "yesterday"}, Reason.TIMESTAMP_MALFORMED),
        ("ultravox", {"x_ultravox_webhook_timestamp": "2026-13-10T09:01:50"}, Reason.TIMESTAMP_MALFORMED),
        ("ultravox", {"x_ultravox_webhook_timestamp": "2026-06-10T٠٩:01:50"}, Reason.TIMESTAMP_MALFORMED),
        (
            "ultravox",
            {"x_ultravox_webhook_timestamp": "0001-01-01T00:00:00+23:59"},
            Reason.SIGNATURE_MISMATCH,
        ),
    ],
)
def test_it_refuses_a_timestamp_or_id_that_is_none(name, headers, reason):
    assert judge(name, **headers).reason == reason


@pytest.mark.parametrize(
    ("text", "age_sec"),
    [
        ("2026-06-10T09:01:50", 0),  # a time without zone is UTC
        ("2026-06-10T09:01:50Z", 0),
        ("2026-06-10T11:01:51+02:00", -1),
        ("2026-06-10T09:00:49.999+00:00", 60.001),
    ],
)
def test_it_reads_iso_times_of_any_zone(text, age_sec):
    scheme = HmacScheme.model_validate({**ULTRAVOX, "tolerance_future_sec": 0})
    clock = datetime(2026, 6, 10, 9, 1, 50, tzinfo=UTC)
    headers = {
        "x-ultravox-webhook-timestamp": text,
        "x-ultravox-webhook-signature": signature_over(b"{}" + text.encode(), "k"),
    }
    verdict = verify(scheme, [Secret("s", "k")], SignedRequest(headers, b"{}"), clock)
    expected = Reason.TIMESTAMP_IN_FUTURE if age_sec < 0 else Reason.OK
    assert verdict.reason == (Reason.TIMESTAMP_TOO_OLD if age_sec > 60 else expected)


def signature_over(signed: bytes, key: str) -> str:
    return sign(parse_scheme(BLAND), key, signed, at_ms(0))["X-Webhook-Signature"]


def test_a_timestamp_far_away_is_refused_and_raises_nothing():
    text = "9" * 20
    header = f"v={text},d={signature_over(b'{}' + text.encode(), RETELL_KEY)}"
    verdict = judge("retell 2", body=b"{}", x_retell_signature=header)
    assert verdict.reason == Reason.TIMESTAMP_IN_FUTURE


@pytest.mark.parametrize(
    ("clock_ms", "text"), [(1_781_082_110_000, "1781082110"), (1_781_082_110_000, "1781082110000")]
)
def test_it_tells_seconds_from_milliseconds_by_size(clock_ms, text):
    headers = {"x-timestamp": text, "x-signature": signature_over(text.encode() + b".{}", "k")}
    request = SignedRequest(headers, b"{}")
    assert verify(parse_scheme(VAPI_A), [Secret("s", "k")], request, at_ms(clock_ms)).authentic


def test_an_unjudged_timestamp_is_signed_all_the_same():
    scheme = parse_scheme({**HUME, "timestamp_unit": "none"})
    headers = {name.lower(): value for name, value in sign(scheme, "k", b"{}", at_ms(0)).items()}
    years_later = at_ms(1_781_082_110_000)
    assert verify(scheme, [Secret("s", "k")], SignedRequest(headers, b"{}"), years_later).authentic
    headers["x-hume-ai-webhook-timestamp"] = "1"
    mismatch = verify(scheme, [Secret("s", "k")], SignedRequest(headers, b"{}"), years_later)
    assert mismatch.reason == Reason.SIGNATURE_MISMATCH


def test_method_and_url_are_covered_when_the_template_names_them():
    scheme = parse_scheme({"kind": "hmac", "header": "X-Sig", "signed": "{method} {url} {body}"})
    made = sign(scheme, "k", b"{}", at_ms(0), method="POST", url="https://example.test/webhook/ü")
    request = SignedRequest({"x-sig": made["X-Sig"]}, b"{}", "POST", "https://example.test/webhook/ü")
    assert verify(scheme, [Secret("s", "k")], request, at_ms(0)).authentic
    for changed in (replace(request, method="PUT"), replace(request, url="https://example.test/\ud800")):
        assert verify(scheme, [Secret("s", "k")], changed, at_ms(0)).reason == Reason.SIGNATURE_MISMATCH


# --- secrets ---------------------------------------------------------------------------------------


def verdict_with(secrets: list[Secret], name: str = "openai 1"):
    scheme, _, clock_ms, body, headers = VECTORS[name]
    return verify(parse_scheme(scheme), secrets, SignedRequest(headers, body.encode()), at_ms(clock_ms))


OLD, RIGHT = Secret("old", "whsec_b2xkIHNlY3JldA=="), Secret("right", WHSEC)
BROKEN, EMPTY = Secret("broken", "whsec_!"), Secret("empty", "whsec_")


@pytest.mark.parametrize(
    ("secrets", "reason", "secret_id"),
    [
        ([], Reason.NO_SECRET, None),
        ([OLD], Reason.SIGNATURE_MISMATCH, None),
        ([OLD, RIGHT], Reason.OK, "right"),
        ([RIGHT, OLD], Reason.OK, "right"),
        ([BROKEN, RIGHT], Reason.OK, "right"),
        ([OLD, BROKEN], Reason.SECRET_UNUSABLE, None),
        ([EMPTY], Reason.SECRET_UNUSABLE, None),
        ([Secret("blank", "")], Reason.SECRET_UNUSABLE, None),
        ([Secret("sign inside", WHSEC.replace("dm9p", "dm!9p"))], Reason.SECRET_UNUSABLE, None),
        ([Secret("non-ascii", "whsec_é")], Reason.SECRET_UNUSABLE, None),
    ],
)
def test_several_secrets_may_hold_at_once(secrets, reason, secret_id):
    verdict = verdict_with(secrets)
    assert (verdict.reason, verdict.secret_id) == (reason, secret_id)


def test_an_unusable_secret_is_named_by_its_id():
    assert "broken" in verdict_with([OLD, BROKEN]).detail


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_an_empty_secret_never_opens_the_door(text):
    forged = {"x-webhook-signature": "5" * 64, "authorization": "Bearer"}
    for scheme in (BLAND, BEARER):
        verdict = verify(parse_scheme(scheme), [Secret("s", text)], SignedRequest(forged, b"{}"), at_ms(0))
        assert verdict.reason == Reason.SECRET_UNUSABLE
    with pytest.raises(ValueError, match="empty"):
        sign(parse_scheme(BLAND), text, b"{}", at_ms(0))


def test_a_whsec_secret_without_its_prefix_is_used_as_text():
    scheme = parse_scheme(STANDARD_WEBHOOKS)
    made = sign(scheme, "plain text", b"{}", at_ms(0), id="msg_1")
    signature = base64.b64encode(bytes.fromhex(signature_over(b"msg_1.0.{}", "plain text"))).decode()
    assert made["webhook-signature"] == f"v1,{signature}"


@pytest.mark.parametrize("name", VECTORS)
def test_a_refusal_tells_neither_secret_nor_signature(name):
    scheme, secret, _, _, headers = VECTORS[name]
    refused = judge(name, body=b"[]")
    right = {header.lower(): value for header, value in headers.items()}[scheme["header"].lower()]
    assert secret not in refused.detail
    assert right not in refused.detail
    assert secret not in repr(Secret("s", secret))


def test_sign_refuses_to_leave_out_a_signed_id():
    with pytest.raises(ValueError, match="signs an id"):
        sign(parse_scheme(STANDARD_WEBHOOKS), WHSEC, b"{}", at_ms(0))


# --- tokens and none -------------------------------------------------------------------------------

STRICT_BEARER = {**BEARER, "prefix_required": True}
PLAIN_TOKEN = {"kind": "token", "header": "X-Vapi-Secret"}


@pytest.mark.parametrize(
    ("scheme", "header", "value", "reason"),
    [
        (BEARER, "authorization", f"Bearer {TOKEN}", Reason.OK),
        (BEARER, "authorization", TOKEN, Reason.OK),
        (BEARER, "authorization", f"bearer  {TOKEN}", Reason.OK),
        (BEARER, "authorization", f" BEARER\t{TOKEN} ", Reason.OK),
        (BEARER, "authorization", f"Bearer {TOKEN[:-1]}", Reason.TOKEN_MISMATCH),
        (BEARER, "authorization", f"Bearer {TOKEN}x", Reason.TOKEN_MISMATCH),
        (BEARER, "authorization", f"Bearer{TOKEN}", Reason.TOKEN_MISMATCH),
        (BEARER, "authorization", f"Basic {TOKEN}", Reason.TOKEN_MISMATCH),
        (BEARER, "authorization", f"Bearer {TOKEN.upper()}", Reason.TOKEN_MISMATCH),
        (BEARER, "authorization", "Bearer", Reason.TOKEN_MISMATCH),
        (BEARER, "authorization", " ", Reason.TOKEN_MISMATCH),
        (BEARER, "authorization", "\ud800\x00\xff", Reason.TOKEN_MISMATCH),
        (BEARER, "authorization", "", Reason.HEADER_MISSING),
        (BEARER, "x-other", TOKEN, Reason.HEADER_MISSING),
        (STRICT_BEARER, "authorization", f"Bearer {TOKEN}", Reason.OK),
        (STRICT_BEARER, "authorization", TOKEN, Reason.HEADER_MALFORMED),
        (STRICT_BEARER, "authorization", "Bearer ", Reason.HEADER_MALFORMED),
        (PLAIN_TOKEN, "x-vapi-secret", TOKEN, Reason.OK),
        (PLAIN_TOKEN, "x-vapi-secret", f"Bearer {TOKEN}", Reason.TOKEN_MISMATCH),
    ],
)
def test_it_compares_a_token(scheme, header, value, reason):
    request = SignedRequest({header: value}, b"\xffany bytes")
    verdict = verify(parse_scheme(scheme), [Secret("old", "x"), Secret("s", TOKEN)], request, at_ms(0))
    assert (verdict.authentic, verdict.reason) == (reason == Reason.OK, reason)
    assert verdict.secret_id == ("s" if reason == Reason.OK else None)
    assert TOKEN not in verdict.detail


@pytest.mark.parametrize("sent", ["schlüssel€", "schlüssel€".encode().decode("latin-1")])
def test_a_token_beyond_ascii_is_compared_as_utf8(sent):
    request = SignedRequest({"authorization": sent}, b"{}")
    assert verify(parse_scheme(BEARER), [Secret("s", "schlüssel€")], request, at_ms(0)).authentic


@pytest.mark.parametrize("scheme", [BEARER, STRICT_BEARER, PLAIN_TOKEN])
def test_what_sign_sends_as_a_token_is_accepted(scheme):
    headers = {n.lower(): v for n, v in sign(parse_scheme(scheme), TOKEN, b"", at_ms(0)).items()}
    request = SignedRequest(headers, b"")
    assert verify(parse_scheme(scheme), [Secret("s", TOKEN)], request, at_ms(0)).authentic


@pytest.mark.parametrize(
    ("given", "reason", "secret_id"),
    [
        (TOKEN, Reason.OK, "new"),
        ("an older one", Reason.OK, "old"),
        ("", Reason.URL_TOKEN_MISSING, None),
        (TOKEN[:-1], Reason.TOKEN_MISMATCH, None),
        (f"{TOKEN}/", Reason.TOKEN_MISMATCH, None),
        (f" {TOKEN}", Reason.TOKEN_MISMATCH, None),
        (TOKEN.upper(), Reason.TOKEN_MISMATCH, None),
        ("\udc80☎", Reason.TOKEN_MISMATCH, None),
    ],
)
def test_it_compares_the_token_in_the_url(given, reason, secret_id):
    secrets = [Secret("old", "an older one"), Secret("new", TOKEN)]
    request = SignedRequest({"authorization": TOKEN}, b"{}", url_token=given)
    verdict = verify(parse_scheme(URL_TOKEN), secrets, request, at_ms(0))
    assert (verdict.authentic, verdict.reason, verdict.secret_id) == (reason is Reason.OK, reason, secret_id)
    assert TOKEN not in repr((verdict, request))


def test_without_a_stored_token_no_url_proves_anything():
    request = SignedRequest({}, b"", url_token=TOKEN)
    assert verify(parse_scheme(URL_TOKEN), [], request, at_ms(0)).reason is Reason.NO_SECRET
    blank = SignedRequest({}, b"", url_token=" ")
    assert verify(parse_scheme(URL_TOKEN), [Secret("s", " ")], blank, at_ms(0)).reason is Reason.SECRET_UNUSABLE


def test_the_token_is_the_tail_of_the_url_and_no_header():
    assert url_tail(parse_scheme(URL_TOKEN), TOKEN) == f"/{TOKEN}"
    assert sign(parse_scheme(URL_TOKEN), TOKEN, b"", at_ms(0)) == {}
    assert [url_tail(parse_scheme(scheme), TOKEN) for scheme in (BEARER, RETELL)] == ["", ""]


def test_a_chosen_none_accepts_and_says_that_nothing_was_proven():
    scheme = parse_scheme({"kind": "none", "reason": "demo on a closed network"})
    verdict = verify(scheme, [], SignedRequest({}, b"{}"), at_ms(0))
    assert (verdict.authentic, verdict.reason, verdict.secret_id) == (True, Reason.NOT_CHECKED, None)
    assert "closed network" in verdict.detail
    assert sign(scheme, "", b"{}", at_ms(0)) == {}


@pytest.mark.parametrize(
    ("reasons", "best"),
    [
        ([], Reason.NO_SECRET),
        ([Reason.TOKEN_MISMATCH, Reason.OK], Reason.OK),
        ([Reason.NOT_CHECKED, Reason.OK], Reason.OK),
        ([Reason.TOKEN_MISMATCH, Reason.NOT_CHECKED], Reason.NOT_CHECKED),
        ([Reason.URL_TOKEN_MISSING, Reason.TOKEN_MISMATCH], Reason.TOKEN_MISMATCH),
        ([Reason.HEADER_MISSING, Reason.NO_SECRET, Reason.SIGNATURE_MISMATCH], Reason.SIGNATURE_MISMATCH),
        ([Reason.HEADER_MISSING, Reason.NO_SECRET], Reason.HEADER_MISSING),
    ],
)
def test_of_several_ways_the_one_that_proves_or_tells_most_counts(reasons, best):
    verdicts = [Verdict(reason in (Reason.OK, Reason.NOT_CHECKED), reason, "") for reason in reasons]
    assert best_verdict(verdicts).reason == best


# --- schemes that cannot work ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "change", "told"),
    [
        (RETELL, {"kind": "rsa"}, "hmac"),
        (RETELL, {"tolerance": 300}, "tolerance"),
        (RETELL, {"header": "X Retell"}, "not a header name"),
        (RETELL, {"header": ""}, "not a header name"),
        (RETELL, {"header": "X-Retell\n"}, "not a header name"),
        (RETELL, {"items": []}, "none holds {signature}"),
        (RETELL, {"items": ["v={timestamp}"]}, "none holds {signature}"),
        (RETELL, {"items": ["v={time},d={signature}"]}, "only these placeholders"),
        (RETELL, {"items": ["v={timestamp,d={signature}"]}, "only these placeholders"),
        (RETELL, {"items": ["{timestamp}{signature}"]}, "touch each other"),
        (RETELL, {"items": ["{signature},{signature}"]}, "repeat"),
        (RETELL, {"items": ["v={timestamp}", "d={signature}"]}, "need a separator"),
        (RETELL, {"separator": ","}, "stands inside an item"),
        (RETELL, {"signed": "{timestamp}"}, "signs no {body}"),
        (RETELL, {"signed": "{body}"}, "read but not signed"),
        (RETELL, {"signed": "{body}{timestamp}{nonce}"}, "only these placeholders"),
        (RETELL, {"items": ["d={signature}"]}, "timestamp_header"),
        (RETELL, {"timestamp_header": "X-Time"}, "from 2 places"),
        (RETELL, {"algorithm": "md5"}, "sha256"),
        (RETELL, {"tolerance_past_sec": -1}, "greater than or equal to 0"),
        (ELEVENLABS, {"separator": ""}, "could be part of a signature"),
        (ELEVENLABS, {"separator": "a"}, "could be part of a signature"),
        (ELEVENLABS, {"separator": "\x00"}, "cannot be sent"),
        (ELEVENLABS, {"items": ["t={timestamp}", "at={timestamp}", "v0={signature}"]}, "from 2 places"),
        (STANDARD_WEBHOOKS, {"id_header": None}, "id_header"),
        (STANDARD_WEBHOOKS, {"signed": "{timestamp}.{body}"}, "read but not signed"),
        (STANDARD_WEBHOOKS, {"signed": "{id}{timestamp}.{body}"}, "around {id}"),
        (STANDARD_WEBHOOKS, {"signed": "{timestamp}-{id}.{body}"}, "around {id}"),
        (BEARER, {"prefix": "Bearer token"}, "one word"),
        (PLAIN_TOKEN, {"prefix_required": True}, "name the prefix"),
        ({"kind": "none"}, {"reason": " "}, "reason"),
        ({"kind": "none"}, {}, "reason"),
    ],
)
def test_it_refuses_a_scheme_that_cannot_verify(base, change, told):
    with pytest.raises(ValidationError) as refused:
        parse_scheme({**base, **change})
    assert told in str(refused.value)


@pytest.mark.parametrize("data", [{}, None, "hmac", []])
def test_it_refuses_what_is_no_scheme_at_all(data):
    with pytest.raises(ValidationError):
        parse_scheme(data)


@pytest.mark.parametrize("name", VECTORS)
def test_a_scheme_survives_the_way_through_json(name):
    scheme = parse_scheme(VECTORS[name][0])
    assert parse_scheme(scheme.model_dump(mode="json")) == scheme


# --- properties ------------------------------------------------------------------------------------

HMAC_SCHEMES = [RETELL, ELEVENLABS, BLAND, STANDARD_WEBHOOKS, VAPI_A, VAPI_B, VAPI_C, VAPI_D, ULTRAVOX, HUME]
printable = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)
clocks = st.datetimes(datetime(2001, 9, 9, 2), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@st.composite
def deliveries(draw):
    """A scheme, its secret, and a delivery signed with it."""
    scheme = parse_scheme(draw(st.sampled_from(HMAC_SCHEMES)))
    secret = draw(printable)
    if scheme.secret_encoding == "base64":
        secret = base64.b64encode(secret.encode()).decode()
    body, now = draw(st.binary()), draw(clocks)
    headers = sign(scheme, secret, body, now, id="msg_1")
    request = SignedRequest({name.lower(): value for name, value in headers.items()}, body)
    return scheme, [Secret("s", secret)], request, now


@given(deliveries())
def test_what_sign_makes_is_accepted(delivery):
    assert verify(*delivery).reason == Reason.OK


@given(deliveries(), st.data())
def test_any_other_body_is_refused(delivery, data):
    scheme, secrets, request, now = delivery
    other = data.draw(st.binary().filter(lambda body: body != request.body))
    assert not verify(scheme, secrets, replace(request, body=other), now).authentic


@given(deliveries(), st.data())
def test_any_other_character_in_a_header_is_refused(delivery, data):
    scheme, secrets, request, now = delivery
    name = data.draw(st.sampled_from(sorted(request.headers)))
    value = request.headers[name]
    place = data.draw(st.integers(0, len(value) - 1))
    other = data.draw(st.characters().filter(lambda character: character not in (value[place], " ", "\t")))
    changed = value[:place] + other + value[place + 1 :]
    verdict = verify(scheme, secrets, replace(request, headers={**request.headers, name: changed}), now)
    assert not verdict.authentic


@given(st.sampled_from([*HMAC_SCHEMES, BEARER]), st.data(), st.binary(), clocks)
def test_it_never_raises_whatever_is_sent(scheme_data, data, body, now):
    scheme = parse_scheme(scheme_data)
    names = [scheme.header, getattr(scheme, "timestamp_header", None), getattr(scheme, "id_header", None)]
    headers = {name.lower(): data.draw(st.text()) for name in names if name}
    secrets = [Secret("s", "a secret no example guesses")]
    assert not verify(scheme, secrets, SignedRequest(headers, body), now).authentic


# --- against the provider's own SDK ----------------------------------------------------------------

bodies = st.text(st.characters(codec="utf-8"))
offsets_ms = st.integers(-301_000, 301_000) | st.sampled_from([-300_001, -300_000, 300_000, 300_001])


@given(bodies, printable, st.integers(10**12, 2 * 10**12), offsets_ms)
def test_it_agrees_with_the_retell_sdk_about_age(body, key, sent_at_ms, late_ms):
    header = retell_sdk["sign"](body, key, sent_at_ms)
    theirs = retell_sdk["verify"](body, key, header, {"timestamp": sent_at_ms + late_ms})
    request = SignedRequest({"x-retell-signature": header}, body.encode())
    ours = verify(parse_scheme(RETELL), [Secret("s", key)], request, at_ms(sent_at_ms + late_ms))
    assert ours.authentic == theirs


@given(bodies, st.integers(0, 90), st.sampled_from([*string.hexdigits, ",", "=", " ", "\n", "١", ""]))
def test_it_agrees_with_the_retell_sdk_about_a_changed_header(body, place, other):
    sent_at_ms = 1767225600000
    header = retell_sdk["sign"](body, RETELL_KEY, sent_at_ms)
    changed = header[:place] + other + header[place + 1 :]
    theirs = retell_sdk["verify"](body, RETELL_KEY, changed, {"timestamp": sent_at_ms})
    request = SignedRequest({"x-retell-signature": changed}, body.encode())
    ours = verify(parse_scheme(RETELL), [Secret("s", RETELL_KEY)], request, at_ms(sent_at_ms))
    assert ours.authentic == (theirs and changed.isascii())  # the SDK also takes digits of other scripts


@given(bodies, st.integers(10**12, 2 * 10**12))
def test_the_retell_sdk_accepts_what_sign_makes(body, now_ms):
    header = sign(parse_scheme(RETELL), RETELL_KEY, body.encode(), at_ms(now_ms))["X-Retell-Signature"]
    assert header == retell_sdk["sign"](body, RETELL_KEY, now_ms)
    assert retell_sdk["verify"](body, RETELL_KEY, header, {"timestamp": now_ms})
