"""How the words of monitoring look in the admin: colours of severities and states, texts into lines of a diff."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from apps.monitoring.models import Severity, State

SEVERITY_COLOURS = {
    Severity.LOW.value: "info",
    Severity.MEDIUM.value: "primary",
    Severity.HIGH.value: "warning",
    Severity.CRITICAL.value: "danger",
}
STATE_COLOURS = {State.UP.value: "success", State.DEGRADED.value: "warning", State.DOWN.value: "danger"}
MAX_LINES = 2000


def diff_lines(diff: str) -> Iterator[tuple[str, str]]:
    """(added, removed, place, note or empty, the line) of a unified diff, at most MAX_LINES."""
    lines = diff.splitlines()
    for line in lines[:MAX_LINES]:
        yield _kind(line), line
    if len(lines) > MAX_LINES:
        yield "note", f"… {len(lines) - MAX_LINES:,} more lines"


def _kind(line: str) -> str:
    if line.startswith(("+++", "---")):
        return "note"
    return {"+": "added", "-": "removed", "@": "place"}.get(line[:1], "")


def how_long(span: timedelta) -> str:
    """`3 d 4 h`, `12 min`: the two largest units."""
    minutes = max(0, int(span.total_seconds())) // 60
    parts = [(minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min")]
    told = [f"{number} {unit}" for number, unit in parts if number][:2]
    return " ".join(told) or "under a minute"


def ago(moment: datetime | None, now: datetime) -> str:
    return "never" if moment is None else f"{how_long(now - moment)} ago"


def percent(value: float | None) -> str:
    """Cut to two places, not rounded: 99.999 is no 100."""
    if value is None:
        return "not watched"
    return "100 %" if value == 100 else f"{int(value * 100) / 100:.2f} %"
