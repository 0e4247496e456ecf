"""Reads what a provider says of itself: the machine-readable forms of status pages.

Known are Atlassian Statuspage (`/api/v2/summary.json`, which incident.io serves as well), incident.io's widget
(`/api/v1/summary`) and Better Stack (`/index.json`). Fetching, and what a standing leads to, are for others.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.monitoring.outcome import Standing, VendorIncident

# The states of components in one vocabulary, that of Statuspage. Words it does not know are kept and judge nothing.
_COMPONENT_WORDS = {
    "full_outage": "major_outage",
    "degraded": "degraded_performance",
    "downtime": "major_outage",
    "maintenance": "under_maintenance",
}
_COMPONENT_STANDINGS = {
    "operational": Standing.UP,
    "under_maintenance": Standing.UP,
    "degraded_performance": Standing.DEGRADED,
    "partial_outage": Standing.DEGRADED,
    "major_outage": Standing.DOWN,
}
_INDICATORS = {
    "none": Standing.UP,
    "maintenance": Standing.UP,
    "minor": Standing.DEGRADED,
    "major": Standing.DOWN,
    "critical": Standing.DOWN,
}
_IMPACTS = {
    "operational": "none",
    "under_maintenance": "maintenance",
    "degraded_performance": "minor",
    "partial_outage": "major",
    "major_outage": "critical",
}
_OVER = ("resolved", "postmortem", "completed", "operational")
_WORST_FIRST = (Standing.DOWN, Standing.DEGRADED, Standing.UP)
# Sections of a Better Stack page that show the vendors behind the provider. An outage of theirs is not the provider's.
_UPSTREAM = re.compile(r"\b(providers?|vendors?|upstream|third[ -]part(y|ies)|external|dependenc(y|ies))\b", re.I)
_LONGEST_TEXT = 4000


@dataclass(frozen=True)
class StatusPage:
    """What a status page says. `components` maps names to states as Statuspage words them (`operational`,
    `degraded_performance`, `partial_outage`, `major_outage`, `under_maintenance`); a component of a group is named
    "group / component". incident.io's widget names only those that an incident affects.

    A page of an unknown form stands at FAULT, and `error` says why.
    """

    standing: Standing
    error: str = ""
    components: Mapping[str, str] = field(default_factory=dict)
    incidents: tuple[VendorIncident, ...] = ()
    in_maintenance: bool = False


@dataclass(frozen=True)
class _Component:
    key: str
    group: str
    name: str
    state: str

    @property
    def full_name(self) -> str:
        return f"{self.group} / {self.name}" if self.group else self.name


def read(body: bytes) -> StatusPage:
    """Read a status page, whatever its content type says. Never raises."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return _fault("The status page's answer is no JSON.")
    if not isinstance(document, dict):
        return _fault("The status page's answer is JSON, but no object.")
    if isinstance(_at(document, "data", "attributes").get("aggregate_state"), str):
        return _better_stack(document)
    if isinstance(document.get("ongoing_incidents"), list):
        return _widget(document)
    if isinstance(document.get("status"), dict) or isinstance(document.get("components"), list):
        return _statuspage(document)
    return _fault("The status page's JSON has none of the known forms: Statuspage, incident.io or Better Stack.")


def _fault(error: str) -> StatusPage:
    return StatusPage(Standing.FAULT, error)


# --- Statuspage, and incident.io's answer in its form


def _statuspage(document: Mapping[str, Any]) -> StatusPage:
    rows = _rows(document, "components")
    groups = {_text(row, "id"): _text(row, "name") for row in rows if row.get("group") is True}
    components = _named(
        _Component(
            _text(row, "id"), groups.get(_text(row, "group_id"), ""), _text(row, "name"), _component_word(row, "status")
        )
        for row in rows
        if row.get("group") is not True
    )
    indicator = _text(_at(document, "status"), "indicator")
    standing = _INDICATORS.get(indicator) or _worst(components.values())
    if standing is None:
        return _fault(f"The status page names no state that is known; its indicator is {indicator[:40]!r}.")
    planned = [row for row in _rows(document, "scheduled_maintenances") if _is_in_progress(row)]
    incidents = [_statuspage_incident(row, _text(row, "impact") or "none") for row in _rows(document, "incidents")]
    incidents += [_statuspage_incident(row, "maintenance") for row in planned]
    in_maintenance = bool(planned) or indicator == "maintenance"
    return StatusPage(standing, "", components, tuple(incidents), in_maintenance)


def _is_in_progress(row: Mapping[str, Any]) -> bool:
    return _text(row, "status") in ("in_progress", "verifying")


def _statuspage_incident(row: Mapping[str, Any], impact: str) -> VendorIncident:
    status = _text(row, "status")
    return VendorIncident(
        id=_text(row, "id"),
        title=_text(row, "name"),
        impact=impact,
        status=status,
        is_open=status not in _OVER,
        url=_text(row, "shortlink"),
        text=_newest(_rows(row, "incident_updates"), "created_at", "body"),
        components=tuple(_text(one, "name") for one in _rows(row, "components")),
    )


# --- incident.io's widget


def _widget(document: Mapping[str, Any]) -> StatusPage:
    ongoing, planned = _rows(document, "ongoing_incidents"), _rows(document, "in_progress_maintenances")
    affected = [one for row in (*ongoing, *planned) for one in _rows(row, "affected_components")]
    components = _worst_of_each(affected)
    impacts = [_component_word(row, "current_worst_impact") for row in ongoing]
    # An incident whose impact is not told still is one.
    standing = _worst([*impacts, *components.values()]) or (Standing.DEGRADED if ongoing else Standing.UP)
    incidents = [
        _widget_incident(row, _IMPACTS.get(impact, "minor")) for row, impact in zip(ongoing, impacts, strict=True)
    ]
    incidents += [_widget_incident(row, "maintenance") for row in planned]
    return StatusPage(standing, "", components, tuple(incidents), bool(planned))


def _worst_of_each(affected: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """States by name of component; one that several incidents affect has the worst."""
    components: dict[str, str] = {}
    ranks = list(_COMPONENT_STANDINGS)
    for row in affected:
        word = _component_word(row, "current_status")
        name = _Component("", _text(row, "group_name"), _text(row, "name"), word).full_name
        if name and word in ranks:
            components[name] = max(components.get(name, word), word, key=ranks.index)
    return components


def _widget_incident(row: Mapping[str, Any], impact: str) -> VendorIncident:
    status = _text(row, "status")
    return VendorIncident(
        id=_text(row, "id"),
        title=_text(row, "name"),
        impact=impact,
        status=status,
        is_open=status not in _OVER,
        url=_text(row, "url"),
        text=_text(row, "last_update_message"),
        components=tuple(_text(one, "name") for one in _rows(row, "affected_components")),
    )


# --- Better Stack


def _better_stack(document: Mapping[str, Any]) -> StatusPage:
    included = _rows(document, "included")
    resources = _resources(included)
    aggregate = _component_word(_at(document, "data", "attributes"), "aggregate_state")
    own = [one.state for one in resources if not _UPSTREAM.search(one.group)]
    standing = _COMPONENT_STANDINGS.get(aggregate)
    if standing is None or len(own) < len(resources):
        standing = _worst(own) or standing
    if standing is None:
        return _fault(f"The status page names no state that is known; its aggregate state is {aggregate[:40]!r}.")
    incidents = tuple(_better_stack_incidents(included, {one.key: one.full_name for one in resources}))
    in_maintenance = aggregate == "under_maintenance" or any(one.impact == "maintenance" for one in incidents)
    return StatusPage(standing, "", _named(resources), incidents, in_maintenance)


def _resources(included: list[Mapping[str, Any]]) -> list[_Component]:
    sections = {_text(row, "id"): _text(_at(row, "attributes"), "name") for row in _of(included, "status_page_section")}
    told = [(_text(row, "id"), _at(row, "attributes")) for row in _of(included, "status_page_resource")]
    return [
        _Component(
            key,
            sections.get(_text(at, "status_page_section_id"), ""),
            _text(at, "public_name"),
            _component_word(at, "status"),
        )
        for key, at in told
        if _text(at, "status") != "not_monitored"
    ]


def _better_stack_incidents(included: list[Mapping[str, Any]], names: Mapping[str, str]) -> Iterable[VendorIncident]:
    updates = {_text(row, "id"): _at(row, "attributes") for row in _of(included, "status_update")}
    for row in _of(included, "status_report"):
        told = _rows(_at(row, "relationships", "status_updates"), "data")
        text = _newest([updates.get(_text(one, "id"), {}) for one in told], "published_at", "message")
        incident = _better_stack_incident(_text(row, "id"), _at(row, "attributes"), text, names)
        if incident.is_open or incident.impact != "maintenance":
            yield incident


def _better_stack_incident(key: str, report: Mapping[str, Any], text: str, names: Mapping[str, str]) -> VendorIncident:
    state = _component_word(report, "aggregate_state")
    is_maintenance = _text(report, "report_type") == "maintenance"
    # A maintenance is planned with its end: only its state tells whether it goes on.
    is_open = state == "under_maintenance" if is_maintenance else not (report.get("ends_at") or state in _OVER)
    affected = [_text(one, "status_page_resource_id") for one in _rows(report, "affected_resources")]
    return VendorIncident(
        id=key,
        title=_text(report, "title"),
        impact="maintenance" if is_maintenance else _IMPACTS.get(state, "none"),
        status=_text(report, "aggregate_state"),
        is_open=is_open,
        text=text,
        components=tuple(names[one] for one in affected if one in names),
    )


def _of(included: Iterable[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    return [row for row in included if row.get("type") == kind]


# --- Reading without trust


def _at(value: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """The object below these keys, an empty one where there is none."""
    for key in keys:
        below = value.get(key)
        value = below if isinstance(below, dict) else {}
    return value


def _rows(value: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    rows = value.get(key)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _text(value: Mapping[str, Any], key: str) -> str:
    """Ids come as numbers as well as texts."""
    found = value.get(key)
    is_told = isinstance(found, str) or (isinstance(found, int) and not isinstance(found, bool))
    return str(found)[:_LONGEST_TEXT].strip() if is_told else ""


def _component_word(row: Mapping[str, Any], key: str) -> str:
    word = _text(row, key).lower()
    return _COMPONENT_WORDS.get(word, word)


def _worst(words: Iterable[str]) -> Standing | None:
    """The worst standing of these states; None where none of them is known."""
    standings = {_COMPONENT_STANDINGS[word] for word in words if word in _COMPONENT_STANDINGS}
    return next((one for one in _WORST_FIRST if one in standings), None)


def _newest(updates: list[Mapping[str, Any]], at: str, text: str) -> str:
    """The text of the newest update: times of one page are of one form, so they sort as text; else the first."""
    return _text(max(updates, key=lambda one: _text(one, at)), text) if updates else ""


def _named(components: Iterable[_Component]) -> dict[str, str]:
    """States by full name. Those that still share a name have their id behind it."""
    rows = [one for one in components if one.name and one.state]
    times = Counter(one.full_name for one in rows)
    return {f"{one.full_name} ({one.key})" if times[one.full_name] > 1 else one.full_name: one.state for one in rows}
