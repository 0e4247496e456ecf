"""Which rules, events and headers of the published mapping a text names."""

from typing import Any

import pytest

from apps.monitoring import impact
from apps.monitoring.impact import Named, affected
from apps.providers.models import MappingVersion
from tests.synced import synced

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]


@pytest.fixture(autouse=True)
def catalogue(db: None) -> None:
    synced(retell=None, vapi=None, bland=None)


def sources(slug: str, text: str) -> set[str]:
    return {rule["source"] for rule in affected(slug, text).get("rules", [])}


@pytest.mark.parametrize(
    ("slug", "text", "source"),
    [
        ("retell", "- `disconnection_reason` is now an object", "call.disconnection_reason"),
        ("retell", "The call_analysis object was renamed", "call.call_analysis.user_sentiment"),
        ("retell", "+ call.direction: inbound or outbound", "call.direction"),
        ("retell", 'The field "transcript" is gone', "call.transcript"),
        ("vapi", "- message.endedAt", "message.endedAt"),
        ("vapi", "endedAt is a number now", "message.endedAt"),
        ("vapi", "costBreakdown.total is removed", "message.costBreakdown.total"),
        ("vapi", "the path message.call.type has new values", "message.call.type"),
        ("vapi", "components.schemas.Call.properties.recordingUrl removed", "message.recordingUrl"),
        ("bland", "c_id and call_id are the same", "$['call_id','c_id']"),
    ],
)
def test_a_text_that_names_a_field_is_linked_to_the_rules_that_read_it(slug: str, text: str, source: str) -> None:
    assert source in sources(slug, text)


@pytest.mark.parametrize(
    "text",
    [
        "We improved the direction of our docs, the cost of a transcript and its latency.",
        "The type, name, status and id of an assistant.",
        "See https://docs.example.test/call_analysis/disconnection_reason for more.",
        "pre_disconnection_reason_x, xdisconnection_reason",
        "",
        "*",
    ],
)
def test_prose_names_nothing(text: str) -> None:
    for slug in ("retell", "vapi", "bland"):
        assert affected(slug, text) == {}


@pytest.mark.parametrize(
    ("slug", "text", "event"),
    [
        ("retell", "the call_analyzed webhook", "call_analyzed"),
        ("retell", "a new event transfer_bridged", "transfer_*"),
        ("vapi", "end-of-call-report has a new field", "end-of-call-report"),
        ("vapi", "`call.delete.failed` is sent when", "call.delete.failed"),
        ("vapi", "new: session.updated", "session.*"),
    ],
)
def test_events_are_named_whole_or_by_the_family_they_belong_to(slug: str, text: str, event: str) -> None:
    assert affected(slug, text)["events"] == [event]


def test_headers_of_the_proof_are_named_in_any_case() -> None:
    assert affected("retell", "The header x-retell-signature")["headers"] == ["X-Retell-Signature"]
    assert affected("vapi", "X-Signature and X-Vapi-Secret")["headers"] == ["X-Vapi-Secret", "x-signature"]


def test_each_rule_is_told_with_its_place_in_the_published_version() -> None:
    found = affected("retell", "call.duration_ms")
    version = MappingVersion.objects.get(provider__slug="retell", state="published")
    assert found["version"] == version.number
    rows = list(version.rules.all())
    for rule in found["rules"]:
        row = rows[rule["rule"]]
        assert (rule["event"], rule["source"], rule["target"]) == (row.event, row.source, row.target)


def test_what_has_no_published_mapping_is_linked_to_nothing() -> None:
    assert affected("nobody", "disconnection_reason") == {}
    MappingVersion.objects.filter(provider__slug="retell").update(state="superseded")
    assert affected("retell", "disconnection_reason") == {}


def test_the_links_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = " ".join(source for source in _all_sources())
    assert len(affected("vapi", everything)["rules"]) == impact.MAX_RULES
    monkeypatch.setattr(impact, "MAX_TEXT", 10)
    assert Named("0123456789 disconnection_reason").words == set()


def _all_sources() -> Any:
    version = MappingVersion.objects.get(provider__slug="vapi", state="published")
    return version.rules.values_list("source", flat=True)
