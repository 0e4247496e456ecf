"""What a sender who means harm, or whose software is broken, could send: texts, bytes, headers and addresses.

Plain tables, by name. What becomes of each is for the tests to say.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

# --- JSON texts ---------------------------------------------------------------------------------------------
# By the grammar of RFC 8259: "y" must be read, "n" is none, "i" is left to the reader. Each stands alone and as the
# value of a field, see `json_bodies`.

_NUMBERS = {
    "y": ["0", "-0", "1", "-1", "0.5", "1e1", "1E+2", "1e-2", "123.456e78", "0e0", "-0.0", "9007199254740993"],
    "n": [
        "+1", "01", "-01", "1.", ".5", "-.5", "-", "--1", "1e", "1e+", "1.e1", "0x1F", "1_000", "1,5", "0b1", "0o7",
        "1 2", "1e1.5", "-+1", "1eE2", "NaN", "-NaN", "Infinity", "-Infinity", "inf", "1/2", "\u0661\u0662", "\uff11",
        "1a", "- 1", "1-", "1e--1", "1f", "2.e", "0e", "-x", "$5", "1.2.3",
    ],
    "i": [
        "1e400", "-1e400", "1e-400", "1e999999999999", "1e-999999999999", "9" * 10_000, "-" + "9" * 10_000,
        "0." + "0" * 10_000 + "1", "1" + "0" * 309, "18446744073709551616", "-9223372036854775809",
        "1.7976931348623159e308", "5e-325", "0." + "3" * 500,
    ],
}  # fmt: skip
_STRINGS = {
    "y": [
        '""', '"a"', '"\\u0061"', '"\\uD83D\\uDE00"', '"\\""', '"\\\\"', '"\\/"', '"\\b\\f\\n\\r\\t"', '"\u2028\u2029"',
        '"\x7f"', '"\U0010ffff"', '"\ufeff"', '"\\u0060"', '"a/*b*/c/*d//e"', '"\\uFFFF"', '"\\u200B"', '"\u0300"',
        '"\\uDBFF\\uDFFF"', '"\\u0022"', '"%00"', '"asd "',
    ],
    "n": [
        "'a'", '"a', 'a"', '"\\x61"', '"\\u00"', '"\\u00G0"', '"\\"', '"\\a"', '"\t"', '"\n"', '"\x00"', '"\x1f"',
        '"\\u{61}"', "\u201ca\u201d", "`a`", '"a" "b"', '"\\\\\\"', '"\\uD83D\\u"', '"\\uD83D\\', '"\\', '\\u0061',
        '"\\ud83d\\x"', '"\\0"', '"\\\U0001f600"', 'a', '\u00e9', '"a"+"b"',
    ],
    "i": [
        '"\\uD800"', '"\\uDC00"', '"\\uD800\\uD800"', '"\\uDC00\\uD800"', '"\\uD800a"', '"\\uD800\\n"', '"\\u0000"',
        '"\\uDd1ea"', '"\\uFFFE"', '"\\uD888\\u1234"',
    ],
}  # fmt: skip
_STRUCTURES = {
    "y": [
        "{}", "[]", "[[]]", '{"a":[]}', "[null]", "[true,false,null]", ' {"a" : 1} ', "\t\r\n [ ] \n", '{"":0}',
        '{"\\u0000":1}', '{"a":{"b":{"c":[1,{"d":null}]}}}', "null", "true", "false", '{"a":1,"b":1,"c":1}',
        "[" * 50 + "]" * 50, '[1,null,"1",{}]', '{"x":[{"id":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}]}',
    ],
    "n": [
        "", " ", "{", "}", "[", "]", "[1", "[1,", "[1,]", "[,1]", "[1,,2]", "[1 2]", "[1}", '{"a"}', '{"a":}',
        '{"a":1,}',
        '{"a":1,,"b":2}', "{a:1}", "{1:1}", "{'a':1}", '{"a" 1}', '{"a":1]', '{"a":1}}', '{"a":1}#', '{"a":1}//c',
        '{"a":/*c*/1}', '{"a":1}{"b":2}', "[]]", "[][]", "[1]x", "nul", "tru", "True", "None", "undefined", "nil",
        "<null>", "[\x0b]", "[\x0c]", "\u00a0[]", "[\u2060]", "{[]}", '{"a":b}', "*", '{"a":1 "b":2}', '{:1}',
        '{"a"::1}',
        "[\x00]", "{\x00}", "\x00", '{"a":\x00}', "[" * 600, '{"a":' * 600, "[1:2]", '["a":1]', '{"a","b"}', "--", "//",
        "#", "!", "@", "%", "&", "=", "a=b", "---\na: 1", "<a/>", "(1)", "{{}}", "{null:null}", "{true:1}", "[1;2]",
        '{"a":1;"b":2}', "]]", "}{", "][", ",", ":", '"', "'", "\\", "/", "[...]", "[*]", "[\n\n", '{"a":"b"', '["a',
        '["\\', '{"a":tru', "[fals", "[nul", "[1.", "[-", "\ufffd", "\u200b{}",
    ],
    "i": [
        '{"a":1,"a":2}', '{"a":1,"a":1}', '{"a":{"b":1,"b":2},"a":{}}', "\ufeff{}", "[" * 500 + "]" * 500,
        "[" * 100_000 + "]" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000, "[" * 100_000, '{"a":[' * 50_000,
        "[" + "1," * 100_000 + "1]", '{"__proto__":{"a":1},"constructor":1,"__class__":1}', " " * 100_000 + "{}",
    ],
}  # fmt: skip
TABLES = {"number": _NUMBERS, "string": _STRINGS, "structure": _STRUCTURES}


def json_bodies() -> Iterator[tuple[str, bytes]]:
    """(name, body) of each text: alone, and as the value of a field of an event that is whole but for it."""
    for table, texts in TABLES.items():
        for verdict, listed in texts.items():
            for number, text in enumerate(listed):
                name, value = f"{verdict}_{table}_{number}", text.encode("utf-8", "surrogatepass")
                yield f"{name} alone", value
                call = b'"call_id":"%s","disconnection_reason":"user_hangup"' % name.encode()
                yield f"{name} in an event", b'{"event":"call_ended","call":{%s,"duration_ms":%s}}' % (call, value)


# --- strings that hurt ------------------------------------------------------------------------------------------

NAUGHTY = [
    "", " ", "\t\n\r", "undefined", "null", "NULL", "None", "nil", "true", "0", "-1", "NaN", "1e1000", "1/0", "\\",
    "\\\\",
    "\u202eright to left", "\u2066isolated\u2069", "\u0645\u0631\u062d\u0628\u0627", "\u05e9\u05dc\u05d5\u05dd",
    "zero\u200bwidth\u200c\u200d\u2060", "\ufeffmark", "soft\u00adhyphen", "e\u0301", "\u0e01" + "\u0e49" * 60,
    "Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324\u031e\u0349a\u0315l\u0360g\u0353o",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f3f4\U000e0067\U000e0062\U000e0065",
    "\u2764\ufe0f",
    "\U0010ffff\uffff\ufffe", "\ud800", "\udfff", "\udc00\ud800", "a\x00b", "\x00", "\x01\x02\x1b[31mred\x1b[0m\x07",
    "\x7f\x80\x9f",
    "\u2028\u2029\u0085", "\u212a\u0130\u0131\u00df\u1e9e", "\ufb03", "\u1d400", "\uff1cscript\uff1e", "\u2126",
    "\u00a0",
    "'; DROP TABLE ingest_inboundevent; --", "' OR '1'='1", "1; SELECT pg_sleep(9)", "\" OR 1=1 --",
    "%' AND 1=0 UNION SELECT 1 --", "$$;$$",
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "javascript:alert(1)", "<svg/onload=alert(1)>",
    "</textarea><b>", "&lt;&#60;&amp;",
    "{{7*7}}", "{% debug %}", "${7*7}", "#{7*7}", "{0}{0.__class__}", "%s%s%n%x", "%(x)s", "%d" * 50, "$(id)", "`id`",
    "; rm -rf /tmp/nothing", "| cat", "${jndi:ldap://localhost/a}",
    "../../../../etc/passwd", "..\\..\\windows", "/dev/null", "file:///etc/passwd", "C:\\con\\con", "%2e%2e%2f",
    "....//",
    "a" * 1000, "\u00e9" * 1000, "\U0001f600" * 300, "x" * 70_000, "=1+1", "=cmd|' /C calc'!A0", "+1", "@SUM(1)", "-1",
    "\r\nSet-Cookie: a=b", "a\nb: c",
    "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>",
    "__proto__", "constructor", "__class__", "toString", "CON", "nul.txt", "2026-02-30T25:61:61Z",
    "9999-12-31T23:59:59.999999999Z", "-0001-01-01", "12:00", "1'000", "1.000,00",
]  # fmt: skip


def naughty_events(event: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """(name, body) of the event with each string in the place of a name, of an id, of words, and of a key."""
    for number, text in enumerate(NAUGHTY):
        words = {"call_summary": text, "user_sentiment": text, "in_voicemail": text, text: text}
        named = {"agent_name": text, "transcript": text, "disconnection_reason": text, "call_analysis": words}
        call = {**event["call"], **named, "call_id": f"naughty{number}", "metadata": {text: [text, {text: text}]}}
        yield f"naughty {number} as words", json.dumps({**event, "call": call}).encode()
        yield f"naughty {number} as id", json.dumps({**event, "call": {**event["call"], "call_id": text}}).encode()
        yield f"naughty {number} as event", json.dumps({**event, "event": text}).encode()
        raw = json.dumps({**event, "call": {**call, "call_id": f"raw{number}"}}, ensure_ascii=False)
        yield f"naughty {number} unescaped", raw.encode("utf-8", "surrogatepass")


# --- bytes ------------------------------------------------------------------------------------------------------


def encoded(text: str) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of the text in encodings that JSON is not sent in, and of bytes that are no text at all."""
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7", "cp037", "utf-8-sig"):
        yield encoding, text.encode(encoding)
    yield "latin-1", text.replace("a", "\xe4").encode("latin-1")
    yield "windows-1252", text.replace("a", "\u20ac").encode("cp1252")
    yield "shift-jis", text.replace("a", "\u3042").encode("shift-jis")
    at = text.encode().index(b"call_ended") + 4
    for name, bad in {
        "overlong": b"\xc0\xaf", "overlong nul": b"\xc0\x80", "lone continuation": b"\x80", "cut sequence": b"\xe2\x82",
        "beyond unicode": b"\xf4\x90\x80\x80", "encoded surrogates": b"\xed\xa0\x80\xed\xb0\x80", "ff fe": b"\xff\xfe",
        "nul": b"\x00", "five bytes": b"\xf8\x88\x80\x80\x80", "random": bytes(range(128, 256)),
    }.items():  # fmt: skip
        yield name, text.encode()[:at] + bad + text.encode()[at:]
    yield "every byte", bytes(range(256)) * 8
    yield "an image", b"\x89PNG\r\n\x1a\n" + bytes(200)
    yield "a zip", b"PK\x03\x04" + bytes(200)


def compressed(body: bytes) -> Iterator[tuple[str, str, bytes]]:
    """(name, Content-Encoding, bytes): true to their name, not at all, and bombs."""
    bomb = b"[" + b"0," * 25_000_000 + b"0]"
    yield "gzip", "gzip", gzip.compress(body)
    yield "deflate", "deflate", zlib.compress(body)
    yield "not gzip at all", "gzip", body
    yield "cut gzip", "gzip", gzip.compress(body)[:-9]
    yield "twice", "gzip, gzip", gzip.compress(gzip.compress(body))
    yield "unheard of", "zz-top, br;q=1", body + b" "
    yield "a bomb", "gzip", gzip.compress(bomb)
    yield "a bomb in a bomb", "gzip", gzip.compress(gzip.compress(bomb))


# --- signatures and headers -----------------------------------------------------------------------------------

BAD_VALUES = [
    "", " ", ",", ",,,,", "=", "v=", "v=,d=", "v,d", "v1=", "t=,v1=", "=" * 500, "," * 5000, "a" * 5000, "\x7f",
    "\xff\xe9", "v=NaN,d=NaN",
    "v=-1,d=" + "0" * 64, "v=1e30,d=" + "0" * 64, "v=" + "9" * 19 + ",d=" + "0" * 64,
    "v=" + "9" * 30 + ",d=" + "0" * 64,
    "v=0,d=" + "0" * 64, "v=\u0661,d=".encode().decode("latin-1") + "0" * 64, "d=" + "0" * 64 + ",v=1,v=2",
    "v=1,d=" + "g" * 64, "v=1,d=" + "0" * 63, "v=1,d=" + "0" * 65,
    "v=1,d=" + "A" * 64, "v=1;d=" + "0" * 64, " v=1 , d=" + "0" * 64,
    "v=1,d=" + "0" * 64 + "," + ",d=" .join(["0" * 64] * 40), "t=1,v0=" + "0" * 64, "v1," + "A" * 43 + "=",
    "v1,AAAA v1,BBBB v1,", "sha256=" + "0" * 64, "sha1=", "Bearer", "Bearer ", "Bearer  x", "Basic eDp5",
    "bearer \xff", "null", "undefined", "{}", "[]", "%00", "v=0x10,d=0", "v=+1,d=0", "v= 1,d=0", "v=1.5,d=0",
    "v=1_0,d=" + "0" * 64, "\t", "v=1\t,d=2", "v=2026-01-01T00:00:00Z,d=" + "0" * 64,
    "v=0001-01-01T00:00:00+23:59,d=0", "\"v=1\"", "v%3D1", "../..", "'; --", "{signature}",
    "v={timestamp},d={signature}",
]  # fmt: skip

# --- addresses --------------------------------------------------------------------------------------------------

BAD_PATHS = [
    "/webhook/%0A", "/webhook/retell/%0A", "/webhook/a%0Ab/c/d", "/api/webhook/%0A", "/webhook", "/webhook/",
    "/webhook//", "/webhook/%00", "/webhook/retell%00", "/webhook/retell/%00",
    "/webhook/%2e%2e/admin", "/webhook/../admin/", "/webhook/./retell", "/webhook//retell",
    "/webhook/%ff%fe", "/webhook/%F0%9F%98%80", "/webhook/retell/%ed%a0%80", "/webhook/" + "a" * 5000,
    "/webhook/retell/" + "a" * 5000, "/webhook/retell/default/" + "a" * 8000, "/webhook/retell/default/%00",
    "/webhook/retell/default/%0d%0aX:%20y", "/webhook/retell/default/" + "/" * 3000, "/webhook/retell/default/a/b/c",
    "/webhook/RETELL/DEFAULT/x", "/webhook/'%20OR%201=1", "/webhook/%25s%25n", "/webhook/retell;a=b",
    "/webhook/retell/default/%", "/webhook/%zz", "/webhook/retell/default/..%2f..%2f", "/webhook/{provider_slug}",
    "/webhook/retell/default/{{7*7}}", "/webhook/-1", "/webhook/0", "/webhook/null", "/webhook/retell/retell",
    "/api/webhook/%00", "/api/webhook/retell/%00", "/api/webhook/" + "a" * 3000, "/api/webhook/retell/x/y",
    "/webhook/retell/default/?token=x", "/webhook/nobody?" + "a=b&" * 3000, "/webhook/nobody?%00=%00&a[]=b",
]  # fmt: skip
METHODS = ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "BREW", "get", "POST2"]
