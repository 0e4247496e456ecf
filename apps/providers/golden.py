"""What each catalogue sample comes to, stored beside it as <sample>.expected.json: a change of the mapping then shows.

Only the catalogue and the engine take part: each sample is redacted, mapped and folded as a call of its own.
"""

import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from apps.providers import catalog
from apps.providers.engine.fold import Context, Event, fold
from apps.providers.engine.mapping import Fragment, Identity, Mapping
from apps.providers.engine.payload import parse
from apps.providers.engine.spec import ProviderSpec
from vcp import validate

# Fixed, so that the result is the same on every machine and in every year.
RECEIVED_AT = datetime(2026, 11, 1, tzinfo=UTC)
PSEUDONYM_KEY = b"known to every reader"


def sample_bodies(slug: str) -> dict[str, bytes]:
    """The samples of a provider as they would be posted, by name."""
    return {name: (catalog.FOLDER / "samples" / slug / f"{name}.json").read_bytes() for name in catalog.samples(slug)}


def outcome(provider: ProviderSpec, mapping: Mapping, body: bytes) -> dict[str, Any]:
    """Event, disposition, message and transcript of one body; `message` is null when it makes none on its own.

    Raises EngineError when it cannot be mapped.
    """
    payload = parse(mapping.redact(body, parse(body)))
    identity = mapping.identify(payload)
    told: dict[str, Any] = {"event": identity.event, "disposition": identity.spec.disposition}
    if identity.spec.disposition != "map":
        return told
    _, fragment, report = mapping.apply(payload, identity)
    event = _event(identity, fragment, body)
    return told | {"failed": report.failed, "unseen": report.unseen} | _message(provider, mapping, identity, event)


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


def _message(provider: ProviderSpec, mapping: Mapping, identity: Identity, event: Event) -> dict[str, Any]:
    context = Context(provider.slug, provider.name, identity.call_id or "", "standard_30_days", _pseudonym)
    folded = fold([event], mapping, context)
    if folded is None:
        return {"message": None, "errors": []}
    checked = validate(folded.message, now=RECEIVED_AT)
    transcript = event.fragment.values.get("transcript")
    return {
        "message": checked.message.to_dict() if checked.message else None,
        "errors": [error.to_dict() for error in checked.errors],
        "transcript": transcript.value if transcript else None,
    }


def _pseudonym(number: str) -> str:
    return f"psn_{hmac.new(PSEUDONYM_KEY, number.encode(), hashlib.sha256).hexdigest()[:32]}"


def expected_files() -> Iterator[tuple[Path, str]]:
    """Each file of a stored result and the text that it should hold."""
    for slug in catalog.slugs():
        provider = catalog.load(slug)
        mapping = Mapping(provider.mapping)
        for name, body in sample_bodies(slug).items():
            text = json.dumps(outcome(provider, mapping, body), indent=2, ensure_ascii=False) + "\n"
            yield catalog.FOLDER / "samples" / slug / f"{name}.expected.json", text
