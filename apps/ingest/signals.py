"""The announcement that analytics listens to: sent inside the transaction that writes, changes or deletes messages."""

from django.dispatch import Signal

# Sent with `changes`: a list of (before, after) Snapshots; before is None for a new message, after for a deleted one.
messages_written = Signal()
