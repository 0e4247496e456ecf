"""Proves that a webhook was sent by the holder of a secret, and signs one the way its provider would.

Schemes are data: how a header is written, which bytes are signed, where the time stands. Which provider uses
which scheme is said in its catalogue file; storing secrets and answering the sender is left to the apps.
"""

import base64
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from apps.providers.engine.digests import feed

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECONDS_FROM = 10**11  # "auto": as seconds this would be the year 5138, as milliseconds it is 1973
_PLACEHOLDER = re.compile(r"\{([a-z]+)\}")
_DIGEST_BYTES = {"sha1": 20, "sha256": 32, "sha512": 64}
# Narrow on purpose: no bytes may be moved between an id and what is signed beside it, see _signed_template.
_ID_PATTERN = r"[A-Za-z0-9_-]{1,255}"
_TIMESTAMP_PATTERNS = {
    "s": r"[0-9]{1,20}",
    "ms": r"[0-9]{1,20}",
    "auto": r"[0-9]{1,20}",
    "iso": r"[0-9TZ:.+-]{1,40}",
    "none": r"[!-~]{1,40}",
}


class Reason(StrEnum):
    """Why a delivery was accepted or refused; the values are stored and must not change."""

    OK = "ok"
    NOT_CHECKED = "not_checked"
    NO_SECRET = "no_secret"  # noqa: S105 - a reason, not a secret
    SECRET_UNUSABLE = "secret_unusable"  # noqa: S105
    HEADER_MISSING = "header_missing"
    HEADER_MALFORMED = "header_malformed"
    TIMESTAMP_MISSING = "timestamp_missing"
    TIMESTAMP_MALFORMED = "timestamp_malformed"
    TIMESTAMP_TOO_OLD = "timestamp_too_old"
    TIMESTAMP_IN_FUTURE = "timestamp_in_future"
    ID_MISSING = "id_missing"
    ID_MALFORMED = "id_malformed"
    SIGNATURE_MISMATCH = "signature_mismatch"
    TOKEN_MISMATCH = "token_mismatch"  # noqa: S105
    URL_TOKEN_MISSING = "url_token_missing"  # noqa: S105


# --- the schemes -----------------------------------------------------------------------------------


def _header_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", value):
        raise ValueError(f"{value!r} is not a header name")
    return value


def _word(value: str) -> str:
    if not re.fullmatch(r"[!-~]+", value):
        raise ValueError(f"{value!r} must be one word without blanks, such as Bearer")
    return value


def _placeholders(template: str, allowed: set[str]) -> list[str]:
    """The placeholders of a template in order; ValueError for an unknown one or a stray brace."""
    names = _PLACEHOLDER.findall(template)
    unknown = [name for name in names if name not in allowed]
    if unknown or set("{}") & set(_PLACEHOLDER.sub("", template)):
        choices = ", ".join("{" + name + "}" for name in sorted(allowed))
        raise ValueError(f"{template!r} may hold only these placeholders: {choices}")
    return names


def _header_item(template: str) -> str:
    names = _placeholders(template, {"signature", "timestamp", "id"})
    if len(set(names)) != len(names) or "}{" in template:
        raise ValueError(f"{template!r} cannot be read back: placeholders repeat or touch each other")
    return template


def _signed_template(template: str) -> str:
    names = _placeholders(template, {"body", "timestamp", "id", "method", "url"})
    if "body" not in names:
        raise ValueError(f"{template!r} signs no {{body}}, so anyone could change it")
    if re.search(r"[A-Za-z0-9_}-]\{id\}|\{id\}[A-Za-z0-9_{-]", template):
        raise ValueError(f"{template!r} needs a sign such as '.' around {{id}}, or its end could be moved")
    return template


HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderItem = Annotated[str, AfterValidator(_header_item)]
SignedTemplate = Annotated[str, AfterValidator(_signed_template)]


class _SchemeModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HmacScheme(_SchemeModel):
    """A keyed hash over body and, mostly, time.

    `items` are templates of the header's parts. Without `separator` the whole header value must match the
    only item; with it the value is split, unknown parts are skipped and each signature is a candidate.
    `signed` is the template of the signed bytes; the text of the headers is put into it as it arrived.
    """

    kind: Literal["hmac"]
    header: HeaderName
    items: list[HeaderItem] = ["{signature}"]
    separator: str | None = None
    timestamp_header: HeaderName | None = None
    id_header: HeaderName | None = None
    algorithm: Literal["sha256", "sha512", "sha1"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    signed: SignedTemplate = "{body}"
    timestamp_unit: Literal["s", "ms", "auto", "iso", "none"] = "auto"
    tolerance_past_sec: int = Field(default=300, ge=0)
    tolerance_future_sec: int = Field(default=300, ge=0)
    secret_encoding: Literal["text", "base64", "whsec"] = "text"  # noqa: S105

    @cached_property
    def item_patterns(self) -> list[re.Pattern[str]]:
        """Reads each item; the text around the placeholders is taken literally."""
        return [re.compile(_item_pattern(self, item)) for item in self.items]

    @cached_property
    def signed_pieces(self) -> list[bytes | str]:
        """The template of what is signed: literals as bytes, names of placeholders as text."""
        pieces = enumerate(_PLACEHOLDER.split(self.signed))
        return [piece if index % 2 else _bytes(piece) for index, piece in pieces if piece]

    @model_validator(mode="after")
    def _items_can_be_read(self) -> Self:
        if not any("{signature}" in item for item in self.items):
            raise ValueError("items: none holds {signature}")
        if self.separator is None:
            if len(self.items) != 1:
                raise ValueError("items: several need a separator; without one the whole header is one item")
            return self
        if not re.fullmatch(r"[ -~]+", self.separator) or re.search(r"[A-Za-z0-9+/={}]", self.separator):
            raise ValueError(f"separator: {self.separator!r} could be part of a signature or cannot be sent")
        if any(self.separator in item for item in self.items):
            raise ValueError(f"separator: {self.separator!r} stands inside an item")
        return self

    @model_validator(mode="after")
    def _time_and_id_are_found_once_and_signed(self) -> Self:
        for name, header in (("timestamp", self.timestamp_header), ("id", self.id_header)):
            placeholder = "{" + name + "}"
            places = sum(placeholder in item for item in self.items) + (header is not None)
            if places > 1:
                raise ValueError(f"{placeholder} is read from {places} places, name one")
            if places and placeholder not in self.signed:
                raise ValueError(f"{placeholder} is read but not signed, so it would prove nothing")
            if placeholder in self.signed and not places:
                raise ValueError(f"signed holds {placeholder}: set {name}_header or put it into items")
        return self


class TokenScheme(_SchemeModel):
    """A secret sent as it is. It tells who sends, not what was sent: neither time nor body is covered."""

    kind: Literal["token"]
    header: HeaderName = "Authorization"
    prefix: Annotated[str, AfterValidator(_word)] | None = None
    prefix_required: bool = False

    @model_validator(mode="after")
    def _prefix_is_named(self) -> Self:
        if self.prefix_required and self.prefix is None:
            raise ValueError("prefix_required: name the prefix")
        return self


class UrlTokenScheme(_SchemeModel):
    """A secret as the last part of the URL, for senders that can neither sign nor set a header.

    It tells who sends, not what was sent; what keeps URLs on the way (a proxy's log) keeps the token as well.
    """

    kind: Literal["url_token"]


class NoneScheme(_SchemeModel):
    """Deliveries are accepted unproven. Someone chose that, and says why."""

    kind: Literal["none"]
    reason: Annotated[str, Field(min_length=1, pattern=r"\S")]


Scheme = Annotated[HmacScheme | TokenScheme | UrlTokenScheme | NoneScheme, Field(discriminator="kind")]
_SCHEME: TypeAdapter[HmacScheme | TokenScheme | UrlTokenScheme | NoneScheme] = TypeAdapter(Scheme)


def parse_scheme(data: object) -> Scheme:
    """The scheme described by JSON-like data; pydantic.ValidationError tells what cannot work."""
    return _SCHEME.validate_python(data)


# --- what is checked and what comes out ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it arrived: header names in lower case, header values as the server decoded them.

    `url_token` is the last part of the URL where an endpoint's address goes on; `url` is the whole of it.
    """

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    method: str = "POST"
    url: str = field(default="", repr=False)
    url_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Secret:
    """One of the secrets valid now; `id` is what a verdict may tell about it."""

    id: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`detail` says what to look at, never a secret; `covered_id` is the delivery's id if it was signed.

    `covers_body`: not a byte of the body can have been lost or changed on its way.
    """

    authentic: bool
    reason: Reason
    detail: str
    secret_id: str | None = None
    covered_id: str | None = None
    covers_body: bool = False


def verify(scheme: Scheme, secrets: Sequence[Secret], request: SignedRequest, now: datetime) -> Verdict:
    """Whether the request is authentic; anything malformed is a verdict, never an exception.

    `secrets` may hold several (rotation). `now` is an aware datetime. The signature is judged before the age,
    so "too old" means an authentic delivery that came late, or a wrong clock.
    """
    if isinstance(scheme, NoneScheme):
        return Verdict(True, Reason.NOT_CHECKED, f"accepted unproven: {scheme.reason}")
    try:
        if not secrets:
            raise _RefusedError(Reason.NO_SECRET, "no valid secret is stored for this endpoint")
        if isinstance(scheme, TokenScheme):
            return _verify_token(scheme, secrets, request)
        if isinstance(scheme, UrlTokenScheme):
            return _verify_url_token(secrets, request)
        return _verify_hmac(scheme, secrets, request, now)
    except _RefusedError as refused:
        return Verdict(False, refused.reason, refused.detail)


def best_verdict(verdicts: Sequence[Verdict]) -> Verdict:
    """Of several ways to prove a request the first that did, else the verdict that says most about why none did.

    What was accepted unproven counts only where no other way proved it.
    """
    accepted = sorted((v for v in verdicts if v.authentic), key=lambda verdict: verdict.reason is not Reason.OK)
    if accepted:
        return accepted[0]
    absent = (Reason.HEADER_MISSING, Reason.URL_TOKEN_MISSING, Reason.NO_SECRET)
    told = [verdict for verdict in verdicts if verdict.reason not in absent]
    no_way = Verdict(False, Reason.NO_SECRET, "no auth config is switched on")
    return [*told, *verdicts, no_way][0]


def sign(
    scheme: Scheme,
    secret: str,
    body: bytes,
    now: datetime,
    *,
    id: str = "",  # noqa: A002 - the placeholder's name
    method: str = "POST",
    url: str = "",
) -> dict[str, str]:
    """The headers the provider would send with this body; see url_tail for what it would add to the URL.

    Raises ValueError for a secret that cannot be decoded and for an id that is missing or cannot be sent.
    """
    if isinstance(scheme, NoneScheme | UrlTokenScheme):
        return {}
    if isinstance(scheme, TokenScheme):
        return {scheme.header: f"{scheme.prefix} {secret}" if scheme.prefix else secret}
    texts = {"timestamp": _timestamp_text(scheme, now), "id": id, "method": method, "url": url}
    if "{id}" in scheme.signed and not re.fullmatch(_ID_PATTERN, id):
        raise ValueError(f"this scheme signs an id, and {id!r} is none")
    texts["signature"] = _signature(scheme, _key(scheme, secret), body, texts)
    headers = {scheme.header: (scheme.separator or "").join(_fill(item, texts) for item in scheme.items)}
    if scheme.timestamp_header:
        headers[scheme.timestamp_header] = texts["timestamp"]
    if scheme.id_header:
        headers[scheme.id_header] = id
    return headers


def url_tail(scheme: Scheme, secret: str) -> str:
    """What follows the endpoint's own address in the URL to paste: the token, or nothing."""
    return f"/{secret}" if isinstance(scheme, UrlTokenScheme) else ""


class _RefusedError(Exception):
    """Ends a verification; never leaves this module."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


# --- keyed hashes ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Claims:
    """What the headers of one request claim."""

    signatures: list[str]
    timestamp: str
    id: str


def _verify_hmac(scheme: HmacScheme, secrets: Sequence[Secret], request: SignedRequest, now: datetime) -> Verdict:
    claims = _read_claims(scheme, request.headers)
    sent_at_us = _timestamp_us(scheme, claims.timestamp)
    texts = {"timestamp": claims.timestamp, "id": claims.id, "method": request.method, "url": request.url}

    def matches(secret: Secret) -> bool:
        expected = _signature(scheme, _key(scheme, secret.value), request.body, texts)
        return sum(hmac.compare_digest(expected, given) for given in claims.signatures) > 0

    mismatch = f"no stored secret gives the signature in {scheme.header}: compare secret, 'signed', 'algorithm'"
    secret_id = _matching_secret(secrets, matches, Reason.SIGNATURE_MISMATCH, mismatch)
    _check_age(scheme, sent_at_us, now)
    return Verdict(True, Reason.OK, f"signature in {scheme.header} is right", secret_id, claims.id or None, True)


def _matching_secret(secrets: Sequence[Secret], matches: Callable[[Secret], bool], reason: Reason, detail: str) -> str:
    """The id of the first secret that matches; all are tried, so time does not tell which one it was."""
    matching: list[str] = []
    unusable: list[str] = []
    for secret in secrets:
        try:
            if matches(secret):
                matching.append(secret.id)
        except ValueError:
            unusable.append(secret.id)
    if matching:
        return matching[0]
    if unusable:
        names = ", ".join(unusable)
        raise _RefusedError(Reason.SECRET_UNUSABLE, f"cannot be used as typed, enter it again: secret {names}")
    raise _RefusedError(reason, detail)


def _read_claims(scheme: HmacScheme, headers: Mapping[str, str]) -> _Claims:
    found = _read_items(scheme, _header(headers, scheme.header, Reason.HEADER_MISSING))
    if scheme.timestamp_header:
        text = _header(headers, scheme.timestamp_header, Reason.TIMESTAMP_MISSING)
        found["timestamp"] = {_matching_text(scheme, "timestamp", text, scheme.timestamp_header)}
    if scheme.id_header:
        text = _header(headers, scheme.id_header, Reason.ID_MISSING)
        found["id"] = {_matching_text(scheme, "id", text, scheme.id_header)}
    for name, reason in (("timestamp", Reason.TIMESTAMP_MISSING), ("id", Reason.ID_MISSING)):
        if "{" + name + "}" in scheme.signed and not found[name]:
            raise _RefusedError(reason, f"header {scheme.header} holds no {name}")
        if len(found[name]) > 1:
            raise _RefusedError(Reason.HEADER_MALFORMED, f"header {scheme.header} holds more than one {name}")
    return _Claims(
        signatures=sorted(found["signature"]),
        timestamp="".join(found["timestamp"]),
        id="".join(found["id"]),
    )


def _read_items(scheme: HmacScheme, value: str) -> dict[str, set[str]]:
    """Every text found for each placeholder in the signature header; parts of no known form are skipped."""
    parts = [value] if scheme.separator is None else value.split(scheme.separator)
    found: dict[str, set[str]] = {"signature": set(), "timestamp": set(), "id": set()}
    for pattern in scheme.item_patterns:
        for part in parts:
            match = pattern.fullmatch(part)
            for name, text in match.groupdict().items() if match else ():
                found[name].add(text)
    if not found["signature"]:
        looks = (scheme.separator or "").join(scheme.items)
        raise _RefusedError(Reason.HEADER_MALFORMED, f"header {scheme.header} does not look like {looks}")
    return found


def _item_pattern(scheme: HmacScheme, item: str) -> str:
    pieces = _PLACEHOLDER.split(item)  # literal, name, literal, name, ..., literal
    names = (f"(?P<{name}>{_text_pattern(scheme, name)})" for name in pieces[1::2])
    literals = [re.escape(piece) for piece in pieces[::2]]
    return literals[0] + "".join(name + literal for name, literal in zip(names, literals[1:], strict=True))


def _text_pattern(scheme: HmacScheme, name: str) -> str:
    if name == "id":
        return _ID_PATTERN
    if name == "timestamp":
        return _TIMESTAMP_PATTERNS[scheme.timestamp_unit]
    size = _DIGEST_BYTES[scheme.algorithm]
    if scheme.encoding == "hex":
        return rf"[0-9a-f]{{{2 * size}}}"
    padding = -size % 3
    return rf"[A-Za-z0-9+/]{{{(size + padding) // 3 * 4 - padding}}}={{{padding}}}"


def _matching_text(scheme: HmacScheme, name: Literal["timestamp", "id"], text: str, header: str) -> str:
    if re.fullmatch(_text_pattern(scheme, name), text):
        return text
    reason = Reason.TIMESTAMP_MALFORMED if name == "timestamp" else Reason.ID_MALFORMED
    raise _RefusedError(reason, f"header {header} does not look like a {name}")


def _header(headers: Mapping[str, str], name: str, missing: Reason) -> str:
    value = headers.get(name.lower(), "")
    if not value:
        raise _RefusedError(missing, f"header {name} is missing or empty")
    return value


def _signature(scheme: HmacScheme, key: bytes, body: bytes, texts: Mapping[str, str]) -> str:
    mac = hmac.new(key, digestmod=scheme.algorithm)
    for piece in scheme.signed_pieces:
        if isinstance(piece, bytes):
            mac.update(piece)
        else:
            feed(mac, body if piece == "body" else _bytes(texts[piece]))
    return mac.hexdigest() if scheme.encoding == "hex" else base64.b64encode(mac.digest()).decode()


def _key(scheme: HmacScheme, secret: str) -> bytes:
    """The key's bytes; ValueError when the stored text cannot be one. An empty key would let anyone sign."""
    match scheme.secret_encoding:
        case "base64":
            key = base64.b64decode(secret.strip(), validate=True)
        case "whsec" if secret.strip().startswith("whsec_"):
            key = base64.b64decode(secret.strip().removeprefix("whsec_"), validate=True)
        case _:
            key = _bytes(secret)
    if not key.strip():
        raise ValueError("the secret is empty")
    return key


def _fill(template: str, texts: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: texts[match[1]], template)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # a lone surrogate in a URL must not raise


# --- time ------------------------------------------------------------------------------------------


def _timestamp_us(scheme: HmacScheme, text: str) -> int | None:
    """Microseconds since the epoch; None where the scheme has no time to judge."""
    if not text or scheme.timestamp_unit == "none":
        return None
    if scheme.timestamp_unit == "iso":
        return _iso_us(text)
    number = int(text)
    in_ms = scheme.timestamp_unit == "ms" or (scheme.timestamp_unit == "auto" and number >= _MILLISECONDS_FROM)
    return number * (1_000 if in_ms else 1_000_000)


def _iso_us(text: str) -> int:
    try:
        sent_at = datetime.fromisoformat(text)
    except ValueError:
        raise _RefusedError(Reason.TIMESTAMP_MALFORMED, "the timestamp is not an ISO 8601 time") from None
    if sent_at.tzinfo is None:
        sent_at = sent_at.replace(tzinfo=UTC)  # Ultravox: a time without zone is UTC (its webhook docs, 2026-08)
    return _since_epoch_us(sent_at)


def _since_epoch_us(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _check_age(scheme: HmacScheme, sent_at_us: int | None, now: datetime) -> None:
    if sent_at_us is None:
        return
    age_us = _since_epoch_us(now) - sent_at_us
    if age_us > scheme.tolerance_past_sec * 1_000_000:
        raise _RefusedError(
            Reason.TIMESTAMP_TOO_OLD,
            f"signed {age_us // 1_000_000} s ago, tolerance_past_sec is {scheme.tolerance_past_sec}",
        )
    if -age_us > scheme.tolerance_future_sec * 1_000_000:
        raise _RefusedError(
            Reason.TIMESTAMP_IN_FUTURE,
            f"signed {-age_us // 1_000_000} s ahead of this clock,"
            f" tolerance_future_sec is {scheme.tolerance_future_sec}",
        )


def _timestamp_text(scheme: HmacScheme, now: datetime) -> str:
    if scheme.timestamp_unit == "iso":
        return now.astimezone(UTC).isoformat(timespec="microseconds")
    unit_us = 1_000 if scheme.timestamp_unit in ("ms", "auto") else 1_000_000
    return str(_since_epoch_us(now) // unit_us)


# --- tokens ----------------------------------------------------------------------------------------


def _verify_token(scheme: TokenScheme, secrets: Sequence[Secret], request: SignedRequest) -> Verdict:
    given = _token(scheme, _header(request.headers, scheme.header, Reason.HEADER_MISSING))
    return _compared(given, secrets, f"the token in {scheme.header}")


def _verify_url_token(secrets: Sequence[Secret], request: SignedRequest) -> Verdict:
    if not request.url_token:
        raise _RefusedError(Reason.URL_TOKEN_MISSING, "the URL ends without its token: paste the whole URL")
    return _compared([_bytes(request.url_token)], secrets, "the token in the URL")


def _compared(given: Sequence[bytes], secrets: Sequence[Secret], what: str) -> Verdict:
    """The verdict on a token of which `given` are the possible forms."""

    def matches(secret: Secret) -> bool:
        expected = _bytes(secret.value.strip())
        if not expected:
            raise ValueError("the secret is empty")
        return sum(hmac.compare_digest(expected, form) for form in given) > 0

    mismatch = f"{what} is none of the stored secrets"
    secret_id = _matching_secret(secrets, matches, Reason.TOKEN_MISMATCH, mismatch)
    return Verdict(True, Reason.OK, f"{what} is right", secret_id)


def _token(scheme: TokenScheme, value: str) -> list[bytes]:
    """The token as bytes, in the two ways a server may have decoded them: as UTF-8 or byte by byte (WSGI)."""
    value = value.strip(" \t")
    word, *rest = re.split(r"[ \t]+", value, maxsplit=1)
    has_prefix = scheme.prefix is not None and word.lower() == scheme.prefix.lower() and rest != []
    if scheme.prefix_required and not has_prefix:
        raise _RefusedError(Reason.HEADER_MALFORMED, f"header {scheme.header} is not: {scheme.prefix} <token>")
    token = rest[0] if has_prefix else value
    forms = [_bytes(token)]
    if all(character <= "\xff" for character in token):
        forms.append(token.encode("latin-1"))
    return forms
