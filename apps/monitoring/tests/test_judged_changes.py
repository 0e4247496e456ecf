"""Real changes of pages, read and compared as they are in service, get the right type and severity by the rules that a
new installation starts with."""

import json

import pytest

from apps.monitoring import content
from apps.monitoring.severity import DEFAULT_RULES, FindingFacts, Rule, first_fit, what_type
from apps.monitoring.tests import pages

URL = "https://docs.acme.example/page"
RULES = [Rule(**{key: value for key, value in row.items() if key != "position"}) for row in DEFAULT_RULES]
FILLER = "\n".join(f"Part {n} tells of the {name}." for n, name in enumerate(["line", "voice", "queue", "agent"] * 8))


def html(text: str) -> bytes:
    blocks = "".join(f"<p>{line}</p>" for line in f"{FILLER}\n{text}".splitlines())
    return f"<html><body><main><h1>Acme</h1>{blocks}</main></body></html>".encode()


def markdown(text: str) -> bytes:
    return "\n\n".join(["# Acme", *FILLER.splitlines(), *text.splitlines()]).encode()


def openapi(path: str = "/calls", **properties: object) -> bytes:
    schema = {"type": "object", "properties": properties}
    answer = {"200": {"description": "ok", "content": {"application/json": {"schema": schema}}}}
    paths = {path: {"get": {"responses": answer}}, "/agents": {"get": {"responses": {"200": {"description": "ok"}}}}}
    return json.dumps({"openapi": "3.1.0", "info": {"title": "Acme", "version": "1"}, "paths": paths}).encode()


def judged(kind: str, before: bytes, after: bytes, media_type: str) -> tuple[str, str]:
    """(type, severity) of the change between two versions of a page."""
    texts = [content.read(kind, body, media_type, URL) for body in (before, after)]
    difference = content.compare(*texts)
    assert difference is not None
    words = "\n".join((*difference.added, *difference.removed))
    breaking = any(one.breaking for one in difference.schema) if difference.schema else None
    return decided(
        FindingFacts(
            kind, what_type(kind, words), words=words, changed_percent=difference.changed_percent, breaking=breaking
        )
    )


def decided(finding: FindingFacts) -> tuple[str, str]:
    decision = first_fit(RULES, finding)
    return (
        (decision and decision.change_type) or finding.change_type,
        decision.severity if decision else "low",
    )


LINES = [
    ("The id is text.", "The id is a number.", "documentation", "low"),
    ("Send the header x-acme.", "Send the header x-acme-key.", "documentation", "low"),
    ("The webhook must answer.", "The webhook must not answer.", "webhook_format", "high"),
    ("We send call_ended to your callback.", "We send call_done to your callback.", "webhook_format", "high"),
    ("The end-of-call-report has cost.", "The end-of-call-report has costs.", "webhook_format", "high"),
    ("Use v1.", "Use v1, which is deprecated.", "deprecation", "high"),
    ("The field from is text.", "The field from was removed.", "deprecation", "high"),
    ("It costs $0.07 per minute.", "It costs $0.09 per minute.", "pricing", "medium"),
    ("The API answers 200.", "The API answers 202.", "documentation", "high"),
    ("Five lines at once.", "Five lines at once. This was updated.", "documentation", "medium"),
]


@pytest.mark.parametrize(("before", "after", "change_type", "severity"), LINES)
@pytest.mark.parametrize("form", [html, markdown])
def test_a_changed_line_of_the_documentation(form, before, after, change_type, severity):
    media_type = "text/html" if form is html else "text/markdown"

    assert judged("docs", form(before), form(after), media_type) == (change_type, severity)


@pytest.mark.parametrize(
    ("entry", "change_type", "severity"),
    [
        ("Added hold music.", "feature_addition", "medium"),
        ("Prices fall.", "pricing", "medium"),
        ("Breaking: ids are text.", "documentation", "high"),
        ("The v1 voices are retired.", "deprecation", "high"),
        ("Webhooks carry the language.", "webhook_format", "high"),
        ("Shorter pauses.", "documentation", "low"),
    ],
)
def test_an_entry_of_a_changelog(entry, change_type, severity):
    assert judged("changelog", html("Old."), html(f"{entry}\nOld."), "text/html") == (change_type, severity)


# What of the planted changes of documentation is more than a small change of a page.
LOUD = {
    "number changed": ("webhook_format", "high"),
    "status changed": ("webhook_format", "high"),
    "price changed": ("pricing", "medium"),
    "end of life moved": ("documentation", "high"),  # its line names the API
}
PLANTED = [pytest.param(one, id=f"{one.form} {one.name}") for one in pages.planted() if one.after.kind != "feed"]


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_change_gets_its_type_and_severity(planted):
    kind, media_type = planted.after.kind, planted.after.content_type

    change_type, severity = judged(kind, planted.before.body, planted.after.body, media_type)

    if kind == "docs":
        assert (change_type, severity) == LOUD.get(planted.name, ("documentation", "low"))
    else:
        assert (severity == "critical") == planted.breaking
        assert severity in ("medium", "high", "critical")
        assert (change_type == "webhook_format") == ("webhook" in planted.name)


TEXT = {"type": "string"}


@pytest.mark.parametrize(
    ("before", "after", "change_type", "severity"),
    [
        (openapi(id=TEXT), openapi(id=TEXT, to=TEXT), "api_schema", "medium"),
        (openapi(id=TEXT, to=TEXT), openapi(id=TEXT), "api_schema", "critical"),
        (openapi(id=TEXT), openapi(id={"type": "integer"}), "api_schema", "critical"),
        (openapi(id=TEXT), openapi(id=TEXT, webhook_url=TEXT), "webhook_format", "high"),
        (openapi("/webhooks", id=TEXT), openapi("/calls", id=TEXT), "webhook_format", "critical"),
    ],
)
def test_a_change_of_an_openapi_document(before, after, change_type, severity):
    assert judged("openapi", before, after, "application/json") == (change_type, severity)


@pytest.mark.parametrize(
    ("title", "change_type", "severity"),
    [
        ("Outage of calls in Europe", "service_status", "critical"),
        ("Security advisory", "documentation", "critical"),
        ("Webhook retries", "webhook_format", "high"),
        ("v1 deprecated", "deprecation", "high"),
        ("API changes in May", "documentation", "high"),
        ("New voices", "feature_addition", "medium"),
        ("v1.2.3", "documentation", "low"),
    ],
)
def test_an_entry_of_a_feed(title, change_type, severity):
    feed = (
        f'<rss version="2.0"><channel><title>A</title><item><guid>1</guid><title>{title}</title></item></channel></rss>'
    )
    (entry,) = content.read_feed(feed.encode(), "application/rss+xml", URL)
    words = f"{entry.title}\n{entry.summary}"

    assert decided(FindingFacts("feed", what_type("feed", words), words=words)) == (change_type, severity)
