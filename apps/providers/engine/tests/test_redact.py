"""Redaction: what is found, what stays byte for byte, and bodies that are not quite JSON."""

import hashlib
import json
import re
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.providers.engine.redact import REDACTED, compile_patterns, redact

R = json.dumps(REDACTED)

# (patterns, body, expected); R stands for the replacement
CASES: dict[str, tuple[list[str], str, str]] = {
    "one key": (["call.access_token"], '{"call":{"access_token":"s"}}', f'{{"call":{{"access_token":{R}}}}}'),
    "only there": (["call.token"], '{"token":1,"x":{"token":2}}', '{"token":1,"x":{"token":2}}'),
    "any case": (["Call.ACCESS_token"], '{"cALL":{"Access_Token":1}}', f'{{"cALL":{{"Access_Token":{R}}}}}'),
    "whitespace": (
        ["a.b"],
        ' {\n\t"a" : { "b" :\r 1 , "c":2 } }\n',
        f' {{\n\t"a" : {{ "b" :\r {R} , "c":2 }} }}\n',
    ),
    "other numbers stay as written": (
        ["b"],
        '{"a":1.50e+2,"b":1,"c":"\\u00e9"}',
        f'{{"a":1.50e+2,"b":{R},"c":"\\u00e9"}}',
    ),
    "twice the same key": (["a"], '{"a":1,"a":{"a":2},"a":"x"}', f'{{"a":{R},"a":{R},"a":{R}}}'),
    "escaped key": (["access_token"], '{"access\\u005ftoken":1}', f'{{"access\\u005ftoken":{R}}}'),
    "wholly escaped key": (["ab"], '{"\\u0061\\u0062":1}', f'{{"\\u0061\\u0062":{R}}}'),
    "upper-case escape": (["a-b"], '{"a\\u002Db":1}', f'{{"a\\u002Db":{R}}}'),
    "escaped key beyond ASCII": (["größe"], '{"gr\\u00f6\\u00DFe":1}', f'{{"gr\\u00f6\\u00DFe":{R}}}'),
    "key with a quote": (['a"b'], '{"a\\"b":1}', f'{{"a\\"b":{R}}}'),
    "key with a wrong escape": (["a\\qb"], '{"a\\qb":1}', f'{{"a\\qb":{R}}}'),
    "outermost of nested matches": (["**.key"], '{"key":{"key":[{"key":1}]},"z":1}', f'{{"key":{R},"z":1}}'),
    "object": (["a"], '{"a":{"b":[1,{}]},"c":1}', f'{{"a":{R},"c":1}}'),
    "list": (["a"], '{"c":1,"a":[1,[2],{"x":3}]}', f'{{"c":1,"a":{R}}}'),
    "empty object and list": (["a", "b"], '{"a":{},"b":[ ]}', f'{{"a":{R},"b":{R}}}'),
    "number, true, string": (["*"], '{"a":-1.5,"b":true,"c":""}', f'{{"a":{R},"b":{R},"c":{R}}}'),
    "null stays": (["a"], '{"a":null}', '{"a":null}'),
    "already redacted": (["a"], f'{{"a":{R}}}', f'{{"a":{R}}}'),
    "brackets in strings": (
        ["a.b"],
        '{"x":"}]{\\"","a":{"b":"]}\\\\"}}',
        f'{{"x":"}}]{{\\"","a":{{"b":{R}}}}}',
    ),
    "name as value": (["token"], '{"a":"token","b":"\\"token\\":1"}', '{"a":"token","b":"\\"token\\":1"}'),
    "all of a list": (["a[*]"], '{"a":[1,"x",null,[2]],"b":[1]}', f'{{"a":[{R},{R},null,{R}],"b":[1]}}'),
    "key inside lists": (
        ["t[*].c[*].h"],
        '{"t":[{"c":[{"h":1},{"h":{}}]},{"h":2}]}',
        f'{{"t":[{{"c":[{{"h":{R}}},{{"h":{R}}}]}},{{"h":2}}]}}',
    ),
    "list of lists": (["a[*][*].b"], '{"a":[[{"b":1}],{"b":2}]}', f'{{"a":[[{{"b":{R}}}],{{"b":2}}]}}'),
    "a key does not reach into a list": (["a.b"], '{"a":[{"b":1}]}', '{"a":[{"b":1}]}'),
    "an index does not reach into an object": (["a[*]"], '{"a":{"b":1}}', '{"a":{"b":1}}'),
    "list at the top": (["[*].a"], '[{"a":1},{"b":2}]', f'[{{"a":{R}}},{{"b":2}}]'),
    "any depth": (
        ["**.k"],
        '{"k":1,"a":[[{"k":2}]],"b":{"c":{"k":3}}}',
        f'{{"k":{R},"a":[[{{"k":{R}}}]],"b":{{"c":{{"k":{R}}}}}}}',
    ),
    "any depth in the middle": (
        ["v.**.*token*"],
        '{"v":{"MyTokens":1,"x":[{"atoken":2}]},"token":3}',
        f'{{"v":{{"MyTokens":{R},"x":[{{"atoken":{R}}}]}},"token":3}}',
    ),
    "any depth at the end": (["a.**"], '{"a":{"b":1},"c":1}', f'{{"a":{R},"c":1}}'),
    "any depth, any list": (["**[*].k"], '{"a":[{"k":1}],"k":2}', f'{{"a":[{{"k":{R}}}],"k":2}}'),
    "glob of one character": (["key?"], '{"key":1,"key1":2,"key12":3}', f'{{"key":1,"key1":{R},"key12":3}}'),
    "glob over a line break": (["a*b"], '{"a\\nb":1}', f'{{"a\\nb":{R}}}'),
    "a dot in a glob is no wildcard": (["a-b"], '{"aXb":1}', '{"aXb":1}'),
    "several patterns": (
        ["a", "b.c", "a.b"],
        '{"a":{"b":1},"b":{"c":2,"d":3}}',
        f'{{"a":{R},"b":{{"c":{R},"d":3}}}}',
    ),
    "whole body": (["**"], '{"a":1}', R),
    "scalar body": (["**"], ' "secret" ', f" {R} "),
    "byte order mark": (["a"], '\ufeff{"a":1}', f'\ufeff{{"a":{R}}}'),
    "byte order mark, another path": (["b.a"], '\ufeff{"a":1}', '\ufeff{"a":1}'),
    "line break in an escaped key": (["ab?c"], '{"a\\u0062\nc":1}', f'{{"a\\u0062\nc":{R}}}'),
    "only ASCII letters in any case": (
        ["kelvin"],
        '{"\u212aelvin":1,"x":"kelvin"}',
        '{"\u212aelvin":1,"x":"kelvin"}',
    ),
    "beyond ASCII": (["a"], '{"é👍":"ü","a":"ß"}', f'{{"é👍":"ü","a":{R}}}'),
    # Not JSON: the last key of the pattern, wherever it stands.
    "truncated string": (["call.token"], '{"call":{"token":"s3cr', f'{{"call":{{"token":{R}'),
    "truncated in an escape": (["token"], '{"token":"s3cr\\', f'{{"token":{R}'),
    "truncated object": (["a.headers"], '{"headers":{"x":"}","y":[1', f'{{"headers":{R}'),
    "truncated number": (["pin"], '{"pin":12', f'{{"pin":{R}'),
    "truncated after it": (["token"], '{"token": "s", "b": [1,', f'{{"token": {R}, "b": [1,'),
    "trailing garbage": (["a.token"], '{"a":{"token":"s"}} }x', f'{{"a":{{"token":{R}}}}} }}x'),
    "two documents": (["token"], '{"token":1}\n{"token":2}', f'{{"token":{R}}}\n{{"token":{R}}}'),
    "stray quote before": (["token"], '" {"token": "s"}', f'" {{"token": {R}}}'),
    "trailing comma": (["token"], '{"token":"s",}', f'{{"token":{R},}}'),
    "missing comma": (["token"], '{"token":"s" "b":1}', f'{{"token":{R} "b":1}}'),
    "wrong bracket": (["token"], '{"token":[1,{"a":2],"b":3}', f'{{"token":{R}'),
    "escaped key in garbage": (["to_ken"], '}{"to\\u005fken":"s"', f'}}{{"to\\u005fken":{R}'),
    "null in garbage": (["token"], '}{"token":null,"token":', '}{"token":null,"token":'),
    "index at the end, in garbage": (["keys[*]"], '{"keys":["s"],', f'{{"keys":{R},'),
    "another key in garbage": (["token"], '}{"tok":"token"', '}{"tok":"token"'),
    "no value at all": (["token"], '{"token":}', '{"token":}'),
    "empty body": (["token"], "", ""),
    "blank body": (["*"], " ", " "),
}


@pytest.mark.parametrize("name", CASES)
def test_it_replaces_exactly_the_matching_values(name):
    patterns, body, expected = CASES[name]
    assert redact(body.encode(), patterns).decode() == expected


@pytest.mark.parametrize("name", CASES)
def test_what_is_redacted_once_stays_as_it_is(name):
    patterns, body, _ = CASES[name]
    once = redact(body.encode(), patterns)
    assert redact(once, patterns) is once


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[1] == case[2]])
def test_an_untouched_body_is_the_same_object(name):
    patterns, body, _ = CASES[name]
    data = body.encode()
    assert redact(data, patterns) is data


def test_a_body_that_is_not_utf8_is_searched_by_name():
    body = b'{"x":"\xff","a":{"token":"s\xfe"},"b":1}'
    assert redact(body, ["call.token"]) == b'{"x":"\xff","a":{"token":%b},"b":1}' % R.encode()


@pytest.mark.parametrize(
    "pattern", ["", ".", "a.", ".a", "a..b", "a[0]", "a[*", "a]", "a[*]b", "a.[*]", "**token", "a**", "***"]
)
def test_a_pattern_that_cannot_be_read_is_named(pattern):
    with pytest.raises(ValueError, match=re.escape(repr(pattern))):
        compile_patterns(["fine", pattern])


@pytest.mark.parametrize("depth", [10_000, 200_000])
def test_deep_nesting_raises_nothing(depth):
    body = b'{"a":[' * depth + b'{"token":"s"}' + b"]}" * depth
    assert redact(body, ["**.token"]) == body.replace(b'"s"', R.encode())


@pytest.mark.parametrize(("depth", "expected"), [(99_999, b'"s"'), (100_001, R.encode())])
def test_what_is_too_deep_to_have_a_path_is_searched_by_name(depth, expected):
    body = b"[" * depth + b'{"token":"s"}' + b"]" * depth
    assert redact(body, ["call.token"]) == body.replace(b'"s"', expected)


@pytest.mark.parametrize(
    "body",
    [
        b'"' + b'\\"' * 500_000 + b'"token',
        b'"' * 500_000 + b"token",
        b'token"a"' + b" " * 500_000,
        b'{"token":' * 100_000,
        b'{"token"' + b"\\" * 500_000,
        b"[" * 500_000 + b'"token":',
    ],
)
def test_hostile_text_is_read_in_linear_time(body):
    assert len(redact(body, ["**.token"])) <= len(body) + len(R)  # in quadratic time this would not return


# --- the same rule on parsed documents -------------------------------------------------------------

KEYS = ["a", "B", "access_token", "Token", "k\u00e9", "\u212aelvin", "to\nken", "x-y", ""]
PATTERNS = [
    "a",
    "A.b",
    "**.*token*",
    "a[*]",
    "**[*].a",
    "*.*",
    "b.**",
    "a.**.token",
    "[*].b",
    "?",
    "**.kelvin",
    "**.k?",
    "**",
]
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=4),
    max_leaves=30,
)


def segments_of(pattern: str) -> list[str]:
    return [part for part in pattern.replace("[*]", ".[*]").split(".") if part]


def ascii_lower(text: str) -> str:
    return re.sub("[A-Z]", lambda letter: letter[0].lower(), text)


def matches(segments: list[str], path: list[str | int]) -> bool:
    if not segments:
        return not path
    if segments[0] == "**":
        return matches(segments[1:], path) or (path != [] and matches(segments, path[1:]))
    if not path or (segments[0] == "[*]") != isinstance(path[0], int):
        return False
    here = segments[0] == "[*]" or fnmatchcase(ascii_lower(str(path[0])), ascii_lower(segments[0]))
    return here and matches(segments[1:], path[1:])


def replaced(value: Any, patterns: list[str], path: list[str | int]) -> Any:
    if value is not None and any(matches(segments_of(pattern), path) for pattern in patterns):
        return REDACTED
    if isinstance(value, dict):
        return {key: replaced(inner, patterns, [*path, key]) for key, inner in value.items()}
    if isinstance(value, list):
        return [replaced(inner, patterns, [*path, index]) for index, inner in enumerate(value)]
    return value


@given(documents, st.lists(st.sampled_from(PATTERNS), max_size=3), st.booleans(), st.sampled_from([None, 1]))
def test_it_replaces_in_bytes_what_the_rule_replaces_in_the_document(document, patterns, ascii_only, indent):
    body = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    expected = replaced(document, patterns, [])
    result = redact(body, patterns)
    assert json.loads(result) == expected
    if expected == document:
        assert result is body


@given(documents, st.integers(0, 200), st.binary(max_size=3))
def test_broken_bodies_raise_nothing_and_leave_no_secret(document, place, noise):
    body = json.dumps({"x": document, "token": "s3cr3t-value"}).encode()
    place = min(place, len(body))
    broken = body[:place] + noise + body[place:]
    intact = b'"token": "s3cr3t-value"' in broken and b"\\" not in noise and b'"' not in noise
    result = redact(broken, ["**.token"])
    assert not (intact and b"s3cr3t-value" in result)


@given(st.binary())
def test_no_bytes_whatever_raise(body):
    redact(body + b'"token":' + body, ["**.token", "*"])


# --- hashes instead -------------------------------------------------------------------------------------------


def hashed(body: bytes, *patterns: str) -> bytes:
    return compile_patterns(patterns, hashed=True)(body)


def test_a_hash_can_stand_for_a_value_and_is_that_of_its_text_however_it_is_escaped():
    digest = "sha256:" + hashlib.sha256("Zoë".encode()).hexdigest()
    for written in ('"Zoë"'.encode(), rb'"Zo\u00eb"'):
        body = b'{"a": {"b": ' + written + b"}}"
        assert json.loads(hashed(body, "a.b")) == {"a": {"b": digest}}


def test_what_is_hashed_once_stays_as_it_is_and_null_tells_nothing():
    once = hashed(b'{"a": "secret", "b": null}', "a", "b")
    assert hashed(once, "a", "b") == once
    assert json.loads(once)["b"] is None


@pytest.mark.parametrize("value", [b'{"c": 1}', b"[1, 2]", b"17", rb'"broken \u12"'])
def test_whatever_is_no_text_is_hashed_as_it_is_written(value):
    found = json.loads(hashed(b'{"a": ' + value + b"}", "a"))
    assert found == {"a": "sha256:" + hashlib.sha256(value).hexdigest()}
