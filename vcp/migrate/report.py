"""What a migration gives back: the message, and what was made up, lost or found on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vcp.findings import jsonpath
from vcp.scalars import Path
from vcp.versions.forms import Form


@dataclass(frozen=True)
class Note:
    """One place (JSONPath) and why it is named."""

    path: str
    reason: str

    def to_dict(self) -> dict[str, str]:
        """Plain JSON."""
        return {"path": self.path, "reason": self.reason}


@dataclass
class MigrationReport:
    """`synthesized` names places of the new message that the old one did not tell, `lost` places of the old one that
    the new version cannot hold, `warnings` what else a reader should know. Each in the order it was met."""

    synthesized: list[Note] = field(default_factory=list)
    lost: list[Note] = field(default_factory=list)
    warnings: list[Note] = field(default_factory=list)

    def made_up(self, path: Path, reason: str) -> None:
        """Note a value that the old message did not tell."""
        self.synthesized.append(Note(jsonpath(path), reason))

    def lose(self, path: Path, reason: str) -> None:
        """Note a value that does not come along."""
        self.lost.append(Note(jsonpath(path), reason))

    def warn(self, path: Path, reason: str) -> None:
        """Note anything else."""
        self.warnings.append(Note(jsonpath(path), reason))

    def to_dict(self) -> dict[str, list[dict[str, str]]]:
        """Plain JSON."""
        parts = {"synthesized": self.synthesized, "lost": self.lost, "warnings": self.warnings}
        return {name: [note.to_dict() for note in notes] for name, notes in parts.items()}


@dataclass(frozen=True)
class Migration:
    """A migrated message as plain JSON, the forms it came from and has now, and the report."""

    message: dict[str, Any]
    report: MigrationReport
    source: Form
    target: Form

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: `message`, `source`, `target`, `report`."""
        return {
            "message": self.message,
            "source": self.source._asdict(),
            "target": self.target._asdict(),
            "report": self.report.to_dict(),
        }
