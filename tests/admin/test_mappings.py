"""Versions of a mapping in the admin: drafts are edited, published, undone."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from apps.providers import publishing, registry
from apps.providers.models import MappingRule, MappingVersion, WebhookSchema
from tests.admin.rows import message, version
from tests.browser import action, added, filled, page, problems, said_after, text_of
from tests.calls import ANALYZED, CALL_ID, sample

pytestmark = pytest.mark.django_db


@pytest.fixture
def draft(operator: Client, catalogue: None) -> MappingVersion:
    operator.post(action(version(), "edit_as_draft"))
    return version(2)


def draft_url(draft: MappingVersion) -> str:
    return page(MappingVersion, "change", draft.pk)


@pytest.mark.any_database
def test_a_published_version_is_shown_and_not_changed(operator: Client, catalogue: None) -> None:
    url = page(MappingVersion, "change", version().pk)
    shown = text_of(operator.get(url))
    assert "It is never changed" in shown
    assert 'id="rule-0"' in shown
    assert "call.start_timestamp" in shown
    answer = operator.post(url, {"reason": "sneaked in"}, follow=True)
    assert any("never changed" in text for text in said_after(answer))
    assert operator.post(page(MappingVersion, "delete", version().pk), {"post": "yes"}).status_code == 403
    assert version().reason == "from the catalogue"


@pytest.mark.any_database
def test_saving_an_unchanged_draft_changes_nothing(operator: Client, draft: MappingVersion) -> None:
    before = publishing.digest(draft.to_spec())
    answer = operator.post(draft_url(draft), filled(operator, draft_url(draft)))
    assert answer.status_code == 302, problems(answer)
    assert publishing.digest(version(2).to_spec()) == before == publishing.digest(version().to_spec())


def test_a_draft_is_edited_published_and_undone(
    operator: Client, draft: MappingVersion, deliver: Any, drain: Any
) -> None:
    rules = list(draft.rules.all())
    summary = next(number for number, rule in enumerate(rules) if rule.target == "hcr.summary")
    data = filled(operator, draft_url(draft)) | {
        f"rules-{summary}-source": "call.call_id",
        "reason": "the id is the summary",
    }
    assert operator.post(draft_url(draft), data).status_code == 302
    assert version(2).author == User.objects.get()
    assert registry.provider("retell").version_id == version(1).pk  # type: ignore[union-attr]

    preview = text_of(operator.get(action(draft, "publish")))
    assert "passes" in preview
    assert "Rules <span" in preview
    assert "call.call_id → hcr.summary" in preview
    assert '<pre class="vl-small vl-old">call.call_analysis.call_summary</pre>' in preview
    answer = operator.post(action(draft, "publish"), follow=True)
    assert any("is in force" in text for text in said_after(answer))
    assert [version(1).state, version(2).state] == ["retired", "published"]
    registry.forget()
    deliver(sample(ANALYZED))
    drain()
    assert message().vcp["vcp_payload"]["hcr"]["summary"] == CALL_ID

    answer = operator.post(action(version(2), "undo"), follow=True)
    assert "retell v1 is in force again." in said_after(answer)
    assert [version(1).state, version(2).state] == ["published", "retired"]


@pytest.mark.any_database
def test_a_draft_that_the_samples_refute_is_not_published(operator: Client, draft: MappingVersion) -> None:
    data = filled(operator, draft_url(draft)) | {"read": '{"event": "event", "call_id": "call.no_such_field"}'}
    assert operator.post(draft_url(draft), data).status_code == 302
    preview = text_of(operator.get(action(draft, "publish")))
    assert "It cannot be published before that is mended." in preview
    answer = operator.post(action(draft, "publish"))
    told = " ".join(said_after(answer))
    assert "Nothing was published" in told
    assert "call_analyzed.inbound_success_tools: no call id found" in told
    assert [version(1).state, version(2).state] == ["published", "draft"]


def test_what_was_published_meanwhile_is_not_published_again(operator: Client, draft: MappingVersion) -> None:
    publishing.publish(draft)
    answer = operator.post(action(draft, "publish"), follow=True)
    assert any("only a draft can be published" in text for text in said_after(answer))
    assert version(2).state == "published"


def test_a_draft_published_while_its_form_is_sent_is_left_alone(
    operator: Client, draft: MappingVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = filled(operator, draft_url(draft)) | {"rules-0-source": "call.other"}
    publishing.publish(draft)
    # As if it had been published after the page looked and before it saved.
    monkeypatch.setattr(MappingVersion, "is_draft", True)
    answer = operator.post(draft_url(draft), data)
    assert answer.status_code == 302
    assert version(2).rules.all()[0].source == "call.start_timestamp"


def test_there_is_nothing_to_undo_in_a_first_version(operator: Client, catalogue: None) -> None:
    answer = operator.post(action(version(), "undo"), follow=True)
    assert any("there is nothing to undo" in text for text in said_after(answer))
    assert version().state == "published"


@pytest.mark.any_database
def test_the_actions_of_a_version_fit_its_state(operator: Client, draft: MappingVersion) -> None:
    def offered(number: int) -> list[str]:
        answer = operator.get(page(MappingVersion, "change", version(number).pk))
        return [item["title"] for item in answer.context["actions_detail"]]

    assert offered(1) == ["Try", "Edit as draft", "Compare", "Export"]
    assert offered(2) == ["Try", "Publish", "Compare", "Export"]
    publishing.publish(draft)
    assert offered(1) == ["Try", "Edit as draft", "Compare", "Export"]
    assert offered(2) == ["Try", "Edit as draft", "Undo", "Compare", "Export"]


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("rules-0-source", "call..x", "path"),
        ("rules-0-target", "call.no_such_field", "is no field of a VCP message"),
        ("rules-0-transform", "magic", "magic"),
        ("rules-0-args", '{"unit": "weeks"}', "args of transform"),
        ("rules-0-args", "{", "valid JSON"),
        ("webhook_schemas-0-required", '["a..b"]', "path"),
        ("webhook_schemas-0-rank", "2000", "1000"),
        ("webhook_schemas-0-disposition", "store", "opens a call"),
        ("webhook_schemas-0-optional", "7", "optional"),
        ("webhook_schemas-0-kind", "no_kind", "no_kind"),
        ("decisions", '[{"target": "call.no_such_field", "rows": []}]', "is no field of a VCP message"),
        ("decisions", '[{"rows": []}]', "target"),
        ("read", '{"event": "event"}', "read.call_id"),
        ("redact", '[{"paths": []}]', "paths"),
        ("leftovers", '{"lift": 1}', "lift"),
        ("format", "xml", "xml"),
    ],
)
def test_a_draft_that_cannot_run_is_not_saved(
    field: str, value: str, problem: str, operator: Client, draft: MappingVersion
) -> None:
    # A few rows are enough, and their form is quickly read.
    draft.rules.filter(position__gt=3).delete()
    data = filled(operator, draft_url(draft)) | {field: value, "reason": "changed"}
    answer = operator.post(draft_url(draft), data)
    assert answer.status_code == 200
    assert problem in " ".join(problems(answer))
    assert version(2).reason == "edited from v1"


@pytest.mark.any_database
def test_two_rows_for_one_event_are_refused_as_a_whole(operator: Client, draft: MappingVersion) -> None:
    data = filled(operator, draft_url(draft))
    answer = operator.post(draft_url(draft), data | {"webhook_schemas-0-event": data["webhook_schemas-2-event"]})
    assert "stands in the table twice" in " ".join(problems(answer))


def test_rules_are_reordered_added_and_deleted(operator: Client, draft: MappingVersion) -> None:
    """Also rules of one target may change places, which the database holds apart by their position."""
    data = filled(operator, draft_url(draft))
    rules = list(draft.rules.all())
    pair = [number for number, rule in enumerate(rules) if rule.target == "artifacts.audio_recording_ref"]
    first, second = pair
    data |= {f"rules-{first}-position": str(second), f"rules-{second}-position": str(first), "rules-0-DELETE": "on"}
    new = {"source": "call.agent_id", "target": "hcr.headline", "transform": "text", "args": "{}", "event": "*",
           "default": "", "position": ""}  # fmt: skip
    answer = operator.post(draft_url(draft), data | added("rules", new, at=len(rules)))
    assert answer.status_code == 302, problems(answer)
    now = list(draft.rules.all())
    assert [rule.position for rule in now] == list(range(len(rules)))
    assert (now[-1].source, now[-1].target) == ("call.agent_id", "hcr.headline")
    assert now[0].source == rules[1].source
    recordings = [rule.source for rule in now if rule.target == "artifacts.audio_recording_ref"]
    assert recordings == [rules[second].source, rules[first].source]


def test_two_events_may_swap_their_names(operator: Client, draft: MappingVersion) -> None:
    data = filled(operator, draft_url(draft))
    one, two = data["webhook_schemas-0-event"], data["webhook_schemas-2-event"]
    answer = operator.post(draft_url(draft), data | {"webhook_schemas-0-event": two, "webhook_schemas-2-event": one})
    assert answer.status_code == 302, problems(answer)
    assert [row.event for row in draft.webhook_schemas.all()][:3:2] == [two, one]


def test_a_draft_can_be_deleted_with_its_rows(operator: Client, draft: MappingVersion) -> None:
    assert operator.post(page(MappingVersion, "delete", draft.pk), {"post": "yes"}).status_code == 302
    assert MappingVersion.objects.filter(provider__slug="retell").count() == 1
    assert not MappingRule.objects.filter(version_id=draft.pk).exists()
    assert not WebhookSchema.objects.filter(version_id=draft.pk).exists()


@pytest.mark.any_database
def test_editing_a_draft_is_one_form_however_many_rules_it_has(operator: Client, draft: MappingVersion) -> None:
    rules = [
        MappingRule(version=draft, position=100 + n, source=f"call.f{n}", target="hcr.headline", transform="text")
        for n in range(45)
    ]
    MappingRule.objects.bulk_create(rules)
    answer = operator.post(draft_url(draft), filled(operator, draft_url(draft)) | {"reason": "many"})
    assert answer.status_code == 302, problems(answer)
    assert version(2).reason == "many"
