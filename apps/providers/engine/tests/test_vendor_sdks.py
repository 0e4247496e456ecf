"""Our schemes beside the verifiers that vendors publish: delivery by delivery the same verdict, differences listed.

The vectors are signed here by plain HMAC as documented, so that a verifier is never asked about its own work alone.
"""

import base64
import hashlib
import hmac
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from apps.providers.engine.signatures import Secret, SignedRequest, parse_scheme, sign, verify

RETELL = {
    "kind": "hmac",
    "header": "X-Retell-Signature",
    "items": ["v={timestamp},d={signature}"],
    "signed": "{body}{timestamp}",
    "timestamp_unit": "ms",
}
# t=<Unix seconds>,v0=<hex>; 30 minutes; the bound for the future is ours.
ELEVENLABS = {
    "kind": "hmac",
    "header": "ElevenLabs-Signature",
    "items": ["t={timestamp}", "v0={signature}"],
    "separator": ",",
    "signed": "{timestamp}.{body}",
    "timestamp_unit": "s",
    "tolerance_past_sec": 1800,
}
# Standard Webhooks, as OpenAI uses it.
STANDARD = {
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
SCHEMES = {"retell": RETELL, "elevenlabs": ELEVENLABS, "openai": STANDARD, "standardwebhooks": STANDARD}

AT_SEC = 1_780_409_111
BODY = '{"type":"done","note":"Zoë ☎","n":1.0}\n'.encode()
ARABIC_DIGITS = "".join(chr(0x660 + int(digit)) for digit in f"{AT_SEC}000")
RETELL_KEY = "key_test_5f2c9a7be01d4c3f"
WSEC = "wsec_0123456789abcdef0123456789abcdef"
WHSEC = "whsec_dm9pY2VsZW5zLW9wZW5haS12ZWN0b3Itc2VjcmV0LTE="
WHSEC_KEY = base64.b64decode(WHSEC.removeprefix("whsec_"))


@dataclass(frozen=True)
class Delivery:
    """What a verifier judges, and its clock."""

    headers: dict[str, str]
    body: bytes
    secret: str
    now_ms: int = AT_SEC * 1000

    def with_header(self, name: str, value: str | None) -> "Delivery":
        rest = {key: text for key, text in self.headers.items() if key != name}
        return replace(self, headers=rest if value is None else rest | {name: value})

    def later(self, ms: int) -> "Delivery":
        return replace(self, now_ms=self.now_ms + ms)


# --- the verifiers -------------------------------------------------------------------------------------------

Accepts = Callable[[Delivery], bool]


class Clock:
    now_ms = 0

    def time(self) -> float:
        return self.now_ms / 1000


@pytest.fixture(scope="module")
def verifiers() -> Iterator[dict[str, Accepts]]:
    """Each vendor's own function, on a clock that stands where the delivery says."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the vendors' packages, while they are imported
        yield {
            "retell": _retell(),
            "elevenlabs": _on(clock, _elevenlabs(patch, clock)),
            "openai": _on(clock, _openai(patch, clock)),
            "standardwebhooks": _on(clock, _standardwebhooks(patch, clock)),
        }


def _on(clock: Clock, check: Callable[[Delivery], object]) -> Accepts:
    """Whatever the function raises is a refusal."""

    def accepts(delivery: Delivery) -> bool:
        clock.now_ms = delivery.now_ms
        try:
            check(delivery)
        except Exception:  # noqa: BLE001 - vendors raise what they please
            return False
        return True

    return accepts


def _retell() -> Accepts:
    from retell.lib.webhook_auth import symmetric

    def accepts(delivery: Delivery) -> bool:
        header, opts = delivery.headers.get("x-retell-signature", ""), {"timestamp": delivery.now_ms}
        return bool(symmetric["verify"](delivery.body.decode(), delivery.secret, header, opts))

    return accepts


def _elevenlabs(patch: pytest.MonkeyPatch, clock: Clock) -> Callable[[Delivery], object]:
    from elevenlabs import webhooks_custom

    patch.setattr(webhooks_custom, "time", clock)
    wrapper: Any = SimpleNamespace()
    client = webhooks_custom.WebhooksClient(client_wrapper=wrapper)

    def check(delivery: Delivery) -> object:
        header = delivery.headers.get("elevenlabs-signature", "")
        return client.construct_event(delivery.body.decode(), header, delivery.secret)

    return check


def _openai(patch: pytest.MonkeyPatch, clock: Clock) -> Callable[[Delivery], object]:
    import openai
    from openai.lib import _webhooks

    patch.setattr(_webhooks, "time", clock)
    client = openai.OpenAI(api_key="none")
    return lambda delivery: client.webhooks.verify_signature(delivery.body, delivery.headers, secret=delivery.secret)


def _standardwebhooks(patch: pytest.MonkeyPatch, clock: Clock) -> Callable[[Delivery], object]:
    from standardwebhooks import webhooks

    def now(tz: Any = None) -> datetime:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=clock.now_ms)

    standing = SimpleNamespace(now=now, fromtimestamp=datetime.fromtimestamp)
    patch.setattr(webhooks, "datetime", standing)
    return lambda delivery: webhooks.Webhook(delivery.secret).verify(delivery.body, delivery.headers, json_parse=False)


def ours(name: str, delivery: Delivery) -> bool:
    now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=delivery.now_ms)
    request = SignedRequest(delivery.headers, delivery.body)
    return verify(parse_scheme(SCHEMES[name]), [Secret("s", delivery.secret)], request, now).authentic


# --- the deliveries ------------------------------------------------------------------------------------------


def _digest(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def retell(
    body: bytes = BODY, time: str = f"{AT_SEC}000", key: str = RETELL_KEY, signed: str | None = None
) -> Delivery:
    digest = _digest(key.encode(), body + (time if signed is None else signed).encode()).hex()
    return Delivery({"x-retell-signature": f"v={time},d={digest}"}, BODY, RETELL_KEY)


def elevenlabs(body: bytes = BODY, time: str = str(AT_SEC), key: str = WSEC) -> Delivery:
    digest = _digest(key.encode(), time.encode() + b"." + body).hex()
    return Delivery({"elevenlabs-signature": f"t={time},v0={digest}"}, body, WSEC)


def standard(
    body: bytes = BODY, time: str = str(AT_SEC), id_: str = "wh_1", key: bytes = WHSEC_KEY, signed: str | None = None
) -> Delivery:
    message = f"{id_}.{time if signed is None else signed}.".encode() + body
    value = f"v1,{base64.b64encode(_digest(key, message)).decode()}"
    return Delivery({"webhook-id": id_, "webhook-timestamp": time, "webhook-signature": value}, body, WHSEC)


def common(good: Delivery, header: str) -> dict[str, Delivery]:
    """What may be done to any signed delivery."""
    value = good.headers[header]
    return {
        "untouched": good,
        "one byte of the body changed": replace(good, body=good.body.replace(b"1.0", b"1.1")),
        "a blank after the body": replace(good, body=good.body + b" "),
        "the body without its line break": replace(good, body=good.body.rstrip()),
        "the body written anew": replace(good, body=json.dumps(json.loads(good.body)).encode()),
        "no body": replace(good, body=b""),
        "another secret": replace(good, secret=good.secret[:-2] + "x="),
        "header missing": good.with_header(header, None),
        "header empty": good.with_header(header, ""),
        "header in capitals": good.with_header(header, value.upper()),
        "a blank before the header": good.with_header(header, f" {value}"),
        "the signature's last character missing": good.with_header(header, value[:-1]),
        "a character more": good.with_header(header, f"{value}0"),
        "a line break after the header": good.with_header(header, f"{value}\n"),
        "only a word": good.with_header(header, "nonsense"),
        "quoted": good.with_header(header, f'"{value}"'),
    }


def of_retell() -> dict[str, Delivery]:
    good = retell()
    header = "x-retell-signature"
    value = good.headers[header]
    time, _, digest = value.partition(",")
    return {
        **common(good, header),
        "the signature in capitals": good.with_header(header, f"{time},d={digest[2:].upper()}"),
        "a blank after the comma": good.with_header(header, f"{time}, {digest}"),
        "the parts changed round": good.with_header(header, f"{digest},{time}"),
        "without the time": good.with_header(header, digest),
        "without the signature": good.with_header(header, time),
        "two signatures": good.with_header(header, f"{value},{digest}"),
        "the bare signature": good.with_header(header, digest[2:]),
        "another form": good.with_header(header, f"sha256={digest[2:]}"),
        "the time a millisecond later": good.with_header(header, f"v={AT_SEC}001,{digest}"),
        "the time in seconds": retell(time=str(AT_SEC)),
        "signed without the time": retell(signed=""),
        "300 s old": good.later(300_000),
        "300.001 s old": good.later(300_001),
        "300 s ahead": good.later(-300_000),
        "300.001 s ahead": good.later(-300_001),
        "a zero before the time": retell(time=f"0{AT_SEC}000", signed=f"{AT_SEC}000"),
        "digits of another script": retell(
            time="".join(chr(0x660 + int(d)) for d in f"{AT_SEC}000"), signed=f"{AT_SEC}000"
        ),
    }


def of_elevenlabs() -> dict[str, Delivery]:
    good = elevenlabs()
    header = "elevenlabs-signature"
    value = good.headers[header]
    time, _, digest = value.partition(",")
    wrong = "v0=" + "0" * 64
    return {
        **common(good, header),
        "the signature in capitals": good.with_header(header, f"{time},v0={digest[3:].upper()}"),
        "a blank after the comma": good.with_header(header, f"{time}, {digest}"),
        "a blank after the header": good.with_header(header, f"{value} "),
        "the parts changed round": good.with_header(header, f"{digest},{time}"),
        "an unknown part between": good.with_header(header, f"{time},v1=abc,{digest}"),
        "without the time": good.with_header(header, digest),
        "without the signature": good.with_header(header, time),
        "a wrong signature first": good.with_header(header, f"{time},{wrong},{digest}"),
        "a wrong signature last": good.with_header(header, f"{time},{digest},{wrong}"),
        "another time first": good.with_header(header, f"t={AT_SEC - 1},{value}"),
        "another time last": good.with_header(header, f"{value},t={AT_SEC - 1}"),
        "the time a second later": good.with_header(header, f"t={AT_SEC + 1},{digest}"),
        "the time in milliseconds": elevenlabs(time=f"{AT_SEC}000"),
        "1800 s old": good.later(1_800_000),
        "1801 s old": good.later(1_801_000),
        "300 s ahead": good.later(-300_000),
        "301 s ahead": good.later(-301_000),
        "a sign before the time": elevenlabs(time=f"+{AT_SEC}"),
        "a blank before the time": elevenlabs(time=f" {AT_SEC}"),
        "the time with a fraction": elevenlabs(time=f"{AT_SEC}.5"),
        "the time is a word": elevenlabs(time="now"),
        "the secret without its prefix": elevenlabs(key=WSEC.removeprefix("wsec_")),
        "a body that is no JSON": elevenlabs(b"done"),
        "a body that is no UTF-8": elevenlabs(b'{"n": "\xff"}'),
    }


def of_standard() -> dict[str, Delivery]:
    good = standard()
    header = "webhook-signature"
    value = good.headers[header]
    wrong = f"v1,{'A' * 43}="
    return {
        **common(good, header),
        "a wrong signature first": good.with_header(header, f"{wrong} {value}"),
        "a wrong signature last": good.with_header(header, f"{value} {wrong}"),
        "an unknown version first": good.with_header(header, f"v1a,abc {value}"),
        "only an unknown version": good.with_header(header, value.replace("v1", "v2")),
        "two blanks between": good.with_header(header, f"{wrong}  {value}"),
        "a tab between": good.with_header(header, f"{wrong}\t{value}"),
        "a comma between": good.with_header(header, f"{wrong},{value}"),
        "a word before": good.with_header(header, f"word {value}"),
        "the signature without its version": good.with_header(header, value.removeprefix("v1,")),
        "the signature without its padding": good.with_header(header, value.rstrip("=")),
        "a stray sign within the signature": good.with_header(header, f"{value[:9]}!{value[9:]}"),
        "the signature in hex": good.with_header(header, f"v1,{base64.b64decode(value.removeprefix('v1,')).hex()}"),
        "without the id": good.with_header("webhook-id", None),
        "another id": good.with_header("webhook-id", "wh_2"),
        "without the time": good.with_header("webhook-timestamp", None),
        "the time a second later": good.with_header("webhook-timestamp", str(AT_SEC + 1)),
        "the time in milliseconds": standard(time=f"{AT_SEC}000"),
        "the time is a word": standard(time="now"),
        "a sign before the time": standard(time=f"+{AT_SEC}"),
        "a fraction of zero": standard(time=f"{AT_SEC}.0", signed=str(AT_SEC)),
        "300 s old": good.later(300_000),
        "301 s old": good.later(301_000),
        "300 s ahead": good.later(-300_000),
        "301 s ahead": good.later(-301_000),
        "an id with a dot": standard(id_="wh.1"),
        "an id with a blank": standard(id_="wh 1"),
        "the secret taken as text": standard(key=WHSEC.encode()),
        "a secret without its prefix as text": replace(standard(key=b"c2VjcmV0"), secret="c2VjcmV0"),
        "a secret without its prefix as base64": replace(standard(key=b"secret"), secret="c2VjcmV0"),
        "a secret without its padding": replace(good, secret=WHSEC.rstrip("=")),
        "an empty secret": replace(standard(key=b""), secret="whsec_"),
        "a body that is no JSON": standard(b"done"),
        "a body that is no UTF-8": standard(b'{"n": "\xff"}'),
    }


DELIVERIES = {
    "retell": of_retell(),
    "elevenlabs": of_elevenlabs(),
    "openai": of_standard(),
    "standardwebhooks": of_standard(),
}
CASES = [(sdk, name) for sdk, deliveries in DELIVERIES.items() for name in deliveries]

# Where the vendor's function accepts and we do not, and why that is meant.
ONE_SPELLING = "a time is ASCII digits as the vendor writes it; another spelling of the same number is not its header"
ONE_TIME = "a header with two times does not say which of them was signed"
FUTURE = "the SDK sets no bound for the future: who once got hold of a delivery dated ahead could repeat it for years"
CANONICAL = "base64 has one spelling of a signature; the SDK skips what is no base64"
NARROW_ID = "only letters, digits, - and _: with a dot in the id its end could be moved into the time or the body"
STRICTER = {
    ("retell", "a zero before the time"): ONE_SPELLING,
    ("retell", "digits of another script"): ONE_SPELLING,
    ("elevenlabs", "301 s ahead"): FUTURE,
    ("elevenlabs", "the time in milliseconds"): FUTURE,
    ("elevenlabs", "a sign before the time"): ONE_SPELLING,
    ("elevenlabs", "a blank before the time"): ONE_SPELLING,
    ("elevenlabs", "another time first"): ONE_TIME,
    ("openai", "a sign before the time"): ONE_SPELLING,
    ("openai", "a tab between"): "signatures are parted by blanks, as the specification says",
    ("openai", "a line break after the header"): "no server hands on a header with a line break",
    ("openai", "the signature without its version"): "a signature without its version says not how it was made",
    ("openai", "an id with a dot"): NARROW_ID,
    ("openai", "an id with a blank"): NARROW_ID,
    ("openai", "an empty secret"): "with an empty key anyone could sign",
    ("standardwebhooks", "a fraction of zero"): ONE_SPELLING,
    ("standardwebhooks", "a character more"): CANONICAL,
    ("standardwebhooks", "a line break after the header"): CANONICAL,
    ("standardwebhooks", "a stray sign within the signature"): CANONICAL,
    ("standardwebhooks", "an id with a dot"): NARROW_ID,
    ("standardwebhooks", "an id with a blank"): NARROW_ID,
    ("standardwebhooks", "a secret without its padding"): "a secret that lost a part of its text is entered again",
    ("standardwebhooks", "a secret without its prefix as base64"): "set secret_encoding to base64 for such a secret",
}
# Where the vendor's function refuses and we do not. None of it lets in what the holder of the secret did not sign.
NOT_READ = "the signature is right; what cannot be read is stored and fails where it can be seen and replayed"
SKIPPED = "a part of no known form is skipped, as OpenAI's own SDK does; the library gives up at it"
WIDER = {
    ("elevenlabs", "a wrong signature last"): "any of several signatures may be right, the SDK looks at the last only",
    ("elevenlabs", "a body that is no JSON"): NOT_READ,
    ("elevenlabs", "a body that is no UTF-8"): NOT_READ,
    ("openai", "a body that is no UTF-8"): NOT_READ,
    ("standardwebhooks", "a body that is no UTF-8"): NOT_READ,
    ("standardwebhooks", "a blank before the header"): SKIPPED,
    ("standardwebhooks", "two blanks between"): SKIPPED,
    ("standardwebhooks", "a word before"): SKIPPED,
    (
        "standardwebhooks",
        "a secret without its prefix as text",
    ): "without its prefix it is text, as for OpenAI's SDK",
}


@pytest.mark.parametrize(("sdk", "name"), CASES)
def test_our_verdict_is_the_vendors_but_for_what_is_listed(sdk: str, name: str, verifiers: dict[str, Accepts]) -> None:
    delivery = DELIVERIES[sdk][name]
    verdicts = {"vendor": verifiers[sdk](delivery), "ours": ours(sdk, delivery)}
    if (sdk, name) in STRICTER:
        assert verdicts == {"vendor": True, "ours": False}
    elif (sdk, name) in WIDER:
        assert verdicts == {"vendor": False, "ours": True}
    else:
        assert verdicts["ours"] is verdicts["vendor"]
    if name == "untouched":
        assert verdicts["ours"]


def test_every_difference_that_is_listed_is_tried() -> None:
    assert set(STRICTER) | set(WIDER) <= set(CASES)
    assert not set(STRICTER) & set(WIDER)


@pytest.mark.parametrize("sdk", SCHEMES)
def test_the_vendor_accepts_what_we_sign(sdk: str, verifiers: dict[str, Accepts]) -> None:
    secret = DELIVERIES[sdk]["untouched"].secret
    headers = sign(parse_scheme(SCHEMES[sdk]), secret, BODY, datetime.fromtimestamp(AT_SEC, UTC), id="wh_1")
    delivery = Delivery({name.lower(): value for name, value in headers.items()}, BODY, secret)
    assert delivery == DELIVERIES[sdk]["untouched"]
    assert verifiers[sdk](delivery)


def test_we_accept_what_the_vendors_sign(verifiers: dict[str, Accepts]) -> None:
    """For the two that publish how to sign."""
    from retell.lib.webhook_auth import symmetric
    from standardwebhooks.webhooks import Webhook

    header = symmetric["sign"](BODY.decode(), RETELL_KEY, AT_SEC * 1000)
    assert ours("retell", Delivery({"x-retell-signature": header}, BODY, RETELL_KEY))
    value = Webhook(WHSEC).sign("wh_1", datetime.fromtimestamp(AT_SEC, UTC), BODY.decode())
    assert ours("openai", standard().with_header("webhook-signature", value))
