"""Replaces secrets inside a JSON body without touching any other byte: what is stored stays what came.

Knows path patterns and JSON's outer grammar; which paths hold secrets is said in a provider's catalogue file.
Bodies are taken for UTF-8.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

REDACTED = "[redacted]"
_REPLACEMENT = json.dumps(REDACTED).encode()
_HASH = re.compile(rb'"sha256:[0-9a-f]{64}"')

_INDEX: Final = "[*]"
_ANY: Final = "**"
_Span = tuple[int, int]

# Lenient about what a string or word holds, strict about structure: what counts is that places are certain.
_WS = rb"[ \t\r\n]*+"
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_WORD = rb'[^\s"{}\[\],:]++'
_LEAF = rb"%b|%b|\{%b\}|\[%b\]" % (_STRING, _WORD, _WS, _WS)  # an empty container has no inside to search


def _next_value(before: bytes, after: bytes) -> re.Pattern[bytes]:
    """Reads one value up to the sign behind it; groups: key, leaf, that sign, or the bracket it opens."""
    return re.compile(rb"%b%b(?:(%b)%b(%b)|([{\[]))" % (before, _WS, _LEAF, _WS, after), re.DOTALL)


# By the bracket we are in; outside of all stands the document's one value, perhaps after a byte order mark.
_NEXT = {
    b"": _next_value(rb"()(?:\xef\xbb\xbf)?", rb"\Z"),
    b"[": _next_value(rb"()", rb"[,\]]"),
    b"{": _next_value(rb"%b(%b)%b:" % (_WS, _STRING, _WS), rb"[,}]"),
}
_AFTER_CONTAINER = {
    b"": re.compile(_WS + rb"(\Z)"),
    b"[": re.compile(_WS + rb"([,\]])"),
    b"{": re.compile(_WS + rb"([,}])"),
}
_MAX_DEPTH = 100_000  # deeper is searched by name only, or the stack would outgrow the body many times

# A quote after a backslash starts no key: else a run of \" would be read again from each of them.
_LOOSE_MEMBER = re.compile(rb"(?<!\\)(%b)%b:%b" % (_STRING, _WS, _WS), re.DOTALL)
_LOOSE_LEAF = re.compile(rb'%b|".*|%b' % (_STRING, _WORD), re.DOTALL)
_LOOSE_TOKEN = re.compile(rb'%b|".*|[{}\[\]]' % _STRING, re.DOTALL)

_ESCAPED_ASCII = re.compile(rb"\\u00[2-7]")


@dataclass(frozen=True, slots=True)
class _Key:
    """A glob on a key, and the same as a regular expression."""

    glob: str
    pattern: re.Pattern[str]

    def matches(self, text: str) -> bool:
        return self.pattern.fullmatch(text) is not None


_Path = tuple[_Key | str, ...]  # a string is _INDEX or _ANY


def redact(body: bytes, patterns: Sequence[str]) -> bytes:
    """The body with the value at every matching path replaced by REDACTED; see `compile_patterns`."""
    return compile_patterns(patterns)(body)


def compile_patterns(patterns: Iterable[str], *, hashed: bool = False) -> "Redactor":
    """A function from body to body for these patterns; ValueError names the pattern that cannot be read.

    A pattern is a path with dots: a segment is a glob on the key (`*` and `?`, ASCII letters in any case),
    `[*]` any index of a list, `**` any number of keys and indices: `call.access_token`, `**.*token*`,
    `transcript[*].tool_calls[*].headers`. Null stays null, it tells nothing.
    A body that is not JSON is searched for the last key of each pattern, wherever it stands.
    `hashed`: the hash of a value stands in its place, `sha256:<64 hex digits>`, so that a change of it shows.
    """
    return Redactor(tuple(_parse(pattern) for pattern in patterns), _hash_of if hashed else _nothing_of)


class Redactor:
    """Compiled patterns, to be kept by whoever redacts often; safe to share between threads."""

    def __init__(self, paths: Sequence[_Path], replace: "_Replace") -> None:
        self._paths = paths
        self._replace = replace
        self._last_keys = [_last_key(path) for path in paths]
        self._needles = [_needle(key) for key in self._last_keys]

    def __call__(self, body: bytes) -> bytes:
        """The very same object comes back when there is nothing to replace."""
        if not self._may_match(body):
            return body
        spans = _spans_by_path(body, _Automaton(self._paths)) if _is_utf8(body) else None
        if spans is None:
            spans = list(_spans_by_name(body, self._last_keys))
        return _replaced(body, spans, self._replace)

    def _may_match(self, body: bytes) -> bool:
        """Most bodies hold no secret: a few substring searches spare them the walk."""
        lowered = body.lower()
        if any(needle in lowered for needle in self._needles):
            return True
        return bool(self._needles) and b"\\u00" in lowered and _ESCAPED_ASCII.search(lowered) is not None


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


_Replace = Callable[[bytes], bytes]


def _replaced(body: bytes, spans: Iterable[_Span], replace: _Replace) -> bytes:
    pieces: list[bytes] = []
    done = 0
    for start, end in spans:
        if body[start:end] not in (b"null", _REPLACEMENT):
            pieces += (body[done:start], replace(body[start:end]))
            done = end
    return b"".join((*pieces, body[done:])) if pieces else body


def _nothing_of(value: bytes) -> bytes:
    return _REPLACEMENT


def _hash_of(value: bytes) -> bytes:
    """Of a text its characters are hashed, however they were escaped; a hash stays as it is."""
    if _HASH.fullmatch(value):
        return value
    try:
        told = json.loads(value, strict=False)
    except ValueError:
        told = None
    plain = told.encode("utf-8", "surrogatepass") if isinstance(told, str) else value
    return json.dumps(f"sha256:{hashlib.sha256(plain).hexdigest()}").encode()


# --- patterns --------------------------------------------------------------------------------------


def _parse(pattern: str) -> _Path:
    segments: list[_Key | str] = []
    for part in pattern.split("."):
        found = re.fullmatch(r"(\*\*|(?:(?!\*\*)[^\[\]])*)((?:\[\*\])*)", part)
        if found is None or not (found[1] or (found[2] and not segments)):
            raise ValueError(f"{pattern!r} is no path: near {part!r}; keys, globs, [*] and ** joined by dots")
        if found[1]:
            segments.append(_ANY if found[1] == _ANY else _glob(found[1]))
        segments += [_INDEX] * found[2].count(_INDEX)
    return tuple(segments)


def _glob(text: str) -> _Key:
    wild = {"*": ".*", "?": "."}
    pattern = "".join(wild.get(character) or re.escape(character) for character in text)
    return _Key(text, re.compile(pattern, re.DOTALL | re.IGNORECASE | re.ASCII))


def _last_key(path: _Path) -> _Key:
    return next((segment for segment in reversed(path) if isinstance(segment, _Key)), _glob("*"))


def _needle(key: _Key) -> bytes:
    """Lower-case bytes that stand in every body where this key matches, escapes apart; perhaps none."""
    return max(re.split(r"[^A-Za-z0-9_-]+", key.glob), key=len).lower().encode()


class _State:
    """The places in the patterns that a place in the document stands for; `accepts`: a pattern ends here."""

    __slots__ = ("accepts", "children", "places")

    def __init__(self, places: frozenset[tuple[int, int]], accepts: bool) -> None:
        self.places = places  # (number of the pattern, segments already passed)
        self.accepts = accepts
        self.children: dict[bytes, _State] = {}


class _Automaton:
    """Steps through all patterns at once and remembers steps, since a body repeats its keys; for one body."""

    def __init__(self, paths: Sequence[_Path]) -> None:
        self._paths = paths
        self._states: dict[frozenset[tuple[int, int]], _State] = {}
        self.start = self._state((number, 0) for number in range(len(paths)))
        self.dead = self._state(())

    def child(self, state: _State, key: bytes) -> _State:
        """`key` as written with its quotes, empty for an element of a list."""
        child = state.children.get(key)
        if child is None:
            child = state.children[key] = self._state(self._moves(state, key)) if state.places else state
        return child

    def _moves(self, state: _State, key: bytes) -> Iterator[tuple[int, int]]:
        text = _key_text(key)
        for number, passed in state.places:
            segment = self._paths[number][passed] if passed < len(self._paths[number]) else None
            if segment == _ANY:
                yield number, passed
            elif segment == _INDEX if not key else isinstance(segment, _Key) and segment.matches(text):
                yield number, passed + 1

    def _state(self, moves: Iterable[tuple[int, int]]) -> _State:
        places = set(moves)
        for number, passed in tuple(places):
            path = self._paths[number]
            while passed < len(path) and path[passed] == _ANY:  # ** may also stand for nothing
                passed += 1
                places.add((number, passed))
        accepts = any(passed == len(self._paths[number]) for number, passed in places)
        return self._states.setdefault(frozenset(places), _State(frozenset(places), accepts))


def _key_text(key: bytes) -> str:
    if b"\\" in key:
        try:
            return str(json.loads(key, strict=False))
        except ValueError:  # a wrong escape: the key as written
            pass
    return key[1:-1].decode("utf-8", "replace")


# --- finding the values ----------------------------------------------------------------------------


def _spans_by_path(body: bytes, automaton: _Automaton) -> list[_Span] | None:
    """Where matching values stand, outermost only, in order; None when the body's structure is not JSON's."""
    spans: list[_Span] = []
    around: list[tuple[bytes, _State, int]] = []  # brackets we are inside of, and where a redacted one starts
    bracket, state, starts_at = b"", automaton.start, -1
    position = 0
    while found := _NEXT[bracket].match(body, position):
        position = found.end()
        key, _, sign, opening = found.groups()
        child = automaton.child(state, key) if bracket else state
        if opening:
            if len(around) == _MAX_DEPTH:
                return None
            around.append((bracket, state, starts_at))
            bracket, starts_at = opening, position - 1 if child.accepts else -1
            state = automaton.dead if child.accepts else child
            continue
        if child.accepts:
            spans.append(found.span(2))
        while sign != b",":
            if not bracket:
                return spans
            if starts_at >= 0:
                spans.append((starts_at, position))
            bracket, state, starts_at = around.pop()
            after = _AFTER_CONTAINER[bracket].match(body, position)
            if after is None:
                return None
            position, sign = after.end(), after[1]
    return None


def _spans_by_name(body: bytes, keys: Sequence[_Key]) -> Iterator[_Span]:
    """Values of these keys anywhere in text that only resembles JSON; the last one may lack its end."""
    position = 0
    while found := _LOOSE_MEMBER.search(body, position):
        position = found.end()
        name = _key_text(found[1])
        if any(key.matches(name) for key in keys):
            start, position = position, _loose_end(body, position)
            if position > start:
                yield start, position


def _loose_end(body: bytes, start: int) -> int:
    if body[start : start + 1] not in (b"{", b"["):
        leaf = _LOOSE_LEAF.match(body, start)
        return leaf.end() if leaf else start
    depth = 0
    for token in _LOOSE_TOKEN.finditer(body, start):
        depth += {b"{": 1, b"[": 1, b"}": -1, b"]": -1}.get(token[0], 0)
        if depth == 0:
            return token.end()
    return len(body)
