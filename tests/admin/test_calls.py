"""Deliveries and messages in the admin: replayed, corrected, withdrawn, deleted, erased."""

import re
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.history.models import Change
from apps.ingest import operations
from apps.ingest.models import CallKey, InboundEvent, Message
from apps.providers.models import MappingVersion
from tests.admin.rows import message, numbers, version
from tests.browser import action, filled, page, said_after, text_of
from tests.calls import ANALYZED, CALL_ID, ENDED, STARTED, sample

pytestmark = pytest.mark.django_db


# --- deliveries ----------------------------------------------------------------------------------------------


def test_a_failed_delivery_tells_code_path_rule_and_trace(operator: Client, calls: None) -> None:
    failed = InboundEvent.objects.get(state="failed")
    shown = text_of(operator.get(page(InboundEvent, "change", failed.pk)))
    assert failed.error_code in shown
    assert failed.error_detail.split(":")[0] in shown
    assert failed.error_path in shown
    assert failed.trace_id in shown


def test_deliveries_are_replayed_from_the_list(operator: Client, calls: None, drain: Any, rings: list[int]) -> None:
    failed = InboundEvent.objects.get(state="failed")
    # What was wrong is mended: the body is that of a whole call.
    import json

    InboundEvent.objects.filter(pk=failed.pk).update(body=json.dumps(sample(ENDED, call_id="call_mended")).encode())
    chosen = {"action": "replay_selected", "_selected_action": [failed.pk]}
    answer = operator.post(page(InboundEvent, "changelist"), chosen, follow=True)
    assert any("1 deliveries are worked off again" in text for text in said_after(answer))
    drain()
    failed.refresh_from_db()
    assert failed.state == "processed"
    assert Message.objects.filter(call_id="call_mended").exists()


def test_all_that_match_a_filter_are_replayed_after_a_question(operator: Client, calls: None) -> None:
    matching = InboundEvent.objects.filter(state="processed")
    numbers, first = matching.count(), matching.first()
    assert first is not None
    assert numbers > 1
    address = page(InboundEvent, "changelist") + "?state__exact=processed"
    chosen = {"action": "replay_selected", "_selected_action": [first.pk], "select_across": "1", "index": "0"}
    asked = operator.post(address, chosen)
    shown = asked.content.decode()
    assert f"{numbers} deliveries match" in shown
    assert matching.count() == numbers  # nothing is done before it is confirmed
    posted = dict(re.findall(r'<input type="hidden" name="(\w+)" value="(\w*)">', shown))
    answer = operator.post(address, posted, follow=True)
    assert any(f"{numbers} deliveries are worked off again" in text for text in said_after(answer))
    assert InboundEvent.objects.filter(state="received").count() == numbers
    assert InboundEvent.objects.filter(state="failed").exists()


def test_a_delivery_is_replayed_from_its_page(operator: Client, calls: None) -> None:
    event = InboundEvent.objects.filter(event="call_analyzed").get()
    assert operator.post(action(event, "replay")).status_code == 302
    event.refresh_from_db()
    assert event.state == "received"


def test_an_erased_delivery_is_not_replayed(operator: Client, calls: None) -> None:
    event = InboundEvent.objects.filter(event="call_analyzed").get()
    operations.erase_call(message().call_key, timezone.now())
    answer = operator.post(action(event, "replay"), follow=True)
    assert any("nothing to replay" in text for text in said_after(answer))
    chosen = {"action": "replay_selected", "_selected_action": [event.pk]}
    answer = operator.post(page(InboundEvent, "changelist"), chosen, follow=True)
    assert any("0 deliveries" in text and "1 are erased" in text for text in said_after(answer))


def test_a_delivery_cannot_be_added_changed_or_deleted(operator: Client, calls: None) -> None:
    event = InboundEvent.objects.first()
    assert event is not None
    assert operator.get(reverse("admin:ingest_inboundevent_add")).status_code == 403
    assert operator.post(page(InboundEvent, "change", event.pk), {"state": "ignored"}).status_code == 403
    assert operator.post(page(InboundEvent, "delete", event.pk), {"post": "yes"}).status_code == 403


def test_a_delivery_shows_which_rule_read_each_value(operator: Client, calls: None) -> None:
    event = InboundEvent.objects.filter(event="call_analyzed").get()
    shown = operator.get(page(InboundEvent, "change", event.pk)).content.decode()
    number, rule = next((n, rule) for n, rule in enumerate(version().rules.all()) if rule.target == "call.start_time")
    assert f'{page(MappingVersion, "change", version().pk)}#rule-{number}">{number}: {rule.source}' in shown


def test_a_delivery_whose_body_was_emptied_says_so(operator: Client, calls: None) -> None:
    InboundEvent.objects.filter(event="call_analyzed").update(body=b"", body_emptied_at=timezone.now())
    event = InboundEvent.objects.get(event="call_analyzed")
    assert "Emptied" in text_of(operator.get(page(InboundEvent, "change", event.pk)))


# --- messages ------------------------------------------------------------------------------------------------


def message_url(kind: str = "change") -> str:
    return page(Message, kind, message().pk)


def correct(operator: Client, **values: str) -> Any:
    url = action(message(), "correct")
    return operator.post(url, filled(operator, url) | values)


def test_a_message_is_shown_with_transcript_events_and_rules(operator: Client, calls: None) -> None:
    shown = text_of(operator.get(message_url()))
    turns = operator.get(message_url()).context["turns"]
    assert turns[0].said in shown.replace("&#x27;", "'")
    assert {"agent", "caller", "tool call"} <= {turn.who for turn in turns}
    assert shown.count(page(InboundEvent, "change", InboundEvent.objects.get(event="call_analyzed").pk)) > 1
    assert "#rule-" in shown
    assert "The whole message, VCP 0.5" in shown


def test_the_evidence_names_the_event_that_won(operator: Client, calls: None) -> None:
    told = {row.target: row for row, _ in operator.get(message_url()).context["told"]}
    assert told["hcr.summary"].event.event == "call_analyzed"
    assert told["hcr.summary"].value == message().vcp["vcp_payload"]["hcr"]["summary"]


@pytest.mark.any_database
def test_a_ready_made_message_is_shown_too(operator: Client, calls: None) -> None:
    made = Message.objects.get(provider="northwind_voice")
    assert operator.get(page(Message, "change", made.pk)).status_code == 200


def test_a_correction_moves_the_numbers_and_survives_events_and_replays(
    operator: Client, deliver: Any, drain: Any
) -> None:
    for name in (STARTED, ENDED):
        deliver(sample(name))
    drain()
    before = numbers()
    answer = correct(operator, status="failure", duration_sec="600", total_cost_usd="1.5", summary="Put right.",
                     further='{"call.direction": "outbound"}')  # fmt: skip
    assert answer.status_code == 302, answer.context["form"].errors
    assert numbers().failure_count == before.failure_count + 1
    assert numbers().duration_sum_sec == 600
    assert numbers().total_cost_usd == Decimal("1.5")
    deliver(sample(ANALYZED))
    operations.replay(InboundEvent.objects.all())
    drain()
    now = message()
    assert (now.status, now.duration_sec, now.direction, now.stage) == ("failure", 600, "outbound", "analysed")
    history = now.vcp["vcp_payload"]["provenance"]["transformation_history"]
    assert sum(line.startswith("corrected:") and " by olga at " in line for line in history) == 5
    shown = text_of(operator.get(message_url()))
    assert "laid over whatever the events say" in shown
    assert "corrected by olga" in shown


def test_a_form_sent_back_unchanged_corrects_nothing(operator: Client, calls: None) -> None:
    answer = operator.post(action(message(), "correct"), filled(operator, action(message(), "correct")), follow=True)
    assert "Nothing was changed." in said_after(answer)
    assert message().corrections == []


def test_an_emptied_field_takes_the_value_away(operator: Client, calls: None) -> None:
    assert correct(operator, user_satisfaction_score="", end_time="").status_code == 302
    assert message().user_satisfaction_score is None
    assert message().end_time is None
    assert numbers().satisfaction_count == 0


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("status", "splendid", "valid choice"),
        ("start_time", "yesterday", "Write a time"),
        ("start_time", "", "required"),
        ("end_time", "2001-01-01T00:00:00Z", "before"),
        ("duration_sec", "-5", "greater than or equal to 0"),
        ("duration_sec", "99999999999", "below"),
        ("total_cost_usd", "nan", "number"),
        ("user_satisfaction_score", "7", "less than or equal to 1"),
        ("further", "[1]", "Write an object"),
        ("further", "{", "valid JSON"),
        ("further", '{"call.call_id": "other"}', "fixed"),
        ("further", '{"call.no_such_field": 1}', "no such field"),
        ("further", '{"model_selection.roles.*.chosen": "x"}', "no *"),
        ("further", '{"call.direction": 7}', "call.direction"),
    ],
)
@pytest.mark.any_database
def test_a_correction_that_would_not_be_valid_is_refused_at_its_field(
    field: str, value: str, problem: str, operator: Client, calls: None
) -> None:
    before = message().content_digest
    answer = correct(operator, **{field: value})
    assert answer.status_code == 200
    assert problem in str(answer.context["form"].errors[field])
    assert message().content_digest == before


def test_corrections_are_withdrawn(operator: Client, calls: None) -> None:
    was = message().status
    correct(operator, status="error")
    assert message().status == "error"
    assert operator.post(action(message(), "withdraw")).status_code == 302
    assert (message().status, message().corrections) == (was, [])


@pytest.mark.parametrize("bulk", [False, True], ids=["its page", "the list"])
def test_a_deleted_message_stays_away_until_it_is_restored(
    bulk: bool, operator: Client, calls: None, drain: Any
) -> None:
    total = numbers().total
    key, day = message().call_key, numbers()
    if bulk:
        chosen = {"action": "delete_selected", "_selected_action": [message().pk], "post": "yes"}
        assert operator.post(page(Message, "changelist"), chosen).status_code == 302
    else:
        assert "Later events and replays do not bring it back." in text_of(operator.get(message_url("delete")))
        assert operator.post(message_url("delete"), {"post": "yes"}).status_code == 302
    operations.replay(InboundEvent.objects.all())
    drain()
    assert not Message.objects.filter(call_id=CALL_ID).exists()
    day.refresh_from_db()
    assert day.total == total - 1
    assert operator.get(f"{page(CallKey, 'changelist')}?deleted=yes").context["cl"].result_count == 1
    answer = operator.post(action(key, "restore"), follow=True)
    assert any("is back" in text for text in said_after(answer))
    assert numbers().total == total


def test_deleted_calls_are_restored_from_their_list(operator: Client, calls: None) -> None:
    key = message().call_key
    operations.withhold(message())
    chosen = {"action": "restore_selected", "_selected_action": [key.pk]}
    operator.post(page(CallKey, "changelist"), chosen)
    assert Message.objects.filter(call_id=CALL_ID).exists()


def test_an_erased_call_leaves_no_name_behind(operator: Client, calls: None) -> None:
    correct(operator, status="error")
    operator.post(action(InboundEvent.objects.get(event="call_analyzed"), "replay"))
    assert "cannot be undone" in text_of(operator.get(action(message(), "erase")))
    assert operator.post(action(message(), "erase")).status_code == 302
    assert not Message.objects.filter(call_id=CALL_ID).exists()
    assert not CallKey.objects.filter(call_id=CALL_ID).exists()
    assert not Change.objects.filter(object_name__contains=CALL_ID).exists()
    shown = [operator.get(page(model, "changelist")).content.decode() for model in (InboundEvent, Message, CallKey)]
    assert not any(CALL_ID in text for text in shown)


def test_a_deleted_call_can_be_erased(operator: Client, calls: None) -> None:
    key = message().call_key
    correct(operator, status="error")
    operator.post(message_url("delete"), {"post": "yes"})
    operator.post(action(key, "restore"))
    operator.post(message_url("delete"), {"post": "yes"})
    assert Change.objects.filter(object_name__contains=CALL_ID).count() == 4
    assert operator.post(action(key, "erase")).status_code == 302
    assert not CallKey.objects.filter(pk=key.pk).exists()
    assert not Change.objects.filter(object_name__contains=CALL_ID).exists()


def test_a_message_cannot_be_added_or_changed_past_the_checks(operator: Client, calls: None) -> None:
    assert operator.get(reverse("admin:ingest_message_add")).status_code == 403
    assert operator.post(message_url(), {"status": "error"}).status_code == 403
