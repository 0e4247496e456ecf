"""What a downgrade lost: whatever would not come back if the result were upgraded again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from vcp.migrate.differences import Difference, differences
from vcp.migrate.report import MigrationReport
from vcp.models import MESSAGE_SHAPE
from vcp.scalars import Path

# Parts that are told as a whole.
_WHOLE: Final[Mapping[Path, str]] = {
    ("vcp_payload", "consent"): "v0.3 has no consent",
    ("vcp_payload", "provenance"): "v0.3 has no provenance",
}
_CAPABILITIES: Final = ("vcp_payload", "call", "capabilities_invoked")


def note_losses(before: dict[str, Any], after: dict[str, Any], report: MigrationReport) -> None:
    """Compare a v0.5 message with what its downgraded form would become again, both in normal form."""
    found = dict(loss for difference in differences(before, after) for loss in _losses(difference))
    for path in sorted(found, key=MESSAGE_SHAPE.order):
        report.lose(path, found[path])


def _losses(difference: Difference) -> Iterator[tuple[Path, str]]:
    path = tuple(difference.path)
    if path[:2] in _WHOLE:
        yield path[:2], _WHOLE[path[:2]]
    elif path[:3] == _CAPABILITIES and isinstance(difference.made, str) and isinstance(difference.was, dict):
        return  # the name is all there was
    elif path[:3] == _CAPABILITIES and len(path) > 3:
        yield path[:4], "v0.3 holds only the capability's name"
    elif "made" in difference.model_fields_set:
        kept = "was" in difference.model_fields_set
        yield path, "v0.3 cannot tell this value" if kept else "v0.3 has no field for it"
