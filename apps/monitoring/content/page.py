"""From the bytes of an answer to what is compared: which format it is in, in truth, and in which characters."""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

import orjson

from apps.monitoring.content import html, markdown, specification, text
from apps.monitoring.content.errors import ContentError
from apps.monitoring.outcome import Content

_LARGEST = 10 * 2**20
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_MARKUP = re.compile(
    r"\s*(?:<\?xml[^>]{0,200}>\s*)?(?:<!--[^>]{0,2000}-->\s*){0,5}<(?:!doctype\s+html|html|head|body)\b", re.I
)
# Keys at the top of a JSON document that tell of its making.
_VOLATILE = frozenset(
    ["buildid", "build_id", "generatedat", "generated_at", "lastupdated", "last_updated", "timestamp"]
)


def read(
    kind: str, body: bytes, content_type: str, url: str, *, selector: str = "", ignored: Sequence[str] = ()
) -> Content:
    """What of a page counts. `kind` is a kind of check; `openapi` is read as such, all others as a page for people.

    A page is what its bytes are, whatever it calls itself. Raises ContentError: `selector` (finds nothing, or is no
    CSS selector), `empty` (no text), `format` (too large, binary, or no OpenAPI document).
    """
    if len(body) > _LARGEST:
        raise ContentError("format", f"The page is larger than {_LARGEST // 2**20} MB.")
    if kind == "openapi":
        return Content(specification.canonical(body), "openapi")
    page = _decoded(body, content_type)
    media = content_type.partition(";")[0].strip().lower()
    if _MARKUP.match(page) or ("html" in media and not _is_plain_address(url)):
        return _content(html.lines(page, selector=selector, ignored=ignored), "text")
    if (canonical := _json(page)) is not None:
        return _content(canonical, "text")
    return _content(markdown.lines(page), "markdown")


def _content(lines: list[str], form: str) -> Content:
    if not lines:
        raise ContentError("empty", "The page holds no text.")
    return Content("\n".join(lines), form)


def _is_plain_address(url: str) -> bool:
    try:
        return urlsplit(url).path.lower().endswith((".md", ".mdx", ".txt", ".json"))
    except ValueError:
        return False


def _decoded(body: bytes, content_type: str) -> str:
    for mark, charset in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if body.startswith(mark):
            return body[len(mark) :].decode(charset, "replace")
    if b"\x00" in body[:4096] or body.startswith(b"%PDF"):
        raise ContentError("format", "The answer is binary, not text.")
    told = _CHARSET.search(content_type) or _CHARSET.search(body[:2048].decode("latin-1"))
    try:
        return body.decode(told[1] if told else "utf-8", "replace")
    except (LookupError, UnicodeError):  # no such charset, or one that knows no replacement
        return body.decode("utf-8", "replace")


def _json(page: str) -> list[str] | None:
    """A JSON document line by line with its keys in order; None for what is none."""
    if page.lstrip()[:1] not in ("{", "["):
        return None
    try:
        known = orjson.loads(page)
        if isinstance(known, dict):
            known = {key: value for key, value in known.items() if key.lower() not in _VOLATILE}
        shown = orjson.dumps(known, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2).decode()
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None
    return text.code(shown.splitlines())
