"""A finding becomes a change once: judged by rules, linked to the mapping, told by the right channels."""

import pytest

from apps.monitoring import alerts, impact, rules
from apps.monitoring.changes import Finding, record
from apps.monitoring.models import AlertChannel, Change, SeverityRule
from apps.monitoring.tests.play import at, provider

pytestmark = pytest.mark.django_db


def finding(**more) -> Finding:
    told = {"key": "k", "provider": "acme", "source": "docs", "change_type": "documentation", "title": "A title"}
    return Finding(**{**told, **more})


@pytest.fixture(autouse=True)
def told(monkeypatch):
    """What was handed on to be told: change and channels."""
    handed = []
    monkeypatch.setattr(alerts, "enqueue", lambda change, now, channels=None: handed.append((change, now, channels)))
    monkeypatch.setattr(impact, "affected", lambda slug, text: {"events": ["call_ended"]} if "duration" in text else {})
    return handed


def test_the_same_finding_is_recorded_and_told_once(told):
    change = record(finding(), at(0))
    assert record(finding(title="Another"), at(1)) is None
    assert Change.objects.get() == change
    assert told == [(change, at(0), None)]
    assert (change.severity, change.detected_at, change.rule) == ("low", at(0), "")


@pytest.mark.parametrize(
    ("rule", "more", "severity", "change_type"),
    [
        ({}, {}, "high", "documentation"),
        ({"change_type": "pricing"}, {}, "high", "pricing"),
        ({"words": ["price"]}, {"diff": "+price 3"}, "high", "documentation"),
        ({"words": ["price"]}, {"diff": " price 3", "words": "shipping"}, "low", "documentation"),
        ({"priority": "high"}, {}, "low", "documentation"),
        ({"min_changed_percent": 20}, {"changed_percent": 20.5}, "high", "documentation"),
        ({"statuses": "500-599"}, {"status_code": 503}, "high", "documentation"),
        ({"states": ["down"]}, {"state": "down"}, "high", "documentation"),
        ({"sources": ["feed"]}, {"severity": "critical"}, "critical", "documentation"),
        ({"enabled": False}, {}, "low", "documentation"),
    ],
)
def test_the_first_rule_that_fits_decides(rule, more, severity, change_type):
    provider()
    SeverityRule.objects.create(name="of the test", severity="high", **rule)
    change = record(finding(**more), at(0))
    assert (change.severity, change.change_type) == (severity, change_type)
    assert change.rule == ("of the test" if severity == "high" else "")


def test_a_rule_of_a_provider_or_a_priority_fits_its_own_only():
    ours = provider(priority="high")
    SeverityRule.objects.create(name="ours", severity="critical", provider=ours, priority="high")
    assert record(finding(), at(0)).severity == "critical"
    assert record(finding(key="k2", provider="other"), at(0)).severity == "low"


def test_a_rule_s_channels_are_told_whatever_their_least_severity(told):
    channel = AlertChannel.objects.create(name="ops", kind="email")
    SeverityRule.objects.create(name="r", severity="low").channels.add(channel)
    record(finding(), at(0))
    assert told[0][2] == [channel]


@pytest.mark.parametrize(
    ("more", "affected", "needs_review"),
    [
        ({"diff": "-duration"}, {"events": ["call_ended"]}, True),
        ({"diff": "-nothing"}, None, False),
        ({"diff": "-nothing", "change_type": "webhook_format"}, None, True),
        ({"title": "duration is down", "change_type": "service_status"}, None, False),
        ({"provider": "", "diff": "-duration"}, None, False),
    ],
)
def test_a_change_that_names_the_mapping_s_fields_is_to_be_reviewed(more, affected, needs_review):
    change = record(finding(**more), at(0))
    assert change.change_data.get("affected") == affected
    assert change.needs_review is needs_review


def test_long_and_unstorable_texts_are_stored_as_far_as_they_can_be():
    change = record(finding(title="t" * 400, url="u" * 2000, data={"a": ["\x00b", {"c": "\ud800"}]}), at(0))
    change.refresh_from_db()
    assert (len(change.title), change.title[-1], len(change.url)) == (300, "…", 1000)
    assert change.change_data == {"a": ["b", {"c": "?"}]}


def test_rules_to_start_with_are_created_only_where_there_is_none():
    names = rules.ensure_rules()
    assert len(names) > 10
    assert rules.ensure_rules() == []
    assert record(finding(key="k2", source="health", state="down"), at(0)).severity == "critical"


def test_a_change_and_its_alerts_are_written_together_or_not_at_all(monkeypatch):
    monkeypatch.setattr(alerts, "enqueue", lambda *args, **more: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        record(finding(), at(0))
    assert not Change.objects.exists()
