"""What one look at a provider's page tells, before anything is judged or stored. Pure data; `probes` makes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Standing(StrEnum):
    """How a page answered. A fault is the check's own (a selector that finds nothing, a forbidden target): it says
    nothing of the provider."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    FAULT = "fault"


@dataclass(frozen=True)
class Content:
    """What of a page is compared: normalised text, or an OpenAPI document as canonical JSON."""

    text: str
    format: str = "text"  # text, markdown or openapi


@dataclass(frozen=True)
class FeedEntry:
    """One entry of a feed; `guid` is its id, or what stands for one."""

    guid: str
    title: str
    link: str = ""
    summary: str = ""
    published_at: datetime | None = None


@dataclass(frozen=True)
class VendorIncident:
    """An incident as the provider's status page tells it. `is_open` until it is resolved or postmortem."""

    id: str
    title: str
    impact: str  # none, maintenance, minor, major or critical
    status: str  # the provider's own word
    is_open: bool
    url: str = ""
    text: str = ""  # the newest update
    components: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """The result of one check. `error_kind` is empty where nothing went wrong, else one word that can be counted."""

    standing: Standing
    status_code: int | None = None
    latency_ms: int | None = None
    error_kind: str = ""
    error: str = ""
    not_modified: bool = False
    etag: str = ""
    last_modified: str = ""
    content: Content | None = None
    entries: tuple[FeedEntry, ...] | None = None
    incidents: tuple[VendorIncident, ...] | None = None
    components: Mapping[str, str] = field(default_factory=dict)
    in_maintenance: bool = False
