"""The text of a Markdown document, llms.txt included, in the form that pages have: one block a line, code set in.

Of the front matter, keys that only tell of the build go (`date`, `updated`, `hash` …). The level of headings, marks of
lists, strong marks, wrapping of paragraphs, comments and rules take no part; `1.` stands for every number of a list.
Reference links are written out, tracking leaves their targets, and the targets stay: here they are what the author
wrote. An index, a list whose every entry begins with a link, is put in order, since its order says nothing; all other
order does.
"""

import re
from collections.abc import Iterable, Iterator

from apps.monitoring.content import text

_FRONT = re.compile(r"\A\s*---[ \t]*\n(.{0,20000}?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_VOLATILE = re.compile(
    r"(?i)\s*(?:date|updated|created|last[-_ ]?(?:updated|modified|mod|edited|reviewed)|modified"
    r"|(?:updated|created|generated|published)[-_ ]?at"
    r"|hash|commit|build(?:[-_ ]?id)?|revision|etag|views?|likes?|reading[-_ ]?time)\s*:"
)
_FENCE = re.compile(r"[ \t>]*(`{3,}|~{3,})\s*([^`]*)$")
_DEFINITION = re.compile(r" {0,3}\[([^\]^][^\]]{0,200})\]:\s*<?(\S+?)>?(?:\s+[\"'(].*[\"')])?\s*$")
_REFERENCE = re.compile(r"\[([^\[\]]{1,300})\] ?\[([^\[\]]{0,200})\]")
_TITLE = re.compile(r"(\]\([^()\s]+)\s+(?:\"[^\"]*\"|'[^']*')\)")
_HEADING = re.compile(r" {0,3}#{1,6}\s(.*)$")
_ANCHOR = re.compile(r"\{#[\w-]+\}\Z")
_RULE = re.compile(r"\s*(?:[-*_=]\s*){3,}$")
_BULLET = re.compile(r"(\s*)(?:[-*+]|(\d{1,3})[.)])\s+(?:\[[ xX]\]\s+)?(.*)$")
_TABLE_RULE = frozenset(" \t|:+-")
_INDEXED = re.compile(r"- \[[^\]]*\]\(")


def lines(document: str) -> list[str]:
    """The document's blocks, each on its line; empty for a document without text."""
    document = _without_comments(document.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff"))
    front = _FRONT.match(document)
    body = document[front.end() :] if front else document
    known = _front_lines(front[1]) if front else []
    given, targets = _definitions(body.split("\n"))
    return known + list(_in_order(_blocks(given, targets)))


def _without_comments(document: str) -> str:
    """As a search and not as a pattern: many openings without an end would take a pattern forever."""
    kept, at = [], 0
    while (start := document.find("<!--", at)) >= 0 and (end := document.find("-->", start)) >= 0:
        kept.append(document[at:start])
        at = end + 3
    return "".join([*kept, document[at:]])


def _front_lines(front: str) -> list[str]:
    return [line for line in (text.clean(line) for line in front.split("\n") if not _VOLATILE.match(line)) if line]


def _definitions(given: list[str]) -> tuple[list[str], dict[str, str]]:
    """The lines without the definitions of links, and the targets by their names."""
    kept: list[str] = []
    targets: dict[str, str] = {}
    for line in given:
        found = _DEFINITION.match(line)
        if found:
            targets.setdefault(found[1].strip().lower(), found[2])
        else:
            kept.append(line)
    return kept, targets


def _blocks(given: Iterable[str], targets: dict[str, str]) -> Iterator[str]:
    fence = ""
    code: list[str] = []
    paragraph: list[str] = []
    for line in given:
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence) and not mark[2].strip():
                yield from text.code(code)
                fence, code = "", []
            else:
                code.append(line)
        elif mark:
            yield from _paragraph(paragraph, targets)
            fence, paragraph = mark[1], []
        elif _goes_on(line, paragraph):
            paragraph.append(line)
        else:
            yield from _paragraph(paragraph, targets)
            paragraph = [line]
    yield from _paragraph(paragraph, targets)
    yield from text.code(code)


def _goes_on(line: str, paragraph: list[str]) -> bool:
    """Whether a line only wraps the paragraph before it."""
    if not paragraph or not paragraph[-1].strip() or not line.strip():
        return False
    starts = (_HEADING, _BULLET, _RULE)
    return not (
        any(form.match(line) for form in starts)
        or line.lstrip().startswith(("|", "<"))
        or _HEADING.match(paragraph[0])
        or paragraph[0].lstrip().startswith("|")
    )


def _paragraph(given: list[str], targets: dict[str, str]) -> Iterator[str]:
    line = " ".join(part.lstrip("> \t") if part.lstrip().startswith(">") else part for part in given)
    if not line.strip() or _RULE.match(line):
        return
    heading, bullet = _HEADING.match(line), _BULLET.match(line)
    if line.lstrip().startswith("|"):
        yield from _row(line, targets)
        return
    prefix = "# " if heading else ("1. " if bullet[2] else "- ") if bullet else ""
    said = _heading(heading[1]) if heading else bullet[3] if bullet else line
    if said := text.prose(_inline(said, targets)):
        yield prefix + said


def _heading(said: str) -> str:
    """Without the closing marks of `## Title ##`, and without the anchor of `Title {#name}`."""
    said = said.rstrip()
    bare = said.rstrip("#")
    return _ANCHOR.sub("", bare.rstrip() if not bare or bare[-1].isspace() else said)


def _row(line: str, targets: dict[str, str]) -> Iterator[str]:
    if "-" not in line or not _TABLE_RULE.issuperset(line):
        cells = _inline(line, targets).strip().strip("|").split("|")
        yield "| " + " | ".join(text.clean(cell) for cell in cells)


def _inline(line: str, targets: dict[str, str]) -> str:
    if targets and "[" in line:
        line = _REFERENCE.sub(lambda found: _written_out(found, targets), line)
    line = _TITLE.sub(r"\1)", line)
    return line.replace("**", "").replace("`", "")


def _written_out(found: re.Match[str], targets: dict[str, str]) -> str:
    target = targets.get((found[2] or found[1]).strip().lower())
    return f"[{found[1]}]({target})" if target else found[0]


def _in_order(blocks: Iterable[str]) -> Iterator[str]:
    """Runs of entries that begin with a link, each run sorted."""
    run: list[str] = []
    for block in blocks:
        if _INDEXED.match(block):
            run.append(block)
            continue
        yield from sorted(run)
        run = []
        yield block
    yield from sorted(run)
