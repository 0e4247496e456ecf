"""Cosmetic changes are no changes, real ones are all found, and no body makes the reader stumble."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.monitoring.content import ContentError, compare, read, read_feed
from apps.monitoring.content.text import clean, code, prose
from apps.monitoring.outcome import Content
from apps.monitoring.tests import pages
from apps.monitoring.tests.pages import Page, Planted

COSMETIC = list(pages.cosmetic())
PLANTED = list(pages.planted())
KINDS = ("docs", "openapi", "changelog")
FORMS = ("text/html", "text/markdown", "text/plain; charset=utf-16", "application/json", "text/html; charset=none", "")
MARKUP = ["<main>", "</main>", "<p>", "<pre>", "<tr>", "<td>", "<li>", "<h1>", "</h1>", "<button>", "<!--", "&nbsp;", "# ", "- [a](",
          "```", "|", "---\n", "{", "}", "[", '"$ref":', "openapi: 3.0.0\npaths:\n ", "<rss><item>", "word ", "\n", "* &a ", "<<: "]  # fmt: skip


def content(page: Page) -> Content:
    return read(page.kind, page.body, page.content_type, page.url)


def entries(page: Page) -> set[tuple[str, str]]:
    return {(entry.guid, entry.title) for entry in read_feed(page.body, page.content_type, page.url)}


def markdown(words: str) -> Content:
    return read("docs", words.encode(), "text/markdown", "https://acme.test/a.md")


def html(words: str, **options: object) -> Content:
    page = f"<!doctype html><body>{words}</body>".encode()
    return read("docs", page, "text/html", "https://acme.test/", **options)  # type: ignore[arg-type]


def test_there_are_as_many_variants_as_are_promised() -> None:
    assert len({after.body for _, _, after in COSMETIC}) >= 200
    assert len(PLANTED) >= 100


@pytest.mark.parametrize(("before", "after"), [pytest.param(*each[1:], id=each[0]) for each in COSMETIC])
def test_a_page_that_is_only_built_anew_has_not_changed(before: Page, after: Page) -> None:
    assert before.body != after.body
    if before.kind == "feed":
        assert entries(before) == entries(after)
    else:
        assert compare(content(before), content(after)) is None


@pytest.mark.parametrize("change", [pytest.param(each, id=f"{each.form}: {each.name}") for each in PLANTED])
def test_a_real_change_is_found_and_its_diff_names_it(change: Planted) -> None:
    if change.before.kind == "feed":
        assert {title for _, title in entries(change.after) - entries(change.before)} == set(change.expected_words)
        return
    before, after = content(change.before), content(change.after)
    found = compare(before, after)
    assert found is not None
    assert [word for word in change.expected_words if word not in found.diff] == []
    assert 0 < found.changed_percent < 50
    if change.breaking is not None:
        assert any(each.breaking for each in found.schema) == change.breaking
    else:
        told = "\n".join([after.text, before.text])
        assert all(line in told for line in (*found.added, *found.removed))
        assert len(found.added) + len(found.removed) <= 6


@pytest.mark.parametrize("line", [
    "March 3, 2025", "v2.4.0", "2025-03-03: webhooks are signed", "100 requests per minute", "10 comments", "hangup", "204",
    "Deprecated on March 3, 2025", "Calls older than 3 days ago are removed.", "Copyright law is not our subject.", "C#",
    "30 days", "5 minutes", "agent_9f3c2ab71", "GET https://api.acme.test/v2/calls?v=2", "Nothing is shared.", "Rate limit: 60",
])  # fmt: skip
def test_a_line_that_says_something_stays(line: str) -> None:
    assert prose(line) == line


@pytest.mark.parametrize("line", [
    "Last updated on March 3, 2025", "Last modified: 2025-03-03T10:00:00Z", "Updated 3 days ago by Ann", "2 hours ago",
    "5 min read", "Reading time: 4 minutes", "1,234 views", "Stars: 1.2k", "12 out of 14 people found this helpful",
    "© 2025 Acme, Inc. All rights reserved.", "Build: 9f3c2ab", "csrf-token: ab12cd34ef", "Copy", "Edit this page", "¶",
])  # fmt: skip
def test_a_line_of_noise_goes(line: str) -> None:
    assert prose(line) == ""


@given(st.text())
def test_text_that_was_normalised_stays_as_it_is(words: str) -> None:
    assert clean(clean(words)) == clean(words)
    assert prose(prose(words)) == prose(words)
    assert code(code(words.splitlines())) == code(words.splitlines())


@given(st.one_of(st.binary(), st.lists(st.sampled_from(MARKUP)).map(lambda parts: "".join(parts).encode())),
       st.sampled_from(KINDS), st.sampled_from(FORMS))  # fmt: skip
def test_no_bytes_make_the_reader_stumble(body: bytes, kind: str, content_type: str) -> None:
    try:
        found = read(kind, body, content_type, "https://acme.test/")
    except ContentError:
        return
    assert compare(found, found) is None
    assert found.text


@given(st.one_of(st.binary(), st.lists(st.sampled_from(MARKUP)).map(lambda parts: "".join(parts).encode())))
def test_no_bytes_make_the_feed_reader_stumble(body: bytes) -> None:
    try:
        found = read_feed(body, "application/xml", "https://acme.test/")
    except ContentError:
        return
    assert len(found) <= 10


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.randoms(use_true_random=False), JSON)
def test_an_openapi_document_with_anything_anywhere_is_read_and_compared(
    chance: random.Random, anything: object
) -> None:
    known = json.loads(json.dumps(pages.SPECIFICATION))
    at = known
    while isinstance(at, dict | list) and at:
        key = chance.choice(list(at) if isinstance(at, dict) else range(len(at)))
        if chance.random() < 0.2 or not isinstance(at[key], dict | list) or not at[key]:
            at[key] = anything
            break
        at = at[key]
    body = json.dumps(known).encode()
    try:
        found = read("openapi", body, "", "")
    except ContentError:
        return
    original = read("openapi", json.dumps(pages.SPECIFICATION).encode(), "", "")
    there, back = compare(original, found), compare(found, original)
    assert (there is None) == (back is None)


@given(st.lists(st.sampled_from("abcd")), st.lists(st.sampled_from("abcd")))
def test_the_diff_is_of_the_very_text_that_was_compared(old: list[str], new: list[str]) -> None:
    before, after = ("\n".join(f"    {line}" for line in lines) for lines in (old, new))
    found = compare(Content(before), Content(after))
    assert (found is None) == (before == after)
    if found:
        assert sorted([*found.removed, *after.split("\n")]) == sorted([*found.added, *before.split("\n")])
        assert found.diff


@pytest.mark.parametrize(("body", "kind", "words"), [
    ("<div id=root></div><script>x</script>", "empty", "JavaScript"),
    ("<title>Just a moment...</title><h1>Checking your browser</h1>", "empty", "browser check"),
    ("", "empty", "no text"),
    ("<div>" * 5000, "format", "deep"),
])  # fmt: skip
def test_a_page_without_text_says_why(body: str, kind: str, words: str) -> None:
    with pytest.raises(ContentError, match=words) as error:
        html(body)
    assert error.value.kind == kind


def test_a_selector_that_finds_nothing_is_a_fault_of_the_check() -> None:
    for selector in (".gone", "p[["):
        with pytest.raises(ContentError) as error:
            html("<p>Text</p>", selector=selector)
        assert error.value.kind == "selector"


def test_only_what_the_selector_finds_counts_and_not_what_is_ignored() -> None:
    page = "<main><p>Rest</p><div class=a><p>One</p><i class=b>Two</i></div></main>"
    assert html(page, selector=".a, .a p", ignored=[".b"]).text == "One"


def test_notes_tabs_and_titles_within_headers_stay() -> None:
    page = (
        "<main><header><h2>New</h2></header><aside class=note>Careful</aside><div role=tabpanel hidden>Tab</div></main>"
    )
    assert html(page).text.split("\n") == ["# New", "Careful", "Tab"]


def test_what_calls_itself_markdown_but_is_html_is_read_as_html() -> None:
    found = read("docs", b"<!DOCTYPE html><p>Hello", "text/markdown", "https://acme.test/a.md")
    assert found == Content("Hello", "text")


def test_a_json_page_is_compared_without_its_order_and_build() -> None:
    one, two = (
        read("docs", body, "application/json", "") for body in (b'{"a":1,"b":[2],"buildId":"x"}', b'{"b":[2],"a":1}')
    )
    assert one == two


def test_order_in_prose_counts() -> None:
    found = compare(markdown("First.\n\nSecond."), markdown("Second.\n\nFirst."))
    assert found is not None
    assert found.added == found.removed


def test_a_page_that_flaps_changes_each_time() -> None:
    a, b = markdown("A limit of 5."), markdown("A limit of 6.")
    assert (compare(a, b), compare(b, a), compare(a, a)) == (compare(a, b), compare(b, a), None)
    assert compare(a, b) != compare(b, a) is not None


def test_a_long_diff_is_cut_and_says_so() -> None:
    found = compare(
        markdown("\n\n".join(f"old {at}" for at in range(9000))),
        markdown("\n\n".join(f"new {at}" for at in range(9000))),
    )
    assert found is not None
    assert len(found.diff) <= 20_000
    assert "left out" in found.diff
    assert found.changed_percent > 99


def test_yaml_is_read_as_json_is() -> None:
    yaml = b"openapi: 3.0.0\ninfo: {version: 2025-01-01}\npaths:\n  /a:\n    get:\n      responses:\n        200: {description: ok}\n"
    same = {"openapi": "3.0.0", "paths": {"/a": {"get": {"responses": {"200": {}}}}}}
    assert read("openapi", yaml, "", "") == read("openapi", json.dumps(same).encode(), "", "")


@pytest.mark.parametrize("body", [
    b"<html>", b"[1]", b"{}", b"openapi: [", b"a: &a [*a]\nopenapi: 3.0.0\npaths: *a",
    b"openapi: 3.0.0\na: &a {x: 1}\nb: &b {<<: [*a, *a]}\n", b"openapi: 3.0.0\ncomponents: {schemas: {A: &a {items: *a}}}",
    b'{"openapi": "3.0.0", "paths": ' + b"[" * 5000, b"openapi: " + b"[" * 5000, b"",
])  # fmt: skip
def test_what_is_no_openapi_document_is_refused_or_harmless(body: bytes) -> None:
    kind = "format"
    try:
        read("openapi", body, "", "")
    except ContentError as error:
        kind = error.kind
    assert kind == "format"


def test_a_swagger_document_tells_the_same_sort_of_changes() -> None:
    before = {"swagger": "2.0", "host": "a.test", "paths": {"/a": {"post": {
        "parameters": [{"in": "body", "name": "b", "schema": {"$ref": "#/definitions/A"}}], "responses": {}}}},
        "definitions": {"A": {"properties": {"x": {"type": "string"}}}}}  # fmt: skip
    after = json.loads(json.dumps(before).replace('"x"', '"y"'))
    found = compare(*(read("openapi", json.dumps(each).encode(), "", "") for each in (before, after)))
    assert found is not None
    assert [str(each) for each in found.schema] == [
        "schemas.A.x: property removed (breaking)",
        "schemas.A.y: property added",
    ]


RSS = b"<rss version='2.0'><channel><item><guid>1</guid><title>One &lt;b&gt;two&lt;/b&gt;</title></item>%s"


@pytest.mark.parametrize("body", [
    RSS % b"</channel></rss>",
    RSS % b"",  # not closed
    RSS % b"&nosuch; </channel></rss>",
    RSS % b"\xff\xfe</channel></rss>",  # not of its encoding
    b"\xef\xbb\xbf" + RSS % b"</channel></rss>",
    (RSS % b"</channel></rss>").decode().encode("utf-16"),
    b"<rss version='0.91'><channel><item><link>1</link><title>One two</title></item></channel></rss>",
    (b"<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#' xmlns='http://purl.org/rss/1.0/'>"
    b"<item rdf:about='1'><link>1</link><title>One two</title></item></rdf:RDF>"),
    b"<feed version='0.3' xmlns='http://purl.org/atom/ns#'><entry><id>1</id><title>One two</title></entry></feed>",
    b"<channel><item href='1'><title>One two</title></item></channel>",  # CDF
])  # fmt: skip
def test_a_feed_of_any_kind_and_in_any_state_gives_its_entries(body: bytes) -> None:
    assert [entry.title for entry in read_feed(body, "application/xml", "https://acme.test/")] == ["One two"]


@pytest.mark.parametrize(("body", "kind", "words"), [
    (b"", "empty", "no body"),
    (b" \n", "empty", "no body"),
    (b"<html><body>Sorry</body></html>", "format", "web page"),
    (b'{"version": "https://jsonfeed.org/version/1"}', "format", "JSON"),
    (b"\x00\x01\x02", "format", "neither"),
    (b"plain words", "format", "neither"),
    (b"<rss version='2.0'><channel", "format", "feed|neither"),
])  # fmt: skip
def test_what_is_no_feed_says_so(body: bytes, kind: str, words: str) -> None:
    with pytest.raises(ContentError, match=words) as error:
        read_feed(body, "", "https://acme.test/")
    assert error.value.kind == kind


def test_a_sound_feed_may_have_no_entries() -> None:
    assert (
        read_feed(b"<rss version='2.0'><channel><title>x</title></channel></rss>", "text/xml", "https://a.test/") == ()
    )


def test_an_entity_bomb_stays_small() -> None:
    lines = "".join(f'<!ENTITY e{at} "{f"&e{at - 1};" * 10}">' for at in range(1, 12))
    bomb = f'<!DOCTYPE rss [<!ENTITY e0 "x">{lines}]><rss version="2.0"><channel><item><title>&e11;</title></item></channel></rss>'
    try:
        found = read_feed(bomb.encode(), "text/xml", "https://a.test/")
    except ContentError:
        return
    assert sum(len(entry.title) for entry in found) <= 500


def test_the_newest_ten_are_told_by_their_time() -> None:
    items = "".join(
        f"<item><guid>{at}</guid><title>t</title><pubDate>Mon, {at:02} Sep 2025 00:00:00 GMT</pubDate></item>"
        for at in range(1, 20)
    )
    feed = f"<rss version='2.0'><channel>{items}</channel></rss>".encode()
    assert [entry.guid for entry in read_feed(feed, "text/xml", "https://a.test/")] == [
        str(at) for at in range(19, 9, -1)
    ]
