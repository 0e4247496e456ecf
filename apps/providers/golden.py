"""What each catalogue sample comes to, stored beside it as <sample>.expected.json: a change of the mapping then shows.

Only the catalogue and the engine take part: each sample is redacted, mapped and folded as a call of its own; samples
that share a name but for a number are folded together as well.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from apps.providers import catalog
from apps.providers.engine.fold import Context, Event, fold
from apps.providers.engine.mapping import Fragment, Identity, Mapping, call_id_of
from apps.providers.engine.payload import parse
from apps.providers.engine.prices import PriceList
from apps.providers.engine.spec import ProviderSpec
from vcp import validate

# Fixed, so that the result is the same on every machine and in every year.
RECEIVED_AT = datetime(2026, 11, 1, tzinfo=UTC)
PSEUDONYM_KEY = b"known to every reader"


def sample_bodies(slug: str) -> dict[str, bytes]:
    """The samples of a provider as they would be posted, by name."""
    return {name: (catalog.FOLDER / "samples" / slug / f"{name}.json").read_bytes() for name in catalog.samples(slug)}


def sample_calls(slug: str) -> dict[str, list[bytes]]:
    """Samples that belong together, by the name they share: `<name>.01.json`, `<name>.02.json`, … are of one call."""
    calls: dict[str, list[bytes]] = {}
    for name, body in sorted(sample_bodies(slug).items()):
        shared, _, number = name.rpartition(".")
        if shared and len(number) == 2 and number.isdecimal():
            calls.setdefault(shared, []).append(body)
    return calls


def outcome(provider: ProviderSpec, mapping: Mapping, body: bytes) -> dict[str, Any]:
    """Event, disposition, message and transcript of one body; `message` is null when it makes none on its own.

    Raises EngineError when it cannot be mapped.
    """
    payload = parse(mapping.redact(body, parse(body)))
    identity = mapping.identify(payload)
    told: dict[str, Any] = {"event": identity.event, "disposition": identity.spec.disposition}
    if identity.spec.disposition != "map":
        return told
    return told | outcome_of_call(provider, mapping, [body])


def outcome_of_call(provider: ProviderSpec, mapping: Mapping, bodies: Iterable[bytes]) -> dict[str, Any]:
    """Message and transcript of these bodies as events of one call, in whatever order they are given.

    Raises EngineError when one of them cannot be mapped.
    """
    applied = [(mapping.apply(parse(mapping.redact(body, parse(body)))), body) for body in bodies]
    events = [_event(identity, fragment, body) for (identity, fragment, _), body in applied]
    reports = [report for (_, _, report), _ in sorted(applied, key=lambda one: one[1])]
    call_id = call_id_of(identity for (identity, _, _), _ in applied)
    failed = [failure for report in reports for failure in report.failed]
    unseen = [word for report in reports for word in report.unseen]
    folded = fold(events, mapping, _context(provider, call_id or ""))
    if folded is None:
        return {"failed": failed, "unseen": unseen, "message": None, "errors": []}
    checked = validate(folded.message, now=RECEIVED_AT)
    return {
        "failed": failed + folded.report.failed,
        "unseen": unseen + folded.unseen,
        "message": checked.message.to_dict() if checked.message else None,
        "errors": [error.to_dict() for error in checked.errors],
        "transcript": folded.artifacts.get("transcript", _told_transcript(events)),
    }


def _told_transcript(events: list[Event]) -> Any:
    told = [event.fragment.values.get("transcript") for event in sorted(events, key=lambda event: event.order)]
    return next((value.value for value in reversed(told) if value is not None), None)


def _context(provider: ProviderSpec, call_id: str) -> Context:
    prices = PriceList(row for price in provider.prices for row in price.rows())
    return Context(
        provider.slug,
        provider.name,
        call_id,
        "standard_30_days",
        _pseudonym,
        prices=lambda model, at_iso: prices.at(model, datetime.fromisoformat(at_iso)),
    )


def _event(identity: Identity, fragment: Fragment, body: bytes) -> Event:
    return Event(
        fragment=fragment,
        name=identity.event,
        rank=identity.spec.rank,
        opens_call=identity.spec.opens_call,
        proves=identity.spec.proves,
        occurred_at=identity.occurred_at,
        digest=hashlib.sha256(body).hexdigest(),
        received_at=RECEIVED_AT,
    )


def _pseudonym(number: str) -> str:
    return f"psn_{hmac.new(PSEUDONYM_KEY, number.encode(), hashlib.sha256).hexdigest()[:32]}"


def expected_files() -> Iterator[tuple[Path, str]]:
    """Each file of a stored result and the text that it should hold."""
    for slug in catalog.slugs():
        provider = catalog.load(slug)
        mapping = Mapping(provider.mapping)
        results = {name: outcome(provider, mapping, body) for name, body in sample_bodies(slug).items()}
        results |= {name: outcome_of_call(provider, mapping, of) for name, of in sample_calls(slug).items()}
        for name, result in results.items():
            text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
            yield catalog.FOLDER / "samples" / slug / f"{name}.expected.json", text
