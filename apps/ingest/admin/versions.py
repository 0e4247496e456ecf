"""The registry's page of a mapping version, with a page beside it that tries the version on a payload.

A trial writes nothing: the payload is a sample, a stored delivery, or what somebody pastes.
"""

import heapq
import json
import uuid
from dataclasses import dataclass, field
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from pydantic import ValidationError
from unfold.decorators import action

from apps.ingest import trial
from apps.ingest.admin.upgrades import shown_upgrades
from apps.ingest.models import InboundEvent
from apps.ingest.trial_rules import RuleRow, message_changes, payload_of, remarks, rule_rows, rule_rows_of_call
from apps.providers import publishing, registry
from apps.providers.admin.base import found_or_404, page, pretty_json
from apps.providers.admin.difference import shown_fields
from apps.providers.admin.versions import MappingVersionAdmin
from apps.providers.engine.errors import PayloadError
from apps.providers.engine.mapping import Mapping
from apps.providers.engine.paths import MISSING
from apps.providers.engine.payload import parse
from apps.providers.models import MappingVersion, Provider

MAY_READ_DELIVERIES = "ingest.view_inboundevent"
MAX_EVENTS = 50
NEWEST = 6
# Of a provider with many endpoints the newest deliveries of these are offered; any other is found by its id.
ENDPOINTS_LOOKED_AT = 10
MAX_VALUE_SHOWN = 600
COLOURS = {"used": "success", "default": "info", "failed": "danger", "unseen word": "warning", "missing": "warning"}


class Unusable(Exception):
    """What was chosen cannot be tried; the text says why and what would do."""


@dataclass
class Choice:
    """What is to be tried, and the text that stands in the box to be changed and tried again."""

    label: str = ""
    cases: list[trial.Case] = field(default_factory=list)
    text: str = ""


@admin.register(MappingVersion)
class MappingVersionWithTrialAdmin(MappingVersionAdmin):
    actions_detail = ("try_it", *MappingVersionAdmin.actions_detail)

    @action(description="Try", url_path="try", icon="science", permissions=["view"])
    def try_it(self, request: HttpRequest, object_id: str) -> HttpResponse:
        version = found_or_404(self, request, object_id, "providers.view_mappingversion")
        may_read = request.user.has_perm(MAY_READ_DELIVERIES)
        context: dict[str, Any] = {"version": version, "may_read_deliveries": may_read, "asked": request.GET.dict()}
        try:
            mapping = Mapping(version.to_spec())
        except ValidationError as error:
            context["broken"] = publishing.explain(error)
        else:
            samples = publishing.samples(version.provider.slug, mapping.spec)
            context |= {"samples": list(samples), "newest": _newest(version.provider) if may_read else []}
            context |= _tried(request, version, mapping, samples)
        return page(self, request, version, "admin/ingest/try.html", title=f"Try {version}", **context)


def _tried(request: HttpRequest, version: MappingVersion, mapping: Mapping, samples: dict[str, Any]) -> dict[str, Any]:
    try:
        choice = _choice(request, version.provider, mapping, samples)
    except (Unusable, PayloadError) as error:
        return {"problem": str(error), "text": request.POST.get("payload", "")}
    context: dict[str, Any] = {"text": choice.text, "label": choice.label}
    if choice.cases:
        context |= _shown(choice, version, mapping)
    return context


# --- what is tried -----------------------------------------------------------------------------------------------


def _choice(request: HttpRequest, provider: Provider, mapping: Mapping, samples: dict[str, Any]) -> Choice:
    """What the form asks for. Raises Unusable, or PayloadError naming line and column."""
    if request.method == "POST":
        return _pasted(request.POST.get("payload", "").replace("\r\n", "\n"))
    if request.GET.get("sample"):
        return _sample(request.GET["sample"], mapping, samples)
    if request.GET.get("delivery"):
        if not request.user.has_perm(MAY_READ_DELIVERIES):
            raise PermissionDenied
        return _stored(request.GET["delivery"].strip(), provider, bool(request.GET.get("call")))
    return Choice()


def _pasted(text: str) -> Choice:
    """One payload, or a JSON list of the events of one call."""
    if not text.strip():
        raise Unusable("There is nothing to try: paste a payload.")
    body = text.encode("utf-8", "surrogatepass")
    payload = parse(body)
    events = payload if isinstance(payload, list) else [payload]
    wrong = next((n for n, event in enumerate(events, 1) if not isinstance(event, dict)), None)
    if not events or wrong is not None:
        raise Unusable(f"Event {wrong or 1} is no JSON object. Paste one object, or a list of the events of one call.")
    if len(events) > MAX_EVENTS:
        raise Unusable(f"{len(events)} events are more than the {MAX_EVENTS} that are tried at once.")
    now = timezone.now()
    bodies = [_as_bytes(event) for event in events] if isinstance(payload, list) else [body]
    return Choice("what was pasted", [trial.Case(body, now) for body in bodies], text)


def _as_bytes(payload: Any) -> bytes:
    return json.dumps(payload, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _sample(name: str, mapping: Mapping, samples: dict[str, Any]) -> Choice:
    if name not in samples:
        raise Unusable(f"There is no sample {name!r}. There are: {', '.join(samples) or 'none'}.")
    return Choice(name, [trial.sample_case(samples[name], mapping)], pretty_json(samples[name]))


def _stored(delivery_id: str, provider: Provider, whole_call: bool) -> Choice:
    try:
        rows = InboundEvent.objects.filter(delivery_id=uuid.UUID(delivery_id), endpoint__provider=provider)
    except ValueError:
        raise Unusable(f"{delivery_id!r} is no delivery id; it looks like {uuid.UUID(int=0)}.") from None
    row = rows.first()
    if row is None:
        raise Unusable(f"{provider} has no delivery {delivery_id}.")
    if whole_call and row.call_key_id:
        rows = InboundEvent.objects.filter(call_key=row.call_key_id, endpoint__provider=provider).order_by("id")
    kept = [one for one in rows[:MAX_EVENTS] if one.body_emptied_at is None and one.state != one.State.ERASED]
    if not kept:
        raise Unusable(f"The body of {row} is no longer kept, so it cannot be mapped again.")
    label = f"the {len(kept)} deliveries of call {row.call_id}" if whole_call else str(row)
    return Choice(label, [_stored_case(one) for one in kept], _text(kept))


def _stored_case(row: InboundEvent) -> trial.Case:
    return trial.Case(bytes(row.body), row.received_at, {"content-type": row.content_type})


def _text(rows: list[InboundEvent]) -> str:
    """The payloads to change and try again; empty where one is no JSON."""
    try:
        payloads = [parse(bytes(row.body), row.content_type) for row in rows]
    except PayloadError:
        return ""
    return pretty_json(payloads if len(payloads) > 1 else payloads[0])


def _newest(provider: Provider) -> list[InboundEvent]:
    fields = ("delivery_id", "event", "received_at", "provider", "state")
    rows = [
        row
        for endpoint in provider.endpoints.all()[:ENDPOINTS_LOOKED_AT]
        for row in InboundEvent.objects.filter(endpoint=endpoint).only(*fields).order_by("-received_at")[:NEWEST]
    ]
    return heapq.nlargest(NEWEST, rows, key=lambda row: row.received_at)


# --- what came of it ---------------------------------------------------------------------------------------------


def _shown(choice: Choice, version: MappingVersion, mapping: Mapping) -> dict[str, Any]:
    result = trial.run(choice.cases, _subject(version, mapping))
    context: dict[str, Any] = {
        "tried": result,
        "events": [_event(one, mapping) for one in result.cases],
        "of_call": _table(rule_rows_of_call(result.cases, mapping)),
        "message": pretty_json(result.message) if result.message else "",
        "unseen": trial.merge_reports(result, mapping)["unseen"],
        "findings": [("error", "danger", error) for error in result.errors]
        + [("warning", "warning", warning) for warning in result.warnings],
    }
    current = version.provider.published
    if current is not None and current.pk != version.pk:
        former = trial.run(choice.cases, _subject(current, registry.mapping_of_version(current.pk)))
        context |= {"current": current, "changes": shown_fields(message_changes(former, result))}
    return context


def _subject(version: MappingVersion, mapping: Mapping) -> trial.Subject:
    return trial.Subject(version.provider.slug, version.provider.name, mapping)


def _event(result: trial.CaseResult, mapping: Mapping) -> dict[str, Any]:
    rows = rule_rows(result, mapping)
    reading = result.reading
    payload = payload_of(result)
    body = bytes(result.row.body).decode("utf-8", "backslashreplace")
    return {
        "reading": reading,
        "remarks": remarks(result, mapping),
        "source": body if payload is MISSING else pretty_json(payload),
        **_table(rows),
        "leftovers": pretty_json(reading.fragment.data) if reading.fragment and reading.fragment.data else "",
        "warnings": reading.report.warnings,
        "upgrades": shown_upgrades(reading.report.migrations),
    }


def _table(rows: list[RuleRow]) -> dict[str, Any]:
    states = dict.fromkeys(row.state for row in rows)
    counts = [(state, sum(row.state == state for row in rows)) for state in states]
    return {"rules": [_rule(row) for row in rows], "counts": counts}


def _rule(row: RuleRow) -> dict[str, Any]:
    colour = COLOURS.get(row.state, "")
    return {"row": row, "colour": colour, "read": _value(row.read), "gave": _value(row.gave)}


def _value(value: Any) -> str:
    text = "" if value is MISSING else value if isinstance(value, str) else pretty_json(value)
    return text if len(text) <= MAX_VALUE_SHOWN else f"{text[:MAX_VALUE_SHOWN]}…"
