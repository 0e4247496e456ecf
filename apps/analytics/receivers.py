"""Listens to ingest's announcement and moves the numbers in the same transaction. Ingest does not know that anyone
counts."""

from collections.abc import Sequence
from typing import Any

from django.dispatch import receiver

from apps.analytics.rollups import apply_changes
from apps.ingest.signals import messages_written
from apps.ingest.snapshot import Change


@receiver(messages_written, dispatch_uid="daily_numbers")
def move_numbers(sender: Any, changes: Sequence[Change], **kwargs: Any) -> None:
    apply_changes(changes)
