"""What is told of a change: the diff of the very text that was compared, and its size.

Pages by line, in order: a block that moved is a removal and an addition. Lines that were edited are shown once, with
`[-old-]{+new+}` around the words. Where a paragraph only breaks otherwise nothing has changed; in code lines count.
OpenAPI documents by meaning (see `openapi`); their diff is the list of changes.

Bounded on any input: lines that stand once in both texts anchor the comparison, and what lies between two anchors is
compared closely if it is short, else told as removed and added.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise

import orjson

from apps.monitoring.content import openapi, text
from apps.monitoring.content.openapi import SchemaChange
from apps.monitoring.outcome import Content

LONGEST_DIFF = 20_000
MOST_LINES = 500
_LONGEST_LINE = 1000
_CONTEXT = 3
_CLOSE_WORK = 60_000  # lines times lines, or words times words
_MOST_PAIRS = 20
_ALIKE = 0.5
_WORD = re.compile(r"\w+(?:[.'-]\w+)*|\s+|[^\w\s]")


@dataclass(frozen=True)
class Difference:
    """`added` and `removed` are whole lines, edited ones in both; `changed_percent` is of words (OpenAPI: operations
    and schemas), 0 to 100."""

    diff: str
    changed_percent: float
    added: tuple[str, ...]
    removed: tuple[str, ...]
    summary: str
    schema: tuple[SchemaChange, ...] = ()


@dataclass(frozen=True)
class _Block:
    """Lines before[start:end] became after[new_start:new_end]; equal ones if they are the same."""

    is_same: bool
    start: int
    end: int
    new_start: int
    new_end: int


def compare(before: Content, after: Content) -> Difference | None:
    """None if both say the same."""
    if before.text == after.text:
        return None
    if before.format == after.format == "openapi":
        return _by_meaning(before.text, after.text)
    return _by_line(before.text, after.text)


def _by_meaning(before: str, after: str) -> Difference | None:
    old, new = orjson.loads(before), orjson.loads(after)
    found = openapi.changes(old, new)
    if not found:
        return None
    lines = [f"{_sign(each)} {each}" for each in found]
    parts = sum(len(new.get(key, ())) for key in ("paths", "webhooks", "schemas")) or 1
    touched = len({each.path.split(".request")[0].split(" response")[0].split(" request")[0] for each in found})
    breaking = sum(each.breaking for each in found)
    amount = f"{'At least ' if len(found) >= openapi.MOST_CHANGES else ''}{_count(len(found), 'change')} of the API"
    return Difference(
        diff=_bounded(lines),
        changed_percent=round(min(100.0, 100 * touched / parts), 1),
        added=_some(line[2:] for line in lines if line[0] != "-"),
        removed=_some(line[2:] for line in lines if line[0] != "+"),
        summary=f"{amount}, {breaking or 'none'} of them breaking.",
        schema=found,
    )


def _sign(change: SchemaChange) -> str:
    last = change.what.rpartition(" ")[2]
    return {"added": "+", "removed": "-"}.get(last, "~")


def _by_line(before: str, after: str) -> Difference | None:
    old, new = before.split("\n"), after.split("\n")
    if _meaning(old) == _meaning(new):
        return None
    blocks = list(_blocks(old, new))
    rows = [row for block in blocks for row in _rows(block, old, new)]
    removed = [line for block in blocks if not block.is_same for line in old[block.start : block.end]]
    added = [line for block in blocks if not block.is_same for line in new[block.new_start : block.new_end]]
    percent = _percent(rows, old, new)
    return Difference(
        diff=_bounded(_hunks(rows)),
        changed_percent=percent,
        added=_some(iter(added)),
        removed=_some(iter(removed)),
        summary=_summary(rows, percent),
    )


def _meaning(lines: list[str]) -> list[str]:
    """The text with each run of prose in one piece."""
    pieces: list[str] = []
    goes_on = False
    for line in lines:
        if text.is_code(line):
            pieces.append(line)
        elif goes_on:
            pieces[-1] += f" {line}"
        else:
            pieces.append(line)
        goes_on = not text.is_code(line)
    return pieces


def _blocks(old: list[str], new: list[str]) -> Iterator[_Block]:
    """The whole of both texts, as blocks that are the same or not, in order."""
    anchors = [(-1, -1), *_anchors(old, new), (len(old), len(new))]
    for (last, new_last), (here, new_here) in pairwise(anchors):
        yield from _between(old, new, last + 1, here, new_last + 1, new_here)
        if here < len(old):
            yield _Block(True, here, here + 1, new_here, new_here + 1)


def _anchors(old: list[str], new: list[str]) -> list[tuple[int, int]]:
    """Lines that stand once in both texts, as far as they come in the same order: the longest such row."""
    counts, new_counts = Counter(old), Counter(new)
    places = {line: at for at, line in enumerate(new) if new_counts[line] == 1}
    pairs = [(at, places[line]) for at, line in enumerate(old) if counts[line] == 1 and line in places]
    tails: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for index, (_, place) in enumerate(pairs):
        length = bisect_left(tails, place)
        before.append(ends[length - 1] if length else -1)
        tails[length : length + 1] = [place]
        ends[length : length + 1] = [index]
    row = []
    at = ends[-1] if ends else -1
    while at >= 0:
        row.append(pairs[at])
        at = before[at]
    return row[::-1]


def _between(old: list[str], new: list[str], start: int, end: int, new_start: int, new_end: int) -> Iterator[_Block]:
    while start < end and new_start < new_end and old[start] == new[new_start]:
        yield _Block(True, start, start + 1, new_start, new_start + 1)
        start, new_start = start + 1, new_start + 1
    tail = 0
    while end - tail > start and new_end - tail > new_start and old[end - tail - 1] == new[new_end - tail - 1]:
        tail += 1
    here, new_here = end - tail, new_end - tail
    if (here - start) * (new_here - new_start) > _CLOSE_WORK:
        yield _Block(False, start, here, new_start, new_here)
    else:
        matcher = SequenceMatcher(None, old[start:here], new[new_start:new_here], autojunk=False)
        for tag, a, b, c, d in matcher.get_opcodes():
            yield _Block(tag == "equal", start + a, start + b, new_start + c, new_start + d)
    if tail:
        yield _Block(True, here, end, new_here, new_end)


# A sign (" ", "-", "+" or "~"), the line as it is shown, and how many words of it are gone or new.
_Row = tuple[str, str, int]


def _rows(block: _Block, old: list[str], new: list[str]) -> Iterator[_Row]:
    was, now = old[block.start : block.end], new[block.new_start : block.new_end]
    if block.is_same:
        yield from ((" ", line, 0) for line in was)
        return
    partners = _partners(was, now)
    at = 0
    for index, line in enumerate(was):
        partner = partners.get(index)
        if partner is None:
            yield "-", line, len(line.split())
            continue
        yield from (("+", fresh, len(fresh.split())) for fresh in now[at:partner])
        yield "~", *_marked(line, now[partner])
        at = partner + 1
    yield from (("+", fresh, len(fresh.split())) for fresh in now[at:])


def _partners(was: list[str], now: list[str]) -> dict[int, int]:
    """Which old line became which new one, in order."""
    found: dict[int, int] = {}
    if max(len(was), len(now)) > _MOST_PAIRS:
        return found
    at = 0
    for index, line in enumerate(was):
        partner = next((place for place in range(at, len(now)) if _is_alike(line, now[place])), None)
        if partner is not None:
            found[index], at = partner, partner + 1
    return found


def _is_alike(line: str, other: str) -> bool:
    was, now = _WORD.findall(line), _WORD.findall(other)
    if len(was) * len(now) > _CLOSE_WORK:
        return _shared(was, now) > _ALIKE
    return SequenceMatcher(None, was, now, autojunk=False).ratio() > _ALIKE


def _shared(was: list[str], now: list[str]) -> float:
    return 2 * (Counter(was) & Counter(now)).total() / (len(was) + len(now))


def _marked(line: str, other: str) -> tuple[str, int]:
    """The new line with the old words in `[-…-]` and the new ones in `{+…+}`, and how many they are."""
    was, now = _WORD.findall(line), _WORD.findall(other)
    shown, count = [], 0
    for block in _blocks(was, now):
        gone, come = "".join(was[block.start : block.end]), "".join(now[block.new_start : block.new_end])
        if block.is_same:
            shown.append(come)
            continue
        shown.append((f"[-{gone}-]" if gone else "") + (f"{{+{come}+}}" if come else ""))
        count += max(len(gone.split()), len(come.split()))
    return "".join(shown), count


def _percent(rows: list[_Row], old: list[str], new: list[str]) -> float:
    most = max(sum(len(line.split()) for line in lines) for lines in (old, new)) or 1
    gone = sum(count for sign, _, count in rows if sign in "-~")
    come = sum(count for sign, _, count in rows if sign in "+~")
    # A small change is not none.
    return min(100.0, max(0.1, round(100 * max(gone, come) / most, 1)))


def _hunks(rows: list[_Row]) -> list[str]:
    """The changed lines with those around them, each group under the heading it stands below."""
    shown: list[str] = []
    last = -1
    changed = [at for at, row in enumerate(rows) if row[0] != " "]
    headings = _headings(rows)
    for at in changed:
        start = max(last + 1, at - _CONTEXT)
        if last < 0 or start > last + 1:
            shown.append(f"@@ {headings[at] or 'top'} @@")
        shown += [f"{sign} {line[:_LONGEST_LINE]}" for sign, line, _ in rows[start : at + 1]]
        last = max(last, at)
        until = next(
            (after for after in range(at + 1, min(at + 1 + _CONTEXT, len(rows))) if rows[after][0] != " "), None
        )
        if until is None:
            end = min(len(rows), at + 1 + _CONTEXT)
            shown += [f"{sign} {line[:_LONGEST_LINE]}" for sign, line, _ in rows[at + 1 : end]]
            last = end - 1
    return shown


def _headings(rows: list[_Row]) -> list[str]:
    known, found = "", []
    for _, line, _ in rows:
        if line.startswith("# "):
            known = line[2:102]
        found.append(known)
    return found


def _bounded(lines: list[str]) -> str:
    kept, size = [], 0
    for line in lines:
        size += len(line) + 1
        if size > LONGEST_DIFF - 60:
            break
        kept.append(line)
    cut = len(lines) - len(kept)
    return "\n".join([*kept, f"... {_count(cut, 'more line')} of the diff left out"] if cut else kept)


def _some(lines: Iterator[str]) -> tuple[str, ...]:
    return tuple(line[:_LONGEST_LINE] for line, _ in zip(lines, range(MOST_LINES), strict=False))


def _summary(rows: list[_Row], percent: float) -> str:
    signs = Counter(sign for sign, _, _ in rows)
    told = [
        f"{_count(signs[sign], 'line')} {word}"
        for sign, word in (("+", "added"), ("-", "removed"), ("~", "edited"))
        if signs[sign]
    ]
    place = next(heading for (sign, _, _), heading in zip(rows, _headings(rows), strict=True) if sign != " ")
    return f"{', '.join(told)} ({percent:g} % of the words){f', first under “{place}”' if place else ''}."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
