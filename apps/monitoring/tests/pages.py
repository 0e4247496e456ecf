"""Pages as documentation sites make them: the same words in several forms, with changes that mean nothing (`cosmetic`)
and changes that mean something (`planted`)."""

import copy
import html
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Block = tuple[str, Any]
Document = list[Block]

DOCUMENT: Document = [
    ("h", "Webhooks"),
    ("p", "The post-call webhook is sent once a call ended. You must answer with status 200 within 10 seconds."),
    ("p", "Deliveries are retried 3 times. Don't rely on their order; “at least once” is what is promised."),
    ("h", "Headers"),
    ("p", "The signature stands in the header X-Acme-Signature. Requests without it must be refused."),
    ("table", [["Field", "Type", "Meaning"], ["call_id", "string", "The call"], ["duration_ms", "integer", "Its length"],
               ["end_reason", "enum", "hangup, timeout or voicemail"]]),
    ("h", "Example"),
    ("code", ["def handle(request):", "    body = verify(request.body, SECRET)", "    if body['event'] == 'call_ended':",
              "        store(body['call_id'])"]),
    ("h", "Limits and prices"),
    ("list", ["100 requests per minute", "Voice: $0.07 per minute", "Recordings are kept for 30 days",
              "Endpoint: POST /v2/create-call", "Endpoint: DELETE /v2/delete-call"]),
    ("h", "v2.4.0 - March 3, 2025"),
    ("p", "Older versions of the API continue to work until June 2026."),
]  # fmt: skip

# A name, what stood there, what stands there now (nothing: the line, row or entry is gone), what the diff must name.
DOCUMENT_CHANGES: list[tuple[str, str, str, tuple[str, ...]]] = [
    ("field renamed", "duration_ms", "duration_sec", ("duration_ms", "duration_sec")),
    ("number changed", "10 seconds", "5 seconds", ("[-10-]", "{+5+}")),
    ("retries changed", "retried 3 times", "retried 8 times", ("[-3-]", "{+8+}")),
    ("enum value added", "timeout or voicemail", "timeout, transfer or voicemail", ("transfer",)),
    ("header renamed", "X-Acme-Signature", "X-Acme-Signature-V2", ("X-Acme-Signature-V2",)),
    ("status changed", "status 200", "status 204", ("[-200-]", "{+204+}")),
    ("sentence negated", "must be refused", "must not be refused", ("{+not +}",)),
    ("table row removed", "call_id|string|The call", "", ("call_id", "The call")),
    ("code line changed", "verify(request.body, SECRET)", "verify(request.body, KEY)", ("[-SECRET-]", "{+KEY+}")),
    ("indentation changed", "        store(body['call_id'])", "    store(body['call_id'])", ("store",)),
    ("endpoint removed", "Endpoint: DELETE /v2/delete-call", "", ("DELETE", "delete-call")),
    ("price changed", "$0.07", "$0.09", ("0.07", "0.09")),
    ("limit changed", "100 requests", "60 requests", ("[-100-]", "{+60+}")),
    ("release dated anew", "v2.4.0 - March 3, 2025", "v2.5.0 - April 9, 2025", ("2.5.0", "April")),
    ("end of life moved", "until June 2026", "until January 2026", ("[-June-]", "{+January+}")),
    ("event renamed", "call_ended", "call_finished", ("call_ended", "call_finished")),
]


@dataclass(frozen=True)
class Page:
    """One answer of a site."""

    kind: str
    body: bytes
    content_type: str
    url: str


@dataclass(frozen=True)
class Planted:
    """A real change: `name` says of what sort, `expected_words` what its diff must name."""

    form: str
    name: str
    before: Page
    after: Page
    expected_words: tuple[str, ...]
    breaking: bool | None = None


def edited(document: Document, old: str, new: str) -> Document:
    """A copy with the words replaced wherever they stand; AssertionError if they stand nowhere."""
    known = copy.deepcopy(document)
    result: Document = []
    for kind, value in known:
        if kind in ("h", "p"):
            result.append((kind, value.replace(old, new)))
        elif kind == "table":
            rows = ["|".join(row) for row in value]
            result.append((kind, [row.replace(old, new).split("|") for row in rows if row != old or new]))
        else:
            result.append((kind, [line.replace(old, new) for line in value if line != old or new]))
    assert result != known, old
    return result


# --- The forms of a page ---------------------------------------------------------------------------------------------


def _hash(chance: random.Random) -> str:
    return f"{chance.getrandbits(40):010x}"


def _typed(words: str, chance: random.Random) -> str:
    """The same words as another keyboard or build writes them."""
    words = words.replace("'", chance.choice("'’")).replace("“", chance.choice('“"')).replace("”", chance.choice('”"'))
    words = words.replace(" - ", chance.choice([" - ", " – ", " — "]))
    at = chance.randrange(len(words))
    return words if chance.random() < 0.5 else words[:at] + chance.choice(["\u200b", "\ufeff", "\u00ad"]) + words[at:]


def _escaped(words: str, chance: random.Random) -> str:
    shown = html.escape(_typed(words, chance), quote=chance.random() < 0.5)
    return shown.replace(" ", chance.choice([" ", "&nbsp;", "\n  ", "&#32;"]), 1)


def _tag(name: str, inner: str, chance: random.Random, classes: str = "") -> str:
    names = [*classes.split(), f"css-{_hash(chance)}"]
    chance.shuffle(names)
    given = [f'class="{" ".join(names)}"', f'data-build="{_hash(chance)}"', f"data-n='{chance.randrange(999)}'"]
    chance.shuffle(given)
    return f"<{name} {' '.join(given)}>{inner}</{name}>"


def _body(
    document: Document, chance: random.Random, anchor: str, code: Callable[[list[str], random.Random], str]
) -> str:
    gap = chance.choice(["", "\n", "\n\n   ", f"<!-- {_hash(chance)} -->"])
    shown = []
    for kind, value in document:
        if kind == "h":
            shown.append(_tag("h2", _escaped(value, chance) + anchor, chance))
        elif kind == "p":
            shown.append(_tag("p", _escaped(value, chance), chance))
        elif kind == "list":
            shown.append(_tag("ul", gap.join(_tag("li", _escaped(line, chance), chance) for line in value), chance))
        elif kind == "table":
            rows = [gap.join(_tag("td", _escaped(cell, chance), chance) for cell in row) for row in value]
            shown.append(_tag("table", gap.join(_tag("tr", row, chance) for row in rows), chance))
        else:
            shown.append(code(value, chance))
    return gap.join(shown)


def _plain_code(lines: list[str], chance: random.Random) -> str:
    return (
        f"<pre><code>{html.escape(chr(10).join(lines))}{chance.choice(['', chr(10)])}</code></pre><button>Copy</button>"
    )


def _spanned_code(lines: list[str], chance: random.Random) -> str:
    shown = [f'<span class="token-line">{_tag("span", html.escape(line), chance)}<br></span>' for line in lines]
    return f"<div><pre><code>{''.join(shown)}</code></pre><button aria-label=copy></button></div>"


def _numbered_code(lines: list[str], chance: random.Random) -> str:
    shown = [
        f'<span class="line"><span class="line-number">{at}</span>{html.escape(line)}</span>'
        for at, line in enumerate(lines)
    ]
    return f'<div class="{_hash(chance)}"><pre>{chr(10).join(shown)}</pre></div>'


def _frame(chance: random.Random, main: str) -> bytes:
    """All around the main part, new with every build."""
    build = _hash(chance)
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta name="csrf-token" content="{build}"><title>Acme</title>'
        f'<script src="/app.{build}.js"></script><style>.css-{build}{{}}</style></head><body data-{build}="1">'
        f'<header><a href="/?utm_source={build}">Acme</a></header><nav>{build}<a href="/x?v={build}">Docs</a></nav>{main}'
        f"<aside>Related {build}</aside><footer>© {chance.randrange(2019, 2030)} Acme {build}</footer>"
        f'<div id="cookie-banner">We use {build} cookies</div><script>window.x={{"b":"{build}"}}</script></body></html>'
    ).encode()


def mintlify(document: Document, chance: random.Random) -> Page:
    meta = f"<p>Last updated on March {chance.randrange(1, 29)}, 20{chance.randrange(20, 30)}</p>"
    helpful = f"<div><p>Was this page helpful?</p><p>{chance.randrange(2, 99)} people found this helpful</p></div>"
    main = f'<main><div id="content">{meta}{_body(document, chance, "<a href=#x>​</a>", _spanned_code)}{helpful}</div></main>'
    return Page("docs", _frame(chance, main), "text/html; charset=utf-8", "https://docs.acme.test/webhooks")


def fern(document: Document, chance: random.Random) -> Page:
    line = (
        f"<div><span>{chance.randrange(1, 30)} min read</span> · <span>{chance.randrange(1, 9999):,} views</span></div>"
    )
    main = f"<main><article>{_body(document, chance, '', _numbered_code)}{line}</article></main>"
    return Page("docs", _frame(chance, main), "text/html", "https://acme.docs.test/webhooks")


def readme(document: Document, chance: random.Random) -> Page:
    stamp = f"<p>Updated {chance.randrange(2, 29)} {chance.choice(['days', 'hours', 'months'])} ago</p>"
    main = f'<div role="main">{_body(document, chance, "<a href=#h>#</a>", _plain_code)}{stamp}</div>'
    token = f'<form><input type="hidden" name="csrf" value="{_hash(chance)}"><label>Search</label></form>'
    return Page("docs", _frame(chance, main + token), "text/html", "https://acme.readme.test/docs/webhooks")


def docusaurus(document: Document, chance: random.Random) -> Page:
    crumbs = f'<div class="breadcrumbs">Docs / {_hash(chance)}</div>'
    updated = f'<span class="theme-last-updated">Last updated on <time>{chance.randrange(1, 12)}/1/2025</time></span>'
    anchor = '<a class="hash-link" href="#x" title="Direct link">¶</a>'
    inner = crumbs + _body(document, chance, anchor, _spanned_code) + updated
    main = f'<main class="has-sidebar"><div><article>{inner}</article></div></main>'
    return Page("docs", _frame(chance, main), "text/html", "https://acme.test/docs/webhooks")


def markdown(document: Document, chance: random.Random) -> Page:
    bullet, end = chance.choice("-*+"), chance.choice(["\n", "\r\n", "  \n"])
    gap = chance.choice(["\n", "\n\n"])
    shown = [
        f"---\ntitle: Webhooks\ndate: 20{chance.randrange(10, 30)}-01-01\nhash: {_hash(chance)}\n---\n<!-- {_hash(chance)} -->"
    ]
    for kind, value in document:
        if kind == "h":
            shown.append(
                "#" * chance.randrange(1, 5) + f" {_typed(value, chance)}{chance.choice(['', ' {#a}', ' ##'])}"
            )
        elif kind == "p":
            words = _typed(value, chance).split(" ")
            at = chance.randrange(1, len(words))
            shown.append(" ".join(words[:at]) + chance.choice([" ", "\n"]) + " ".join(words[at:]))
        elif kind == "list":
            shown.append("\n".join(f"{bullet}{' ' * chance.randrange(1, 4)}{_typed(line, chance)}" for line in value))
        elif kind == "table":
            rows = [f"|{'|'.join(f' {cell}{chr(32) * chance.randrange(5)}' for cell in row)}|" for row in value]
            shown.append("\n".join([rows[0], f"|{'---|' * 3}", *rows[1:]]))
        else:
            fence = chance.choice(["```", "~~~", "````"])
            shown.append("\n".join([f"{fence}python", *value, fence]))
    body = f"\n{gap}".join(shown).replace("\n", end) + f"\n\nLast updated: 2025-0{chance.randrange(1, 9)}-11\n"
    return Page("docs", body.encode(), "text/markdown", "https://docs.acme.test/webhooks.md")


def index(document: Document, chance: random.Random) -> Page:
    """An llms.txt: a list of links whose order says nothing."""
    entries = [f"- [{value}](https://acme.test/{at}.md?utm_source={_hash(chance)}): {document[at + 1][1]}"
               for at, (kind, value) in enumerate(document) if kind == "h"]  # fmt: skip
    chance.shuffle(entries)
    body = "# Acme\n\n> Voice agents.\n\n## Docs\n\n" + "\n".join(entries)
    return Page("docs", body.encode(), "text/plain", "https://acme.test/llms.txt")


# --- OpenAPI ---------------------------------------------------------------------------------------------------------

SPECIFICATION: dict[str, Any] = json.loads("""{
"openapi": "3.1.0", "info": {"title": "Acme", "version": "1.0"}, "servers": [{"url": "https://api.acme.test"}],
"security": [{"key": []}],
"paths": {
 "/v2/create-call": {"post": {"summary": "x", "parameters": [
    {"in": "query", "name": "dry_run", "schema": {"type": "boolean"}},
    {"in": "header", "name": "X-Trace", "schema": {"type": "string"}}],
  "requestBody": {"required": true, "content": {"application/json": {"schema": {"type": "object", "required": ["agent_id"],
    "properties": {"agent_id": {"type": "string", "description": "Whose"}, "to": {"type": "string", "maxLength": 20},
      "mode": {"type": "string", "enum": ["test", "live"]}, "note": {"type": ["string", "null"]}}}}}},
  "responses": {"201": {"description": "ok", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Call"}}}},
                "422": {"description": "bad"}}}},
 "/v2/calls/{id}": {"get": {"parameters": [{"in": "path", "name": "id", "required": true, "schema": {"type": "string"}}],
   "responses": {"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Call"}}}}}},
  "delete": {"parameters": [{"in": "path", "name": "id", "required": true, "schema": {"type": "string"}}],
   "responses": {"204": {"description": "gone"}}}}},
"webhooks": {"call_ended": {"post": {"requestBody": {"content": {"application/json": {"schema":
   {"type": "object", "required": ["event"], "properties": {"event": {"type": "string"},
     "call": {"$ref": "#/components/schemas/Call"}}}}}}, "responses": {"200": {"description": "ok"}}}}},
"components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
 "schemas": {"Call": {"type": "object", "required": ["call_id", "status"], "properties": {
   "call_id": {"type": "string"}, "status": {"type": "string", "enum": ["ongoing", "ended", "error"]},
   "cost": {"type": "number"}, "parent": {"$ref": "#/components/schemas/Call"},
   "result": {"anyOf": [{"$ref": "#/components/schemas/Win"}, {"type": "null"}]}}},
  "Win": {"type": "object", "properties": {"score": {"type": "integer", "format": "int32"}}}}}}""")

Json = dict[str, Any]


def _asked(s: Any) -> Any:
    return s["paths"]["/v2/create-call"]["post"]["requestBody"]["content"]["application/json"]["schema"]


def _told(s: Any) -> Any:
    return s["webhooks"]["call_ended"]["post"]["requestBody"]["content"]["application/json"]["schema"]


def _post(s: Any) -> Any:
    return s["paths"]["/v2/create-call"]["post"]


def _call(s: Any) -> Any:
    return s["components"]["schemas"]["Call"]["properties"]


SPECIFICATION_CHANGES: list[tuple[str, bool, tuple[str, ...], Callable[[Json], Any]]] = [
    ("endpoint removed", True, ("DELETE /v2/calls", "operation removed"), lambda s: s["paths"]["/v2/calls/{id}"].pop("delete")),
    ("endpoint added", False, ("GET /v2/x", "operation added"), lambda s: s["paths"].update({"/v2/x": {"get": {}}})),
    ("required field added", True, ("body.lang", "required property added"),
     lambda s: (_asked(s)["properties"].update(lang={"type": "string"}), _asked(s)["required"].append("lang"))),
    ("optional field added", False, ("body.lang", "property added"), lambda s: _asked(s)["properties"].update(lang={})),
    ("field removed", True, ("body.to", "property removed"), lambda s: _asked(s)["properties"].pop("to")),
    ("field became required", True, ("body.to", "became required"), lambda s: _asked(s)["required"].append("to")),
    ("field became optional", False, ("agent_id", "became optional"), lambda s: _asked(s)["required"].remove("agent_id")),
    ("type changed", True, ("body.to", "string -> integer"), lambda s: _asked(s)["properties"]["to"].update(type="integer")),
    ("limit lowered", True, ("maxLength", "20 -> 10"), lambda s: _asked(s)["properties"]["to"].update(maxLength=10)),
    ("limit raised", False, ("maxLength", "20 -> 40"), lambda s: _asked(s)["properties"]["to"].update(maxLength=40)),
    ("enum value asked removed", True, ("mode", "enum value removed", "test"),
     lambda s: _asked(s)["properties"]["mode"]["enum"].remove("test")),
    ("enum value asked added", False, ("mode", "dry"), lambda s: _asked(s)["properties"]["mode"]["enum"].append("dry")),
    ("null refused", True, ("note", "null no longer allowed"),
     lambda s: _asked(s)["properties"]["note"].update(type="string")),
    ("open enum grows", False, ("schemas.Call.status", "enum value added", "paused"),
     lambda s: _call(s)["status"]["enum"].append("paused")),
    ("answered enum shrinks", False, ("schemas.Call.status", "error"), lambda s: _call(s)["status"]["enum"].remove("error")),
    ("answered field renamed", True, ("schemas.Call.cost", "cost_usd"),
     lambda s: _call(s).update(cost_usd=_call(s).pop("cost"))),
    ("answered type changed", True, ("schemas.Call.cost", "number -> string"), lambda s: _call(s)["cost"].update(type="string")),
    ("answer may be null", True, ("call_id", "null allowed"), lambda s: _call(s)["call_id"].update(type=["string", "null"])),
    ("format changed", False, ("schemas.Win.score", "int64"),
     lambda s: s["components"]["schemas"]["Win"]["properties"]["score"].update(format="int64")),
    ("webhook field removed", True, ("webhook call_ended", "event", "property removed"),
     lambda s: _told(s)["properties"].pop("event")),
    ("webhook field added", False, ("webhook call_ended", "at", "property added"),
     lambda s: _told(s)["properties"].update(at={"type": "string"})),
    ("webhook added", False, ("call_started", "operation added"), lambda s: s["webhooks"].update(call_started={"post": {}})),
    ("parameter removed", True, ("query.dry_run", "parameter removed"), lambda s: _post(s)["parameters"].pop(0)),
    ("required header added", True, ("header.x-org", "required parameter added"),
     lambda s: _post(s)["parameters"].append({"in": "header", "name": "X-Org", "required": True})),
    ("status removed", True, ("response 201", "response removed"), lambda s: _post(s)["responses"].pop("201")),
    ("status added", False, ("response 429", "response added"), lambda s: _post(s)["responses"].update({"429": {}})),
    ("deprecated", False, ("POST /v2/create-call", "deprecated"), lambda s: _post(s).update(deprecated=True)),
    ("auth changed", True, ("auth.key", "basic"), lambda s: s["components"]["securitySchemes"]["key"].update(scheme="basic")),
    ("server moved", True, ("api2.acme.test",), lambda s: s["servers"][0].update(url="https://api2.acme.test")),
    ("branch added", False, ("result", "Loss"), lambda s: (_call(s)["result"]["anyOf"].append({"$ref": "#/components/schemas/Loss"}),
     s["components"]["schemas"].update(Loss={"type": "object"}))),
]  # fmt: skip


def specification(known: Json, chance: random.Random) -> Page:
    """The same API, as another build of its documentation writes it."""
    s = copy.deepcopy(known)
    s["info"] |= {"version": _hash(chance), "description": _hash(chance)}
    s["x-generated"] = _hash(chance)
    if chance.random() < 0.5 and "/v2/calls/{id}" in s["paths"]:
        s["paths"]["/v2/calls/{call_id}"] = json.loads(
            json.dumps(s["paths"].pop("/v2/calls/{id}")).replace('"id"', '"call_id"')
        )
    text = json.dumps(s)
    if chance.random() < 0.5:
        text = text.replace("/Win", "/Success").replace('"Win"', '"Success"')
    s = _shuffled(json.loads(text), chance)
    body = json.dumps(s, indent=chance.choice([None, 1, 4]))
    return Page("openapi", body.encode(), "application/json", "https://acme.test/openapi.json")


def _shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        pairs = [(key, _shuffled(item, chance)) for key, item in value.items()]
        if isinstance(value.get("type"), str):
            pairs.append(("description", _hash(chance)))
        chance.shuffle(pairs)
        return dict(pairs)
    if isinstance(value, list):
        return chance.sample(known := [_shuffled(item, chance) for item in value], len(known))
    return value


# --- Feeds -----------------------------------------------------------------------------------------------------------

Entries = list[tuple[str, str]]
ENTRIES: Entries = [(f"entry-{at}", f"Change number {at}") for at in range(5, 0, -1)]


def atom(entries: Entries, chance: random.Random) -> Page:
    shown = "".join(
        f"<entry><id>{guid}</id><title>{title}</title><updated>2025-01-{1 + at:02}T00:00:00Z</updated></entry>"
        for at, (guid, title) in enumerate(reversed(entries))
    )
    body = f'<feed xmlns="http://www.w3.org/2005/Atom"><!-- {_hash(chance)} --><updated>2025</updated>{shown}</feed>'
    return Page("feed", body.encode(), "application/atom+xml", "https://acme.test/feed.atom")


def rss(entries: Entries, chance: random.Random) -> Page:
    shown = "".join(f"<item><guid>{guid}</guid><title>{title}</title></item>" for guid, title in entries)
    build = f"<lastBuildDate>{_hash(chance)}</lastBuildDate>"
    body = f'<?xml version="1.0"?><rss version="2.0"><channel>{build}<title>Acme</title>{shown}</channel></rss>'
    return Page("feed", body.encode(), "application/rss+xml", "https://acme.test/feed.rss")


# --- All of it -------------------------------------------------------------------------------------------------------

DOCUMENT_FORMS = (mintlify, fern, readme, docusaurus, markdown)
FEED_FORMS = (atom, rss)


def cosmetic(each: int = 30) -> Iterator[tuple[str, Page, Page]]:
    """(form, page, the same page made again), so many of each form. Feeds tell the same entries."""
    forms: list[tuple[Callable[[Any, random.Random], Page], Any]] = [
        *((form, DOCUMENT) for form in (*DOCUMENT_FORMS, index)),
        (specification, SPECIFICATION),
        *((form, ENTRIES) for form in FEED_FORMS),
    ]
    for form, known in forms:
        before = form(known, random.Random(0))
        for seed in range(1, each + 1):
            yield f"{form.__name__} {seed}", before, form(known, random.Random(seed))


def planted() -> Iterator[Planted]:
    """Every real change in every form, each with cosmetic ones around it."""
    for at, form in enumerate(DOCUMENT_FORMS):
        before = form(DOCUMENT, random.Random(at))
        for seed, (name, old, new, words) in enumerate(DOCUMENT_CHANGES, 100):
            after = form(edited(DOCUMENT, old, new), random.Random(seed))
            yield Planted(form.__name__, name, before, after, words)
    for seed, (name, breaking, words, edit) in enumerate(SPECIFICATION_CHANGES, 200):
        known = copy.deepcopy(SPECIFICATION)
        edit(known)
        # The names that the change is told by must be those of the table.
        before, after = (Page("openapi", json.dumps(each).encode(), "application/json", "https://acme.test/openapi.json")
                         for each in (SPECIFICATION, _shuffled(known, random.Random(seed))))  # fmt: skip
        yield Planted("openapi", name, before, after, words, breaking)
    for feed in FEED_FORMS:
        for title in ("Webhooks are signed anew", "Breaking: the old API is removed", "Outage of calls"):
            entries = [(f"new-{len(title)}", title), *ENTRIES]
            yield Planted(
                feed.__name__, "entry added", feed(ENTRIES, random.Random(1)), feed(entries, random.Random(2)), (title,)
            )
