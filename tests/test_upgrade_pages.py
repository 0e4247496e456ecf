"""What the admin shows of older ready-made messages: what an upgrade made up, and who has to mend what failed."""

import re
from typing import Any

import pytest
from django.test import Client

from apps.ingest.models import InboundEvent
from apps.providers.models import MappingVersion
from tests.browser import action, page, text_of
from tests.calls import ready_made
from vcp import examples

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]

MADE_UP = "made up $.vcp_payload.hcr the message has no words of its own"


def words(answer: Any) -> str:
    """The page without its tags."""
    return " ".join(re.sub(r"<[^>]*>", " ", text_of(answer)).split())


def delivered(operator: Client, drain: Any) -> str:
    drain()
    return words(operator.get(page(InboundEvent, "change", InboundEvent.objects.get().pk)))


def test_a_delivery_tells_its_upgrade_in_a_table(operator: Client, deliver: Any, drain: Any) -> None:
    deliver(examples.load("v03_booked_service"), provider="vcp")
    told = delivered(operator, drain)
    assert "a message of 0.3 published, kept as it was sent and used as 0.5" in told
    assert MADE_UP in told
    assert "migrations" not in told


def test_a_trial_tells_the_upgrade_in_a_table(operator: Client, deliver: Any, drain: Any) -> None:
    deliver(examples.load("v03_booked_service"), provider="vcp")
    drain()
    version = MappingVersion.objects.get(provider__slug="vcp")
    answer = operator.get(action(version, "try_it"), {"delivery": str(InboundEvent.objects.get().delivery_id)})
    assert MADE_UP in words(answer)


def test_a_current_message_tells_of_no_upgrade(operator: Client, deliver: Any, drain: Any) -> None:
    deliver(ready_made(), provider="vcp")
    assert "kept as it was sent" not in delivered(operator, drain)


def test_a_message_that_fails_is_the_sender_s_to_mend(operator: Client, deliver: Any, drain: Any) -> None:
    deliver(examples.load("v03_booked_service") | {"vcp_version": "0.6"}, provider="vcp")
    told = delivered(operator, drain)
    assert "The sender has to mend the message" in told
    assert "Mend the mapping" not in told


def test_a_webhook_that_fails_is_a_matter_of_the_mapping(operator: Client, deliver: Any, drain: Any) -> None:
    deliver({"event": "call_ended"})
    assert "Mend the mapping, publish it, then replay" in delivered(operator, drain)
