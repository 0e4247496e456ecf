"""The admin's pages beside a mapping version and a provider: try, compare, export, import. Trying writes nothing."""

import json
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from apps.ingest.models import CallKey, InboundEvent, Message
from apps.providers import catalog, publishing
from apps.providers.models import MappingVersion, Provider, WebhookSchema
from tests.browser import action, filled, page, problems, said_after, text_of
from tests.calls import ANALYZED, CALL_ID, ENDED, EVENTS, STARTED, sample

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]


@pytest.fixture
def published(catalogue: None) -> MappingVersion:
    return MappingVersion.objects.get(provider__slug="retell")


@pytest.fixture
def draft(published: MappingVersion) -> MappingVersion:
    return publishing.draft_of(published)


def somebody(*rights: str) -> Client:
    user = User.objects.create_user("nina", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    browser = Client()
    browser.force_login(user)
    return browser


def tried(operator: Client, version: MappingVersion, payload: Any) -> Any:
    text = payload if isinstance(payload, str) else json.dumps(payload)
    return operator.post(action(version, "try_it"), {"payload": text})


def rules(answer: Any, event: int = 0) -> dict[str, dict[str, Any]]:
    """The rows of the table of rules by `source -> target`."""
    return {one["row"].rule.describe(): one for one in answer.context["events"][event]["rules"]}


def change_rule(version: MappingVersion, target: str, /, **fields: Any) -> None:
    version.rules.filter(target=target).update(**fields)


# --- what can be tried -----------------------------------------------------------------------------------------------


def test_a_pasted_payload_shows_source_and_message(operator: Client, draft: MappingVersion) -> None:
    answer = tried(operator, draft, sample(ENDED))
    shown = text_of(answer)
    assert answer.context["tried"].message["vcp_payload"]["call"]["call_id"] == CALL_ID
    assert "&quot;disconnection_reason&quot;: &quot;user_hangup&quot;" in shown
    assert "&quot;vcp_version&quot;: &quot;0.5&quot;" in shown
    assert "no consent is recorded" in shown


def test_several_events_of_a_call_become_one_message(operator: Client, draft: MappingVersion) -> None:
    answer = tried(operator, draft, [sample(name) for name in EVENTS])
    assert [one["reading"].event for one in answer.context["events"]] == [sample(name)["event"] for name in EVENTS]
    assert answer.context["tried"].message["vcp_payload"]["hcr"]["summary"]
    assert answer.context["tried"].errors == []


def test_a_sample_is_chosen_by_its_name(operator: Client, published: MappingVersion) -> None:
    answer = operator.get(action(published, "try_it"), {"sample": ENDED})
    assert answer.context["tried"].message is not None
    # The box holds it, to be changed and tried again.
    assert json.loads(answer.context["text"]) == sample(ENDED)
    assert "There is no sample &#x27;gone&#x27;" in text_of(
        operator.get(action(published, "try_it"), {"sample": "gone"})
    )


def test_an_example_of_the_event_table_is_a_sample_too(operator: Client, draft: MappingVersion) -> None:
    WebhookSchema.objects.filter(version=draft, event="call_ended").update(example=sample(ENDED))
    answer = operator.get(action(draft, "try_it"), {"sample": "example of call_ended"})
    assert answer.context["tried"].message is not None


def test_a_stored_delivery_is_tried_alone_or_with_its_call(
    operator: Client, draft: MappingVersion, deliver: Any, drain: Any
) -> None:
    for name in EVENTS:
        deliver(sample(name))
    drain()
    row = InboundEvent.objects.get(event="call_ended")
    alone = operator.get(action(draft, "try_it"), {"delivery": str(row.delivery_id)})
    assert len(alone.context["events"]) == 1
    whole = operator.get(action(draft, "try_it"), {"delivery": str(row.delivery_id), "call": "yes"})
    assert len(whole.context["events"]) == len(EVENTS)
    assert {str(one.delivery_id) for one in whole.context["newest"]} == {
        str(one.delivery_id) for one in InboundEvent.objects.all()
    }
    link = f'{action(draft, "try_it")}?delivery={row.delivery_id}">draft {draft}</a>'
    assert link in operator.get(page(InboundEvent, "change", row.pk)).content.decode()


def test_a_trial_writes_nothing(operator: Client, draft: MappingVersion) -> None:
    change_rule(draft, "hcr.summary", source="call.call_id")
    tried(operator, draft, [sample(name) for name in EVENTS])
    assert [model for model in (InboundEvent, CallKey, Message) if model._default_manager.exists()] == []


def test_what_is_redacted_is_not_shown(operator: Client, published: MappingVersion) -> None:
    payload = sample(ENDED, access_token="never shown as a result")
    answer = tried(operator, published, payload)
    assert "never shown" not in answer.context["events"][0]["source"]
    assert "never shown" not in answer.context["message"]


# --- what cannot ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "There is nothing to try"),
        ('{"event": "call_ended",\n "call": }', "line 2, column 10"),
        ("[]", "Event 1 is no JSON object"),
        ('[{"event": "x"}, 7]', "Event 2 is no JSON object"),
        ("[" * 70 + "]" * 70, "nested"),
        (json.dumps([{}] * 51), "51 events are more than the 50"),
    ],
    ids=["nothing", "broken", "empty list", "no object", "deep", "too many"],
)
def test_what_cannot_be_tried_is_told_with_its_place(
    text: str, problem: str, operator: Client, published: MappingVersion
) -> None:
    answer = tried(operator, published, text)
    assert answer.status_code == 200
    assert problem in answer.context["problem"]
    assert "tried" not in answer.context


def test_a_version_that_does_not_hold_together_says_where(operator: Client, draft: MappingVersion) -> None:
    change_rule(draft, "hcr.summary", target="hcr.no_such_field")
    answer = tried(operator, draft, sample(ENDED))
    assert "rules." in answer.context["broken"]
    assert "hcr.no_such_field" in answer.context["broken"]


@pytest.mark.parametrize(
    ("payload", "remark"),
    [
        ({"event": "call_hummed", "call": {"call_id": "c"}}, "The event 'call_hummed' stands in no row"),
        ({"call": {"call_id": "c"}}, "No event name was found: read.event looks at event"),
        ({"event": "call_ended"}, "$.call: call is missing; call_ended needs it"),
        ({"event": "call_ended", "call": {"call_id": "c" * 300}}, "the call id is longer than 255 characters"),
    ],
    ids=["unknown event", "no name", "required", "long id"],
)
def test_why_a_payload_makes_no_message_is_told(
    payload: Any, remark: str, operator: Client, published: MappingVersion
) -> None:
    answer = tried(operator, published, payload)
    assert answer.context["tried"].message is None
    assert any(remark in one for one in answer.context["events"][0]["remarks"]), answer.context["events"][0]["remarks"]


@pytest.mark.parametrize(
    ("asked", "problem"),
    [("nonsense", "is no delivery id"), (str(uuid.UUID(int=7)), "has no delivery")],
)
def test_a_delivery_that_is_not_there_is_told(
    asked: str, problem: str, operator: Client, published: MappingVersion
) -> None:
    assert problem in operator.get(action(published, "try_it"), {"delivery": asked}).context["problem"]


def test_a_delivery_of_another_provider_or_without_body_cannot_be_tried(
    operator: Client, published: MappingVersion, deliver: Any, drain: Any
) -> None:
    deliver(sample(ENDED))
    drain()
    row = InboundEvent.objects.get()
    other = MappingVersion.objects.get(provider__slug="vcp")
    asked = {"delivery": str(row.delivery_id)}
    assert "has no delivery" in operator.get(action(other, "try_it"), asked).context["problem"]
    InboundEvent.objects.update(body=b"", body_emptied_at=row.received_at)
    assert "no longer kept" in operator.get(action(published, "try_it"), asked).context["problem"]
    assert "Try it with" not in text_of(operator.get(page(InboundEvent, "change", row.pk)))


def test_who_may_not_read_deliveries_tries_without_them(published: MappingVersion, deliver: Any) -> None:
    deliver(sample(ENDED))
    row = InboundEvent.objects.get()
    helper = somebody("view_mappingversion")
    assert "A stored delivery" not in text_of(helper.get(action(published, "try_it")))
    assert helper.get(action(published, "try_it"), {"delivery": str(row.delivery_id)}).status_code == 403
    assert tried(helper, published, sample(ENDED)).status_code == 200


# --- the rules ----------------------------------------------------------------------------------------------------


def test_each_rule_says_what_it_read_and_gave_or_why_not(operator: Client, draft: MappingVersion) -> None:
    payload = sample(ENDED, start_timestamp="yesterday", call_type="pigeon_post", to_number=None, novelty="x")
    change_rule(draft, "call.session_id", default="none")
    answer = tried(operator, draft, payload)
    table = rules(answer)
    assert (table["call.end_timestamp -> call.end_time"]["row"].state) == "used"
    assert table["call.from_number -> call.from"]["read"] == payload["call"]["from_number"]
    assert table["call.duration_ms -> call.duration_sec"]["gave"] == "35"
    failed = table["call.start_timestamp -> call.start_time"]["row"]
    assert (failed.state, failed.reason) == ("failed", "expected a number, got str")
    assert table["call.to_number -> call.to"]["row"].state == "missing"
    assert table["call.call_type -> call.channel"]["row"].reason == "the table does not know 'pigeon_post'"
    assert table["call.transcript -> transcript"]["row"].state == "not needed"
    transcript = next(one for name, one in table.items() if name.endswith("-> transcript") and one["gave"])
    assert '"speaker": "agent"' in transcript["gave"]
    assert "novelty" in answer.context["events"][0]["leftovers"]
    assert {item["word"] for item in answer.context["unseen"]} == {"pigeon_post"}


def test_a_required_rule_that_fails_is_marked_at_the_rule(operator: Client, draft: MappingVersion) -> None:
    change_rule(draft, "call.duration_sec", required=True)
    table = rules(tried(operator, draft, sample(ENDED, duration_ms="long")))
    assert table["call.duration_ms -> call.duration_sec"]["row"].state == "failed"
    assert table["call.end_timestamp -> call.end_time"]["row"].state == "not tried"


def test_a_rule_for_other_payloads_does_not_apply(operator: Client, draft: MappingVersion) -> None:
    change_rule(draft, "hcr.summary", when={"call.call_type": {"equals": "web_call"}})
    table = rules(tried(operator, draft, sample(ANALYZED)))
    assert table["call.call_analysis.call_summary -> hcr.summary"]["row"].state == "does not apply"
    assert set(rules(tried(operator, draft, sample(STARTED)))) == set(table)


# --- against what is in force ------------------------------------------------------------------------------------


def test_a_draft_is_set_against_what_is_in_force(operator: Client, draft: MappingVersion) -> None:
    assert tried(operator, draft, sample(ANALYZED)).context["changes"] == []
    change_rule(draft, "hcr.summary", source="call.call_id")
    changes = {name: (old, new) for name, old, new, _ in tried(operator, draft, sample(ANALYZED)).context["changes"]}
    assert changes["vcp_payload.hcr.summary"][1] == CALL_ID
    assert not any("processed_at" in name or "checksum" in name for name in changes)


def test_the_version_in_force_is_set_against_nothing(operator: Client, published: MappingVersion) -> None:
    assert "current" not in tried(operator, published, sample(ANALYZED)).context


@pytest.mark.parametrize("slug", ["retell", "vcp"])
def test_every_sample_can_be_tried(slug: str, operator: Client, catalogue: None) -> None:
    version = MappingVersion.objects.get(provider__slug=slug)
    for name in catalog.samples(slug):
        assert operator.get(action(version, "try_it"), {"sample": name}).context["events"][0]["source"]


# --- comparing ---------------------------------------------------------------------------------------------------


def test_two_versions_are_compared_side_by_side(operator: Client, draft: MappingVersion) -> None:
    assert "They are the same." in text_of(operator.get(action(draft, "compare")))
    change_rule(draft, "hcr.summary", source="call.call_id")
    draft.rules.filter(target="call.to").delete()
    for version in (draft, draft.provider.published):
        shown = text_of(operator.get(action(version, "compare")))
        assert '<pre class="vl-small vl-old">call.call_analysis.call_summary</pre>' in shown
        assert '<pre class="vl-small vl-new">call.call_id</pre>' in shown
        assert "call.to_number → call.to" in shown


def test_any_two_versions_are_compared(operator: Client, draft: MappingVersion) -> None:
    third = publishing.draft_of(draft)
    answer = operator.get(action(third, "compare"), {"with": draft.pk})
    assert (answer.context["older"], answer.context["newer"]) == (draft, third)
    assert answer.context["difference"] == []
    change_rule(third, "hcr.summary", target="hcr.nothing")
    assert "hold together" in operator.get(action(third, "compare"), {"with": draft.pk}).context["problem"]


def test_an_only_version_has_none_to_compare_with(operator: Client, published: MappingVersion) -> None:
    assert "has no other version" in text_of(operator.get(action(published, "compare")))


# --- out and in ----------------------------------------------------------------------------------------------------


def test_a_provider_is_exported_as_a_file_that_reads_back(operator: Client, draft: MappingVersion) -> None:
    for row in (draft.provider, draft):
        answer = operator.get(action(row, "export"))
        assert answer["Content-Disposition"] == 'attachment; filename="retell.toml"'
        assert catalog.parse(answer.content.decode(), "retell.toml") == catalog.load("retell")


def test_what_cannot_be_exported_says_why(operator: Client, catalogue: None) -> None:
    bare = Provider.objects.create(slug="bare", name="Bare", auth={"kind": "token"})
    assert any(
        "No mapping is published" in one for one in said_after(operator.get(action(bare, "export"), follow=True))
    )
    Provider.objects.filter(slug="retell").update(body_limit_bytes=1)
    retell = Provider.objects.get(slug="retell")
    assert any("body_limit_bytes" in one for one in said_after(operator.get(action(retell, "export"), follow=True)))


def import_url() -> str:
    return f"{page(Provider, 'changelist')}import/"


def exported(operator: Client) -> str:
    return str(operator.get(action(Provider.objects.get(slug="retell"), "export")).content.decode())


def test_an_import_shows_what_would_change_and_changes_nothing(operator: Client, published: MappingVersion) -> None:
    text = exported(operator)
    assert "Nothing: Retell AI stands in the database" in text_of(operator.post(import_url(), {"text": text}))
    changed = text.replace('"Retell AI"', '"Retell of ours"').replace(
        '"call.call_analysis.call_summary"', '"call.call_id"'
    )
    shown = text_of(operator.post(import_url(), {"text": changed}))
    assert '<pre class="vl-small vl-new">Retell of ours</pre>' in shown
    assert '<pre class="vl-small vl-new">call.call_id</pre>' in shown
    assert (Provider.objects.get(slug="retell").name, MappingVersion.objects.count()) == ("Retell AI", 2)


def test_a_confirmed_import_makes_a_draft(operator: Client, published: MappingVersion) -> None:
    changed = exported(operator).replace('"call.call_analysis.call_summary"', '"call.call_id"')
    answer = operator.post(import_url(), {"text": changed, "confirmed": "yes"}, follow=True)
    draft = MappingVersion.objects.get(provider__slug="retell", number=2)
    assert answer.redirect_chain[-1][0] == page(MappingVersion, "change", draft.pk)
    assert (draft.state, draft.author) == ("draft", User.objects.get())
    assert draft.rules.get(target="hcr.summary").source == "call.call_id"


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        ({}, "there is nothing to import"),
        ({"text": "slug = "}, "at end of document"),
        ({"text": 'slug = "x"\n'}, "name: Field required"),
        ({"file": SimpleUploadedFile("x.toml", b"\xff\xfe")}, "x.toml: is not UTF-8"),
        ({"file": SimpleUploadedFile("x.toml", b"#" * (1024 * 1024 + 1))}, "x.toml: larger than 1,048,576 bytes"),
    ],
    ids=["nothing", "no TOML", "no provider", "binary", "huge"],
)
def test_a_file_that_cannot_be_imported_says_why(sent: Any, problem: str, operator: Client, db: None) -> None:
    assert problem in operator.post(import_url(), sent).context["problem"]
    assert not Provider.objects.exists()


def test_importing_takes_the_right_to_change_what_it_changes(operator: Client, published: MappingVersion) -> None:
    sent = {"text": exported(operator).replace('"Retell AI"', '"Retell of ours"'), "confirmed": "yes"}
    assert somebody("view_provider").get(import_url()).status_code == 403
    User.objects.get(username="nina").delete()
    assert somebody("add_provider", "view_provider").post(import_url(), sent).status_code == 403
    assert Provider.objects.get(slug="retell").name == "Retell AI"


# --- editing a draft -------------------------------------------------------------------------------------------


def test_broken_json_is_told_with_row_field_and_place(operator: Client, draft: MappingVersion) -> None:
    url = page(MappingVersion, "change", draft.pk)
    answer = operator.post(url, filled(operator, url) | {"rules-3-args": '{"unit":\n "ms",}'})
    told = " ".join(answer.context["problems"])
    assert told.startswith("Rule 3 (")
    assert "): args: Enter valid JSON: " in told
    assert "(line 2, column " in told
    assert problems(answer)


def test_a_new_row_is_put_where_it_was_dragged(operator: Client, draft: MappingVersion) -> None:
    url = page(MappingVersion, "change", draft.pk)
    data = filled(operator, url)
    count = int(data["webhook_schemas-TOTAL_FORMS"])
    data |= {f"webhook_schemas-{n}-position": str(n + 1) for n in range(count)}
    row = {"event": "hum", "kind": "ignored", "disposition": "ignore", "rank": "0", "position": "0"}
    data |= {f"webhook_schemas-{count}-{name}": value for name, value in row.items()}
    assert operator.post(url, data | {"webhook_schemas-TOTAL_FORMS": str(count + 1)}).status_code == 302
    assert draft.webhook_schemas.order_by("position").first().event == "hum"  # type: ignore[union-attr]


def test_transforms_and_targets_are_explained_beside_the_rules(operator: Client, draft: MappingVersion) -> None:
    shown = text_of(operator.get(page(MappingVersion, "change", draft.pk)))
    assert "A Unix time as UTC time." in shown
    assert "<code>outcomes.model_outcome_attribution.total_cost_usd</code>" in shown


def test_a_provider_says_what_it_still_lacks(operator: Client, catalogue: None) -> None:
    url = page(Provider, "add")
    operator.post(url, filled(operator, url) | {"slug": "newvoice", "name": "New Voice"})
    provider = Provider.objects.get(slug="newvoice")
    url = page(Provider, "change", provider.pk)
    assert [what for _, what, _ in operator.get(url).context["overview"]["steps"]] == [
        "Add an endpoint", "Enter its secret", "Make a mapping draft",
    ]  # fmt: skip
    operator.post(action(provider, "new_draft"))
    steps = operator.get(url).context["overview"]["steps"]
    assert [what for _, what, _ in steps][2:] == [
        "Write events and rules into newvoice v1", "Try it on a payload", "Publish it",
    ]  # fmt: skip
    assert all(operator.get(where).status_code == 200 for _, _, where in steps)
    retell = page(Provider, "change", Provider.objects.get(slug="retell").pk)
    assert operator.get(retell).context["overview"]["steps"] == []
