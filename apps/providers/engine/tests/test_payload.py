"""Bodies: what becomes a payload, what is refused and why, and what every later step may rely on."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.providers.engine.errors import PayloadError
from apps.providers.engine.payload import MAX_DEPTH, as_text, parse

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        (b'{"a": [1, 2.5, "x", null, true]}', {"a": [1, 2.5, "x", None, True]}),
        (b' "text" ', "text"),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        ('{"é": "👍"}'.encode(), {"é": "👍"}),
        (rb'{"a\u0000b": "c\u0000d", "e": ["\u0000"]}', {"a\ufffdb": "c\ufffdd", "e": ["\ufffd"]}),
        (rb'"\\u0000"', "\\u0000"),
    ],
)
def test_json_becomes_the_payload(body, payload):
    assert parse(body) == payload


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        (b'{"a": 1e400, "b": -1e400, "c": 1.5}', {"a": "1e400", "b": "-1e400", "c": 1.5}),
        (rb'{"a": "\ud800", "b": "\ud83d\ude00"}', {"a": "\ufffd", "b": "😀"}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": 1e400, "b": ' + b"9" * 5000 + b"}", {"a": "1e400", "b": "9" * 5000}),
        (b'{"a": 1e400, "b": 123456789012345678901}', {"a": "1e400", "b": 1.2345678901234568e20}),
    ],
)
def test_json_that_is_odd_but_json_is_not_lost(body, payload):
    assert parse(body) == payload
    orjson.dumps(parse(body))


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"not json", b"{", b'{"a": NaN}', b'{"a": Infinity}', b"{'a': 1}", b'{"a": 1}x', b'"\xff"', b"\x00",
     b'{"a": "\n"}'],
)  # fmt: skip
def test_what_is_no_json_is_refused_with_its_place(body):
    with pytest.raises(PayloadError, match=r"the body is not JSON: .+ \(line \d+, column \d+\)"):
        parse(body)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_the_depth_is_bounded(opening, closing):
    def nested(depth):
        return opening * depth + b"1" + closing * depth

    assert parse(nested(MAX_DEPTH)) is not None
    for depth in (MAX_DEPTH + 1, 1000, 100_000):
        with pytest.raises(PayloadError):
            parse(nested(depth))


def test_brackets_in_texts_are_no_depth():
    assert parse(json.dumps(["[" * 1000]).encode()) == ["[" * 1000]


def test_an_error_never_quotes_the_body():
    with pytest.raises(PayloadError) as raised:
        parse(b'{"token": "s3cret", nonsense')
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        (b"a=1&b=two+words&c=%C3%A9", {"a": "1", "b": "two words", "c": "é"}),
        (b"a=1&a=2&a=3&empty=", {"a": ["1", "2", "3"], "empty": ""}),
        (b"a%00=b%00", {"a\ufffd": "b\ufffd"}),
        (b"", {}),
    ],
)
def test_a_form_becomes_an_object_of_texts(body, payload):
    assert parse(body, FORM) == payload
    assert parse(body, f"{FORM.upper()} ; charset=utf-8") == payload


@pytest.mark.parametrize("body", [b"a=%ff", b"a=\xff"])
def test_a_form_that_is_no_utf8_is_refused(body):
    with pytest.raises(PayloadError):
        parse(body, FORM)


@given(st.binary(max_size=60) | st.text(max_size=40).map(str.encode), st.sampled_from(["", FORM, "application/json"]))
def test_any_bytes_are_a_payload_or_a_payload_error(body, content_type):
    try:
        payload = parse(body, content_type)
    except PayloadError:
        return
    # What came through can be stored: JSON without U+0000 and without half surrogates.
    assert "\\u0000" not in orjson.dumps(payload).decode().replace("\\\\", "")


def test_a_body_is_shown_as_text_or_as_base64():
    assert as_text("é".encode()) == {"encoding": "utf-8", "text": "é"}
    assert as_text(b"\xff\x00") == {"encoding": "base64", "text": "/wA="}
