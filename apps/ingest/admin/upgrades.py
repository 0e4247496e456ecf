"""What the upgrade of an older ready-made message made up and lost, as rows of a page."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

WORDS: Final = {"synthesized": ("made up", "info"), "lost": ("lost", "danger"), "warnings": ("warning", "warning")}


def shown_upgrades(migrations: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each migration of a delivery's report as `source`, `target` and `notes` (word, colour, path, reason)."""
    return [
        {
            "source": f"{one['source']['version']} {one['source']['shape']}",
            "target": one["target"]["version"],
            "notes": [
                {"word": word, "colour": colour, **note}
                for part, (word, colour) in WORDS.items()
                for note in one["report"][part]
            ],
        }
        for one in migrations
    ]
