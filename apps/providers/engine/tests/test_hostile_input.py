"""Whatever is sent or written: a verdict, a path that reads or says it cannot, the same message or a clean failure."""

import json
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from apps.providers import catalog
from apps.providers.engine.errors import EngineError, PathError
from apps.providers.engine.fold import fold
from apps.providers.engine.mapping import Mapping
from apps.providers.engine.paths import compile_path, first_key, put
from apps.providers.engine.payload import parse
from apps.providers.engine.signatures import Secret, SignedRequest, Verdict, parse_scheme, sign, verify
from apps.providers.engine.tests.specs import RECEIVED_AT, context, event
from apps.providers.engine.tests.test_signatures import BEARER, HMAC_SCHEMES, URL_TOKEN
from tests.hostile import BAD_VALUES, TABLES
from vcp import validate
from vcp.tests.tries import tries

NOW = datetime(2026, 3, 17, 9, 0, tzinfo=UTC)
SECRET = "dm9pY2VsZW5z"  # a text, and base64
ABSURD_TIMES = [
    "-1", "0", "1e30", "9" * 19, "9" * 20, "9" * 21, "1" + "0" * 30, "NaN", "Infinity", "now", "\u0661", "1_0", "+1",
    " 1", "1.5", "0x1", "2026-03-17", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999-23:59", "T", "....",
    "2026-02-30T00:00:00Z", "-" * 40,
]  # fmt: skip


# --- signatures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [*HMAC_SCHEMES, BEARER, URL_TOKEN], ids=range(len(HMAC_SCHEMES) + 2))
def test_no_value_that_hurts_is_more_than_a_refusal(data):
    scheme = parse_scheme(data)
    names = {"header": getattr(scheme, "header", None), "time": getattr(scheme, "timestamp_header", None)}
    right = sign(scheme, SECRET, b"{}", NOW, id="msg_1")
    for value in [*BAD_VALUES, *ABSURD_TIMES]:
        for name in filter(None, names.values()):
            headers = {key.lower(): text for key, text in {**right, name: value}.items()}
            request = SignedRequest(headers, b"{}", url_token=value)
            assert not verify(scheme, [Secret("s", SECRET)], request, NOW).authentic, value


@pytest.mark.parametrize("data", HMAC_SCHEMES, ids=range(len(HMAC_SCHEMES)))
@pytest.mark.parametrize("time", ABSURD_TIMES)
def test_an_absurd_time_is_refused_even_where_it_was_signed(data, time, monkeypatch):
    scheme = parse_scheme(data)
    if "{timestamp}" not in scheme.signed:
        return
    monkeypatch.setattr("apps.providers.engine.signatures._timestamp_text", lambda scheme, now: time)
    headers = {name.lower(): value for name, value in sign(scheme, SECRET, b"{}", NOW, id="msg_1").items()}
    assert not verify(scheme, [Secret("s", SECRET)], SignedRequest(headers, b"{}"), NOW).authentic


PIECES = st.sampled_from(
    ["{signature}", "{timestamp}", "{id}", "v1", "=", ",", ".", ";", " ", "t", "{body}", "{url}", "{method}"]
)
TEMPLATES = st.lists(PIECES, min_size=1, max_size=6).map("".join)
SCHEMES = st.fixed_dictionaries(
    {"kind": st.just("hmac"), "header": st.just("X-Signature"), "items": st.lists(TEMPLATES, min_size=1, max_size=3)},
    optional={
        "separator": st.sampled_from([",", " ", ";", ", ", "&"]),
        "signed": TEMPLATES | st.just("{timestamp}.{body}") | st.just("{body}"),
        "timestamp_header": st.just("X-Time"),
        "id_header": st.just("X-Id"),
        "algorithm": st.sampled_from(["sha1", "sha256", "sha512"]),
        "encoding": st.sampled_from(["hex", "base64"]),
        "timestamp_unit": st.sampled_from(["s", "ms", "auto", "iso", "none"]),
        "secret_encoding": st.sampled_from(["text", "base64", "whsec"]),
    },
)
# Simple ones come first, so that many of those drawn can work.
WORKING = SCHEMES | st.sampled_from(HMAC_SCHEMES)
HEADERS = st.text(alphabet="v1t=,. ;0123456789abcdefZT:+-/\u0661\xff\ud800\x00", max_size=200)


@tries(150)
@given(data=WORKING, headers=st.tuples(HEADERS, HEADERS, HEADERS), secret=st.text(max_size=20))
def test_any_scheme_gives_a_verdict_on_any_headers(data, headers, secret):
    try:
        scheme = parse_scheme(data)
    except ValidationError:
        return
    names = (scheme.header, scheme.timestamp_header or "x-time", scheme.id_header or "x-id")
    request = SignedRequest({name.lower(): text for name, text in zip(names, headers, strict=True)}, b"{}")
    assert isinstance(verify(scheme, [Secret("s", secret)], request, NOW), Verdict)


@tries(100)
@given(
    data=st.sampled_from(HMAC_SCHEMES),
    cuts=st.lists(st.tuples(st.integers(0, 120), st.integers(0, 120)), min_size=1, max_size=4),
    body=st.sampled_from([b"{}", b"[]"]),
)
def test_a_right_header_cut_and_pasted_proves_no_other_body(data, cuts, body):
    scheme = parse_scheme(data)
    headers = {name.lower(): text for name, text in sign(scheme, SECRET, b"{}", NOW, id="msg_1").items()}
    text = headers[scheme.header.lower()]
    pasted = "".join(text[min(cut) : max(cut)] for cut in cuts) + (scheme.separator or "") + text
    request = SignedRequest({**headers, scheme.header.lower(): pasted}, body)
    verdict = verify(scheme, [Secret("s", SECRET)], request, NOW)
    assert body == b"{}" or not verdict.authentic


# --- bodies and paths -----------------------------------------------------------------------------------------------

ODD_PATHS = [
    "$" + "[0]" * 300, "$" + "..*" * 5, "a" * 5000, "a" + "[-1]" * 500, "$[?" + "(" * 300 + "@.a" + ")" * 300 + "]",
    "$[?" + "(" * 5000 + "@.a" + ")" * 5000 + "]", "$[?" + "!" * 5000 + "@.a]", "$[?@.a == -1e-999]",
    "a[99999999999999999999]", "$[99999999999999999999]", "$[?@.a == 1e999]", "$[?match(@.a, '(')]",
    "$[?match(@.a, '[')]", "$.a[::0]", "$[?length(@.a) > 1]", "$[?count(@..*) > 0]", "$['\\ud800']", "$[?@ == $]",
    "__class__.__mro__", "a.__init__",
]  # fmt: skip
PATH_TEXT = st.text(alphabet="$.[]*?@'\"()!=<>&|,:-ab01 \\\n\u00e9", max_size=30) | st.sampled_from(ODD_PATHS)
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "", "é"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@tries(300)
@given(path=PATH_TEXT, payload=JSON)
def test_any_path_reads_any_payload_or_says_that_it_cannot_be_read(path, payload):
    try:
        get = compile_path(path)
    except PathError:
        return
    get(payload)
    first_key(path)
    if not path.startswith("$") and "[" not in path:
        put({}, path, payload)


@pytest.mark.parametrize("table", TABLES)
def test_any_json_text_is_read_or_refused_as_a_payload(table):
    for verdict, texts in TABLES[table].items():
        for text in texts:
            try:
                parse(text.encode("utf-8", "surrogatepass"))
            except EngineError:
                assert verdict != "y", text
            else:
                assert verdict != "n", text


# --- calls ----------------------------------------------------------------------------------------------------------


def _calls():
    """(provider, its mapping, events of one call) of each sample call."""
    for slug in catalog.slugs():
        made = Mapping(catalog.load(slug).mapping)
        calls = defaultdict(list)
        for name, payload in catalog.samples(slug).items():
            identity = made.identify(payload)
            if identity.spec.disposition == "map" and identity.call_id:
                calls[identity.call_id].append(event(made, payload, digest=name))
        yield from ((slug, made, events) for events in calls.values())


CALLS = list(_calls())


@tries(300)
@given(call=st.sampled_from(CALLS), data=st.data())
def test_any_part_of_a_call_in_any_order_and_number_gives_one_message_or_none(call, data):
    slug, made, events = call
    part = data.draw(st.lists(st.sampled_from(events), min_size=1, max_size=2 * len(events)))
    told = fold(part, made, context(slug))
    again = fold([*data.draw(st.permutations(part)), *part], made, context(slug))
    assert json.dumps(told and told.message) == json.dumps(again and again.message)
    if told is not None and not told.ready_made:
        assert validate(told.message, now=RECEIVED_AT).errors == []


@tries(150)
@given(call=st.sampled_from(CALLS), data=st.data(), strange=JSON)
def test_a_call_with_a_strange_event_in_it_folds_to_the_same_message_or_fails_cleanly(call, data, strange):
    slug, made, events = call
    payload = data.draw(st.sampled_from(list(catalog.samples(slug).values())))
    holder = data.draw(st.sampled_from([payload, *(part for part in payload.values() if part and type(part) is dict)]))
    changed = json.loads(json.dumps(payload))
    place = data.draw(st.sampled_from(sorted(holder)))
    for part in [changed, *changed.values()]:
        if isinstance(part, dict) and place in part:
            part[place] = strange
    try:
        odd = event(made, changed, digest="odd")
    except EngineError:
        return
    folds = [fold(some, made, context(slug)) for some in ([*events, odd], [odd, *reversed(events)])]
    assert json.dumps(folds[0] and folds[0].message) == json.dumps(folds[1] and folds[1].message)
    opened = fold([replace(odd, opens_call=True)], made, context(slug))
    assert opened is not None
    if not opened.ready_made:
        assert validate(opened.message, now=RECEIVED_AT).errors == []
