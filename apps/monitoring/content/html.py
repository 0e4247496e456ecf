"""The text of an HTML page: one block a line, headings, lists, table rows and code kept apart.

Which part: all that the check's selector finds; else the first of `main article` (if there is one only), `main`,
`[role=main]`, `article` and the usual content blocks; else the whole body. It is never chosen by how dense its text is:
such a choice may fall differently one day, and all would seem to have changed. Left out are scripts, navigation,
headers without a title, footers, forms, banners, what is hidden (but not the panel of a tab), and what its class or
role names as furniture. Notes and warnings written as `aside` stay.

Attributes take no part, and so no targets of links: they carry build hashes and tracking, and move with each
restructuring of a site; a page that is gone shows as a 404. Addresses that the text names do count.
"""

import re
from collections.abc import Iterator, Sequence

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from apps.monitoring.content import text
from apps.monitoring.content.errors import ContentError

_MAIN = (
    "main", "[role=main]", "article", "#main-content", ".main-content", ".markdown-body", "#content", ".content",
    "body",
)  # fmt: skip
_DROPPED = frozenset(
    [
        "script",
        "style",
        "template",
        "noscript",
        "nav",
        "footer",
        "svg",
        "canvas",
        "iframe",
        "video",
        "audio",
        "object",
        "embed",
        "dialog",
        "input",
        "select",
        "textarea",
        "progress",
        "meter",
        "link",
        "meta",
        "head",
        "title",
        "img",
        "picture",
        "map",
    ]
)
_DROPPED_ROLES = frozenset(
    ["navigation", "contentinfo", "search", "dialog", "alertdialog", "toolbar", "menu", "menubar", "tooltip"]
)
_FURNITURE = frozenset(
    [
        "breadcrumb",
        "breadcrumbs",
        "theme-doc-breadcrumbs",
        "pagination",
        "pagination-nav",
        "pager",
        "prev-next",
        "toc",
        "table-of-contents",
        "theme-doc-toc-desktop",
        "theme-doc-toc-mobile",
        "sidebar",
        "page-feedback",
        "feedback",
        "share-buttons",
        "social-share",
        "reading-time",
        "last-updated",
        "theme-last-updated",
        "edit-page",
        "edit-this-page",
        "theme-edit-this-page",
        "copy-button",
        "copy-btn",
        "skip-link",
        "sr-only",
        "visually-hidden",
        "hash-link",
        "header-anchor",
        "anchor-link",
        "headerlink",
        "line-number",
        "line-numbers",
        "linenumber",
        "lineno",
        "linenos",
        "linenodiv",
        "gutter",
        "view-count",
        "view-counter",
        "page-views",
    ]
)
_BANNER = re.compile(
    r"(?i)(?:cookie|consent|gdpr)[-_]?(?:banner|consent|notice|bar|popup|modal|dialog)|onetrust|cookiebot"
)
_NOTE = re.compile(r"(?i)\b(?:note|tip|info|warning|caution|danger|important|callout|admonition|alert)\b")
_HIDING = re.compile(r"(?i)(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)")
_AGO = re.compile(r"(?i).*\bago|just now|yesterday|today")
_INLINE = frozenset(
    [
        "a",
        "abbr",
        "b",
        "bdi",
        "bdo",
        "big",
        "cite",
        "code",
        "data",
        "del",
        "dfn",
        "em",
        "font",
        "i",
        "ins",
        "kbd",
        "label",
        "mark",
        "q",
        "rp",
        "rt",
        "ruby",
        "s",
        "samp",
        "small",
        "span",
        "strike",
        "strong",
        "sub",
        "sup",
        "time",
        "tt",
        "u",
        "var",
        "wbr",
    ]
)
_HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]*)")
# Their end may be left out, or they have none.
_UNPAIRED = frozenset(
    [
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "param",
        "source",
        "track",
        "wbr",
        "p",
        "li",
        "dt",
        "dd",
        "td",
        "th",
        "tr",
        "thead",
        "tbody",
        "tfoot",
        "option",
        "optgroup",
        "rt",
        "rp",
        "path",
        "circle",
        "rect",
        "line",
        "polyline",
        "polygon",
        "ellipse",
        "use",
        "stop",
        "html",
        "head",
        "body",
    ]
)
_DEEPEST = 3000
_CHALLENGE = re.compile(
    r"(?i)just a moment|checking (?:if the site|your browser)|attention required|enable javascript and cookies"
    r"|verify(?:ing)? (?:that )?you are (?:a )?human|ddos protection by|access denied"
)
_CHALLENGE_LENGTH = 1500


def lines(page: str, *, selector: str = "", ignored: Sequence[str] = ()) -> list[str]:
    """Raises ContentError: `selector` where it finds nothing or is none, `empty` where no text is left."""
    if _is_too_deep(page):
        raise ContentError("format", f"The page is nested more than {_DEEPEST} elements deep: no page for people is.")
    tree = LexborHTMLParser(page)
    for unwanted in ignored:
        for node in _select(tree, unwanted):
            node.decompose()
    roots = _chosen(tree, selector) if selector else _main(tree)
    found = [line for root in roots for line in _Reader(root).lines()]
    if not found or _is_challenge(tree, found):
        raise ContentError("empty", _why_empty(tree, found))
    return found


def plain(fragment: str) -> str:
    """A piece of HTML, such as the summary of a feed's entry, as one line of text."""
    if "<" not in fragment and "&" not in fragment:
        return text.clean(fragment)
    body = None if _is_too_deep(fragment) else LexborHTMLParser(fragment).body
    return " ".join(line.strip() for line in _Reader(body).lines()) if body else ""


def _is_too_deep(page: str) -> bool:
    """The parser's time grows with the square of the depth."""
    depth = deepest = 0
    for closes, tag in _TAG.findall(page) if page.count("<") > _DEEPEST else ():
        if tag.lower() not in _UNPAIRED:
            depth = max(0, depth - 1) if closes else depth + 1
            deepest = max(deepest, depth)
    return deepest > _DEEPEST


def _select(tree: LexborHTMLParser, selector: str) -> list[LexborNode]:
    try:
        return tree.css(selector)
    except (SelectolaxError, ValueError) as error:
        raise ContentError("selector", f"{selector!r} is not a CSS selector; correct it in the check.") from error


def _chosen(tree: LexborHTMLParser, selector: str) -> list[LexborNode]:
    found = _outermost(_select(tree, selector))
    if not found:
        raise ContentError(
            "selector", f"The selector {selector!r} finds nothing in the page; look at the page and correct the check."
        )
    return found


def _main(tree: LexborHTMLParser) -> list[LexborNode]:
    articles = tree.css("main article")
    if len(articles) == 1 and articles[0].css_first("h1, h2") is not None:
        return articles
    for selector in _MAIN:
        found = _outermost(tree.css(selector))
        if any(node.text(strip=True) for node in found):
            return found
    return []


def _outermost(nodes: list[LexborNode]) -> list[LexborNode]:
    """Without those that stand within another: their text would count twice."""
    ids = {node.mem_id for node in nodes}
    return [node for node in nodes if not any(above.mem_id in ids for above in _above(node))]


def _above(node: LexborNode) -> Iterator[LexborNode]:
    parent = node.parent
    while parent is not None:
        yield parent
        parent = parent.parent


def _is_challenge(tree: LexborHTMLParser, found: list[str]) -> bool:
    size = sum(map(len, found))
    return size < _CHALLENGE_LENGTH and bool(_CHALLENGE.search(f"{_title(tree)}\n" + "\n".join(found)))


def _why_empty(tree: LexborHTMLParser, found: list[str]) -> str:
    if found or _CHALLENGE.search(_title(tree)):
        return "The answer is a browser check, not the page: the site turns programs away."
    if tree.css_first("script") is not None:
        return "The page holds no text: it is drawn by JavaScript. Watch its Markdown, its feed or llms.txt instead."
    return "The page holds no text."


def _title(tree: LexborHTMLParser) -> str:
    title = tree.css_first("title")
    return title.text() if title is not None else ""


class _Reader:
    """Walks one part of the tree, without recursion: pages nest as deeply as they please."""

    def __init__(self, root: LexborNode) -> None:
        self._root = root
        self._lines: list[str] = []
        self._parts: list[str] = []
        self._prefix = ""
        self._row = False  # in a table row, whose cells share a line
        self._code: list[str] | None = None

    def lines(self) -> list[str]:
        # None as the node closes the tag beside it.
        stack: list[tuple[str, LexborNode | None]] = [("", self._root)]
        while stack:
            tag, node = stack.pop()
            if node is None:
                self._close(tag)
            elif node.is_text_node:
                self._add(node.text_content or "")
            elif node.is_element_node and (node is self._root or not _is_dropped(node)):
                name = node.tag or ""
                self._open(name)
                stack.append((name, None))
                stack.extend(("", child) for child in reversed(list(node.iter(include_text=True))))
        self._flush()
        return self._lines

    def _add(self, piece: str) -> None:
        (self._parts if self._code is None else self._code).append(piece)

    def _open(self, tag: str) -> None:
        if self._code is not None:
            self._break_code(tag)
        elif tag == "pre" and not self._row:
            self._flush()
            self._code = []
        elif self._row:
            self._parts.append(" | " if tag in ("td", "th") else "" if tag in _INLINE else " ")
        elif tag not in _INLINE:
            self._open_block(tag)

    def _open_block(self, tag: str) -> None:
        # A paragraph within a list entry or a heading goes on with its line.
        if self._prefix and not "".join(self._parts).strip() and tag not in ("li", "tr") and tag not in _HEADINGS:
            return
        self._flush()
        if tag == "tr":
            self._row = True
        elif tag == "li":
            self._prefix = "- "
        elif tag in _HEADINGS:
            self._prefix = "# "

    def _close(self, tag: str) -> None:
        if self._code is not None:
            if tag == "pre":
                self._flush_code(self._code)
            else:
                self._break_code(tag)
        elif self._row:
            if tag == "tr":
                self._flush_row()
            else:
                self._parts.append("" if tag in _INLINE else " ")
        elif tag not in _INLINE:
            self._flush()

    def _break_code(self, tag: str) -> None:
        if self._code is not None and tag not in _INLINE and self._code and not self._code[-1].endswith("\n"):
            self._code.append("\n")

    def _flush_code(self, pieces: list[str]) -> None:
        self._code = None
        self._lines += text.code("".join(pieces).splitlines())

    def _flush_row(self) -> None:
        self._row = False
        line = text.clean("".join(self._parts)).removeprefix("| ")
        self._parts = []
        if line.strip("| "):
            self._lines.append(f"| {line}")

    def _flush(self) -> None:
        line = text.prose("".join(self._parts))
        if self._prefix == "# ":
            line = line.strip("#¶§🔗 ") if line.endswith((" #", "¶", "§", "🔗")) or line.startswith("# ") else line
        if line:
            self._lines.append(self._prefix + line)
        self._parts, self._prefix = [], ""


def _is_dropped(node: LexborNode) -> bool:
    tag = node.tag
    if tag in _DROPPED:
        return True
    if tag == "button":
        return not text.prose(node.text())
    if tag == "header":
        return node.css_first("h1, h2, h3, h4") is None
    if tag == "form":
        return node.css_first("h1, main, article") is None
    given = node.attributes
    if tag == "aside":
        return given.get("role") != "note" and not _NOTE.search(given.get("class") or "")
    if tag == "time" and _AGO.fullmatch(node.text(strip=True)):
        return True
    return bool(given) and _is_furniture(node, given)


def _is_furniture(node: LexborNode, given: dict[str, str | None]) -> bool:
    role = given.get("role")
    if role in _DROPPED_ROLES or given.get("aria-hidden") == "true" or _HIDING.search(given.get("style") or ""):
        return True
    if "hidden" in given and role != "tabpanel":
        return True
    classes, name = given.get("class") or "", given.get("id") or ""
    if _BANNER.search(classes) or _BANNER.search(name):
        return True
    if not _FURNITURE.isdisjoint(classes.split()):
        return node.css_first("h1, h2, h3, h4") is None
    return node.tag == "a" and "#" in (given.get("href") or "") and len(text.clean(node.text())) <= 1
