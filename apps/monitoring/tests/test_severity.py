"""Which rule decides, and what a new installation makes of what is found."""

from itertools import pairwise

import pytest
from django.core.exceptions import ValidationError

from apps.monitoring.models import ChangeType, Kind, SeverityRule, State
from apps.monitoring.severity import DEFAULT_RULES, Decision, FindingFacts, Rule, first_fit, names_any, what_type


def rule(name="mine", severity="high", **conditions) -> Rule:
    return Rule(name=name, severity=severity, **conditions)


def facts(source="docs", change_type="documentation", **more) -> FindingFacts:
    return FindingFacts(source=source, change_type=change_type, **more)


def by_defaults(finding: FindingFacts) -> Decision | None:
    columns = [{key: value for key, value in row.items() if key != "position"} for row in DEFAULT_RULES]
    return first_fit([Rule(**row) for row in columns], finding)


def found(source: str, words: str, **more) -> FindingFacts:
    """What `watch` would make of a text: typed by its words first."""
    return FindingFacts(source=source, change_type=what_type(source, words), words=words, **more)


def state(source: str, word: str, status_code: int | None = None) -> FindingFacts:
    return facts(source, "service_status", state=word, status_code=status_code)


CASES = [
    # rule, severity, resulting type, finding
    ("Service is down", "critical", "service_status", state("health", "down", 503)),
    ("Service is down", "critical", "service_status", state("health", "down")),
    ("Service is down", "critical", "service_status", state("status", "down", 200)),
    ("Page answers 4xx", "medium", "service_status", state("docs", "down", 404)),
    ("Page is down", "high", "service_status", state("changelog", "down", 502)),
    ("Page is down", "high", "service_status", state("feed", "down")),
    ("Service answers with a redirect", "medium", "service_status", state("health", "degraded", 301)),
    ("Service is degraded", "high", "service_status", state("health", "degraded", 404)),
    ("Service is degraded", "high", "service_status", state("status", "degraded", 200)),
    ("Back to normal", "medium", "service_status", state("health", "up", 200)),
    ("Back to normal", "medium", "service_status", facts("traffic", "service_status", state="up")),
    ("State is flapping", "high", "service_status", facts("health", "service_status", words="flapping")),
    ("Provider tells of a critical incident", "critical", "service_status", found("status", "critical incident")),
    ("Provider tells of a major incident", "high", "service_status", found("status", "major incident: calls fail")),
    ("Provider tells of a minor incident", "medium", "service_status", found("status", "minor incident")),
    ("API description breaks clients", "critical", "api_schema", found("openapi", "GET /calls", breaking=True)),
    ("API description breaks clients", "critical", "webhook_format", found("openapi", "+ webhook", breaking=True)),
    ("Feed tells of an outage", "critical", "service_status", found("feed", "Partial outage of calls in Europe")),
    ("Feed tells of an outage", "critical", "service_status", found("feed", "Webhooks are down")),
    ("Feed tells of something critical", "critical", "documentation", found("feed", "Security advisory")),
    ("Feed tells of something critical", "critical", "deprecation", found("feed", "Critical: v1 will be removed")),
    ("Webhook changed", "high", "webhook_format", found("docs", "+ The webhook is sent with a signature.")),
    ("Webhook changed", "high", "webhook_format", found("docs", "- end-of-call-report")),
    ("Webhook changed", "high", "webhook_format", found("changelog", "post_call_transcription tells the language")),
    ("Webhook changed", "high", "webhook_format", found("openapi", "enum value added: callback_url", breaking=False)),
    ("Webhook changed", "high", "webhook_format", found("feed", "New webhooks for transfers")),
    ("Deprecated or removed", "high", "deprecation", found("docs", "- This field is deprecated.")),
    ("Deprecated or removed", "high", "deprecation", found("feed", "Sunset of v1, prices of v2 announced")),
    ("Deprecated or removed", "high", "deprecation", found("openapi", "parameter removed: limit", breaking=False)),
    ("Breaking change announced", "high", "documentation", found("changelog", "Breaking: ids are strings")),
    ("Breaking change announced", "high", "feature_addition", found("feed", "New API change policy")),
    ("API or error named", "high", "documentation", found("docs", "+ The API answers 202.")),
    ("API or error named", "high", "documentation", found("changelog", "Better error messages")),
    ("More than half of the page changed", "high", "documentation", facts(words="x", changed_percent=50.1)),
    ("Price changed", "medium", "pricing", found("docs", "+ $0.09 per minute")),
    ("Price changed", "medium", "pricing", found("changelog", "New prices for voices")),
    ("Something new", "medium", "feature_addition", found("changelog", "Added: hold music")),
    ("Something new", "medium", "feature_addition", found("feed", "Introducing voicemail detection")),
    ("API description changed", "medium", "api_schema", found("openapi", "enum value: busy", breaking=False)),
    ("New, updated, changed or modified", "medium", "documentation", found("docs", "+ The limits were updated.")),
    ("More than a fifth of the page changed", "medium", "documentation", facts(words="x", changed_percent=20.5)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "severity", "change_type", "finding"), CASES)
def test_a_default_rule_decides(name, severity, change_type, finding):
    decision = by_defaults(finding)

    assert decision is not None
    assert (decision.rule, decision.severity) == (name, severity)
    assert (decision.change_type or finding.change_type) == change_type


def test_every_default_rule_has_a_case_that_it_decides():
    assert {name for name, *_ in CASES} == {row["name"] for row in DEFAULT_RULES}


@pytest.mark.parametrize(
    "finding",
    [
        facts(words="Call the number of the customer.", changed_percent=20),
        found("changelog", "v1.2.4"),
        # A check that does not work is no change of the provider's, whatever its words are.
        facts("docs", "service_status", words="The webhook page: the selector finds nothing. API error, deprecated."),
        facts("feed", "service_status", words="security: not well-formed"),
        facts("openapi", "service_status", words="no JSON"),
        found("status", "none incident"),
        facts("traffic", "service_status", state="degraded", words="failure rate"),
        facts("self", "service_status", state="down"),
    ],
)
def test_what_no_default_rule_fits_keeps_what_the_finder_said(finding):
    assert by_defaults(finding) is None


def test_the_default_rules_come_in_the_order_of_their_positions_with_room_between():
    positions = [row["position"] for row in DEFAULT_RULES]

    assert positions == sorted(positions)
    assert min(b - a for a, b in pairwise(positions)) > 1


@pytest.mark.django_db
def test_the_default_rules_are_rows_that_the_admin_accepts():
    for row in DEFAULT_RULES:
        SeverityRule(**row).full_clean()
        assert set(row.get("sources", [])) <= set(Kind)
        assert set(row.get("change_types", [])) <= set(ChangeType)
        assert set(row.get("states", [])) <= set(State)
        SeverityRule.objects.create(**row)
    with pytest.raises(ValidationError):
        SeverityRule(**DEFAULT_RULES[0] | {"severity": "awful"}).full_clean()


def test_the_first_rule_that_fits_decides():
    rules = [rule("other", provider="acme"), rule("first", "low"), rule("second", "critical")]

    assert first_fit(rules, facts(provider="zeta")) == Decision("first", "low", "")
    assert first_fit([], facts()) is None


@pytest.mark.parametrize(
    ("conditions", "fits", "fits_not"),
    [
        ({"provider": "acme"}, {"provider": "acme"}, {"provider": "zeta"}),
        ({"priority": "high"}, {"priority": "high"}, {"priority": "normal"}),
        ({"sources": ["docs"]}, {"source": "docs"}, {"source": "feed"}),
        ({"change_types": ["pricing"]}, {"change_type": "pricing"}, {"change_type": "documentation"}),
        ({"states": ["down", "degraded"]}, {"state": "degraded"}, {"state": "up"}),
        ({"states": ["down"]}, {"state": "down"}, {"state": ""}),
        ({"statuses": "500-599, 429"}, {"status_code": 429}, {"status_code": 404}),
        ({"statuses": "500-599"}, {"status_code": 500}, {"status_code": None}),
        ({"words": ["webhook"]}, {"words": "a Webhook"}, {"words": "a call"}),
        ({"words": ["breaking", "x"]}, {"breaking": True}, {"breaking": False, "words": "breaking"}),
        ({"words": ["webhook"]}, {"breaking": False, "words": "webhook"}, {"breaking": True}),
        ({"url_pattern": "*/changelog*"}, {"url": "https://a.b/Changelog/7"}, {"url": "https://a.b/docs"}),
        ({"min_changed_percent": 50}, {"changed_percent": 51.0}, {"changed_percent": 50.0}),
        ({"min_changed_percent": 0}, {"changed_percent": 0.1}, {"changed_percent": None}),
        (
            {"sources": ["docs"], "words": ["api"]},
            {"source": "docs", "words": "api"},
            {"source": "docs", "words": "call"},
        ),
    ],
)
def test_a_condition_lets_in_and_keeps_out(conditions, fits, fits_not):
    assert first_fit([rule(**conditions)], facts(**fits))
    assert not first_fit([rule(**conditions)], facts(**fits_not))


def test_a_rule_with_unreadable_statuses_fits_nothing_and_stops_no_other():
    rules = [rule("bad", statuses="5xx"), rule("good")]

    assert first_fit(rules, facts(status_code=500)).rule == "good"


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("webhook", "Webhooks carry it"),
        ("webhook", "webhook_url"),
        ("webhook", "serverWebhook"),
        ("webhook", "webhookUrl"),
        ("callback", "`callback`"),
        ("post_call", "post_call_transcription"),
        ("end-of-call", "type: end-of-call-report"),
        ("endedReason", "the endedReason of a call"),
        ("OpenAI", "by openai"),
        ("api", "the API."),
        ("api", "OpenAPI"),
        ("api", "APIs"),
        ("api change", "API changes"),
        ("api change", "api-change"),
        ("end of life", "end-of-life"),
        ("end of life", "end of\nlife"),
        ("$", "$0.05"),
        ("c++", "C++ SDK"),
        ("größe", "Die Größe"),
    ],
)
def test_a_word_is_found(word, text):
    assert names_any([word], text)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("api", "capital rapid apiary"),
        ("new", "renewed"),
        ("down", "download"),
        ("error", "terrors"),
        ("breaking", "a non-breaking change"),
        ("breaking", "Non breaking"),
        ("breaking", "non_breaking"),
        ("price", "ünprice"),
        ("post_call", "postcall"),
        ("", "anything"),
        ("  ", "any  thing"),
    ],
)
def test_a_word_is_not_found_within_another(word, text):
    assert not names_any([word], text)


@pytest.mark.parametrize(
    ("source", "words", "expected"),
    [
        ("health", "webhook", "service_status"),
        ("status", "deprecated", "service_status"),
        ("docs", "a sentence", "documentation"),
        ("docs", "deprecated", "documentation"),
        ("docs", "the callback", "webhook_format"),
        ("openapi", "limit", "api_schema"),
        ("openapi", "WebhookEvent", "webhook_format"),
        ("changelog", "v2", "documentation"),
        ("changelog", "new and deprecated", "deprecation"),
        ("feed", "new price", "pricing"),
        ("feed", "new voice", "feature_addition"),
    ],
)
def test_the_type_comes_from_the_source_and_the_words(source, words, expected):
    assert what_type(source, words) == expected
