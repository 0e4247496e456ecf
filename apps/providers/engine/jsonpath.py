"""RFC 9535 JSONPath, compiled to closures.

The library parses every query. Most queries are names, indices, wildcards and simple filters: those run here, some
twenty times faster than the library walks them; the rest (slices, descendants, functions, order) is left to it.
"""

import re
from collections.abc import Callable
from typing import Any

import jsonpath_rfc9535 as rfc9535
from jsonpath_rfc9535 import filter_expressions as expressions
from jsonpath_rfc9535 import selectors
from jsonpath_rfc9535.query import JSONPathQuery
from jsonpath_rfc9535.segments import JSONPathChildSegment, JSONPathSegment

from apps.providers.engine.errors import PathError

Json = Any
Search = Callable[[Json], list[Json]]
Test = Callable[[Json], bool]

_ABSENT = object()
# Patterns that mean the same to I-Regexp and to Python but for the dot: letters and simple classes, perhaps repeated.
_PLAIN_PATTERN = re.compile(r"(?:(?:[A-Za-z0-9 _.]|\[[A-Za-z0-9 _]+\])[*+?]?)+", re.ASCII)
_DOT = r"[^\n\r]"


class _LeftToLibrary(Exception):
    """A part of a query that is not compiled here."""


class Query:
    """A query in parts: the keys that it begins with, then steps, each from all values found so far to those further
    down. A step ends behind a filter or at the end, and has the query up to there as its name: what several queries
    have in common need be searched only once. `singular`: it can find only one value.
    """

    def __init__(self, keys: list[str], steps: list[tuple[str, Search]], *, singular: bool) -> None:
        self.keys = keys
        self.steps = steps
        self.singular = singular
        self._start = _member(keys)

    def search(self, payload: Json) -> list[Json]:
        found = self._start(payload)
        values = [] if found is _ABSENT else [found]
        for _, step in self.steps:
            values = step(values)
        return values


def compile_query(path: str) -> Query:
    """Raises PathError."""
    try:
        query = rfc9535.compile(path)
    except rfc9535.JSONPathError as error:
        raise PathError(path, str(error)) from error
    except (OverflowError, RecursionError) as error:  # 1e999, and a thousand brackets
        raise PathError(path, "holds a number that is too large, or is nested too deeply") from error
    try:
        return _compiled(query)
    except _LeftToLibrary:
        return Query([], [(str(query), _library_search(query))], singular=query.singular_query())


def _library_search(query: JSONPathQuery) -> Search:
    def search(payloads: list[Json]) -> list[Json]:
        try:
            return [value for payload in payloads for value in query.find(payload).values()]
        except (rfc9535.JSONPathError, RecursionError):
            return []

    return search


def _compiled(query: JSONPathQuery) -> Query:
    names = _leading_names(query)
    steps: list[tuple[str, Search]] = []
    pending: list[Search] = []
    text = "$" + "".join(map(str, query.segments[: len(names)]))
    for segment in query.segments[len(names) :]:
        pending.append(_step(segment))
        text += str(segment)
        if any(isinstance(selector, selectors.FilterSelector) for selector in segment.selectors):
            steps.append((text, _in_turn(pending)))
            pending = []
    rest = [(text, _in_turn(pending))] if pending else []
    return Query(names, steps + rest, singular=query.singular_query())


def _in_turn(steps: list[Search]) -> Search:
    if len(steps) == 1:
        return steps[0]

    def search(values: list[Json]) -> list[Json]:
        for step in steps:
            values = step(values)
        return values

    return search


def _leading_names(query: JSONPathQuery) -> list[str]:
    """The keys that a query begins with: until its first segment of another kind it has one value at most."""
    names: list[str] = []
    for segment in query.segments:
        selector = segment.selectors[0]
        plain = isinstance(segment, JSONPathChildSegment) and len(segment.selectors) == 1
        if not plain or not isinstance(selector, selectors.NameSelector):
            break
        names.append(selector.name)
    return names


def _member(names: list[str]) -> Callable[[Json], Json]:
    """The value at these keys, or _ABSENT."""

    def member(value: Json) -> Json:
        for name in names:
            if not isinstance(value, dict):
                return _ABSENT
            value = value.get(name, _ABSENT)
        return value

    return member


# --- segments: from the values found so far to those one level below --------------------------------------------------


def _step(segment: JSONPathSegment) -> Search:
    if not isinstance(segment, JSONPathChildSegment):
        raise _LeftToLibrary
    selects = [_select(selector) for selector in segment.selectors]
    names = [selector.name for selector in segment.selectors if isinstance(selector, selectors.NameSelector)]
    if len(names) == len(segment.selectors):
        return lambda values: [
            value[name] for value in values if isinstance(value, dict) for name in names if name in value
        ]
    if len(selects) == 1:
        select = selects[0]
        return lambda values: [found for value in values for found in select(value)]
    return lambda values: [found for value in values for select in selects for found in select(value)]


def _select(selector: selectors.JSONPathSelector) -> Search:
    if isinstance(selector, selectors.NameSelector):
        name = selector.name
        return lambda value: [value[name]] if isinstance(value, dict) and name in value else []
    if isinstance(selector, selectors.IndexSelector):
        index = selector.index
        return lambda value: [value[index]] if isinstance(value, list) and -len(value) <= index < len(value) else []
    if isinstance(selector, selectors.WildcardSelector):
        return _children
    if isinstance(selector, selectors.FilterSelector):
        test = _test(selector.expression.expression)
        return lambda value: [child for child in _children(value) if test(child)]
    raise _LeftToLibrary


def _children(value: Json) -> list[Json]:
    if isinstance(value, list):
        return value
    return list(value.values()) if isinstance(value, dict) else []


# --- filters ----------------------------------------------------------------------------------------------------------


def _test(expression: expressions.Expression) -> Test:
    if isinstance(expression, expressions.LogicalExpression):
        left, right = _test(expression.left), _test(expression.right)
        if expression.operator == "&&":
            return lambda value: left(value) and right(value)
        return lambda value: left(value) or right(value)
    if isinstance(expression, expressions.PrefixExpression):
        refused = _test(expression.right)
        return lambda value: not refused(value)
    if isinstance(expression, expressions.ComparisonExpression):
        return _comparison(expression)
    if isinstance(expression, expressions.FunctionExtension):
        return _pattern_test(expression)
    search = _compiled(_below(expression)).search
    return lambda value: bool(search(value))


def _below(expression: expressions.Expression) -> JSONPathQuery:
    """A query from the current value. That value itself (`@` alone) has odd rules of its own in the library."""
    if isinstance(expression, expressions.RelativeFilterQuery) and not expression.query.empty():
        return expression.query
    raise _LeftToLibrary


def _comparison(expression: expressions.ComparisonExpression) -> Test:
    left, right = _side(expression.left), _side(expression.right)
    if expression.operator == "==" and isinstance(expression.right, expressions.StringLiteral):
        word = expression.right.value  # nothing but the same text equals a text
        return lambda value: bool(left(value) == word)
    if expression.operator == "==":
        return lambda value: _same(left(value), right(value))
    if expression.operator == "!=":
        return lambda value: not _same(left(value), right(value))
    raise _LeftToLibrary


def _side(expression: expressions.Expression) -> Callable[[Json], Json]:
    if isinstance(expression, expressions.FilterExpressionLiteral):
        return lambda _: expression.value
    query = _below(expression)
    names = _leading_names(query)
    if len(names) == len(query.segments):
        return _member(names)
    search = _compiled(query).search

    def only(value: Json) -> Json:
        found = search(value)
        return found[0] if found else _ABSENT

    return only


def _same(left: Json, right: Json) -> bool:
    """Absent equals only absent; true is no 1."""
    if left is _ABSENT or right is _ABSENT or isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def _pattern_test(expression: expressions.FunctionExtension) -> Test:
    """`search(@.path, 'pattern')` and `match(…)`."""
    if expression.name not in ("search", "match") or not isinstance(expression.args[1], expressions.StringLiteral):
        raise _LeftToLibrary
    text, pattern = _side(expression.args[0]), expression.args[1].value
    if not _PLAIN_PATTERN.fullmatch(pattern):
        raise _LeftToLibrary
    # I-Regexp's dot stands for no end of a line of either kind.
    compiled = re.compile(pattern.replace(".", _DOT))
    find = compiled.search if expression.name == "search" else compiled.fullmatch

    def test(value: Json) -> bool:
        found = text(value)
        return isinstance(found, str) and find(found) is not None

    return test
