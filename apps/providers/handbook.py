"""docs/providers.md, written from the catalogue: what is understood, what is not, and which samples pass.

Reads files only, so it says the same on every machine; what runs in an installation is told by matrix.py.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from apps.providers import catalog, golden
from apps.providers.engine.errors import EngineError
from apps.providers.engine.mapping import Mapping
from apps.providers.engine.signatures import HmacScheme, Scheme, TokenScheme
from apps.providers.engine.spec import ProviderSpec
from apps.providers.matrix import filled_fields

INTRODUCTION = """# Providers

Written by `manage.py provider_docs --write` from the catalogue; do not edit it. What runs in an installation may
differ, since mappings can be edited there: `GET /api/comparison-matrix` tells.
"""
DISPOSITIONS = {"map": "mapped", "store": "stored", "ignore": "acknowledged"}


def page() -> str:
    """The whole page. Raises catalog.CatalogError."""
    specs = [catalog.load(slug) for slug in catalog.slugs()]
    checked = {spec.slug: list(_samples(spec)) for spec in specs}
    overview = _table(
        ("provider", "proof", "events", "rules", "VCP fields", "samples that pass"),
        (_overview(spec, checked[spec.slug]) for spec in specs),
    )
    parts = [INTRODUCTION, overview, *(_provider(spec, checked[spec.slug]) for spec in specs)]
    return "\n".join(parts)


# --- one provider -------------------------------------------------------------------------------------------


def _overview(spec: ProviderSpec, samples: list[list[str]]) -> list[str]:
    mapped = sum(event.disposition == "map" for event in spec.mapping.events)
    passing = sum(row[-1] == "yes" for row in samples)
    return [
        f"[{spec.name}](#{_anchor(spec.name)})",
        _proof_in_short(spec.auth),
        f"{len(spec.mapping.events)}, {mapped} mapped",
        str(len(spec.mapping.rules)),
        "all" if spec.mapping.format == "vcp" else str(len(_filled(spec))),
        f"{passing} of {len(samples)}",
    ]


def _provider(spec: ProviderSpec, samples: list[list[str]]) -> str:
    """The chapter of one provider; sections without content are left out."""
    sections = [
        ("", _prose(_links(spec))),
        ("", _prose(spec.notes.strip())),
        ("Proof", _prose(proof_in_words(spec.auth))),
        ("Stricter than the provider", _list(spec.stricter)),
        ("Events", _table(("event", "our word", "what becomes of it", "what it is"), map(_event, spec.mapping.events))),
        ("VCP fields filled", _fields(spec)),
        ("Known gaps", _list(spec.gaps)),
        ("Samples", _table(("sample", "event", "result", "as stored"), samples)),
        ("Sources", _list(spec.sources)),
    ]
    chapters = [f"### {title}\n\n{text}" if title else text for title, text in sections if text]
    return "\n".join([f"## {spec.name}\n", *chapters])


def _links(spec: ProviderSpec) -> str:
    named = [("website", spec.website), ("documentation", spec.docs_url), ("API", spec.api_base_url)]
    named += [(page.kind.replace("_", " "), page.url) for page in spec.pages if page.kind not in ("docs", "api")]
    links = [f"[{name}]({url})" for name, url in named if url]
    return " · ".join([f"`{spec.slug}`", *links])


def _event(event: Any) -> list[str]:
    becomes = DISPOSITIONS[event.disposition] + (", opens the call" if event.opens_call else "")
    return [f"`{event.name}`", event.kind, becomes, event.description]


def _fields(spec: ProviderSpec) -> str:
    if spec.mapping.format == "vcp":
        return _prose("All: the payload is a message already.")
    groups = groupby(_filled(spec), key=lambda field: field.partition(".")[0])
    rows = (
        [f"`{section}`", ", ".join(f"`{field.partition('.')[2]}`" for field in fields)] for section, fields in groups
    )
    return _table(("section", "fields"), rows)


def _filled(spec: ProviderSpec) -> list[str]:
    ruled = [rule.target for rule in spec.mapping.rules]
    return filled_fields(ruled + [decision.target for decision in spec.mapping.decisions])


def _samples(spec: ProviderSpec) -> Iterator[list[str]]:
    """For each sample its event, what it comes to, and whether that is what is stored beside it."""
    mapping = Mapping(spec.mapping)
    for name, body in golden.sample_bodies(spec.slug).items():
        stored = catalog.FOLDER / "samples" / spec.slug / f"{name}.expected.json"
        try:
            told = golden.outcome(spec, mapping, body)
        except EngineError as error:
            yield [f"`{name}`", "-", str(error), "no"]
            continue
        same = stored.exists() and json.loads(stored.read_bytes()) == told
        yield [f"`{name}`", f"`{told['event']}`", _result(told), "yes" if same else "no"]


def _result(told: dict[str, Any]) -> str:
    if told["disposition"] != "map":
        return DISPOSITIONS[told["disposition"]]
    if told["message"] is None:
        return "part of its call's message"
    return f"a message: {told['message']['vcp_payload']['outcomes']['objective']['status']}"


# --- signatures in words ------------------------------------------------------------------------------------


def _proof_in_short(scheme: Scheme) -> str:
    if isinstance(scheme, HmacScheme):
        return f"HMAC-{scheme.algorithm.upper()}"
    return "secret in a header" if isinstance(scheme, TokenScheme) else "none"


def proof_in_words(scheme: Scheme) -> str:
    """How a delivery is proven, as a sentence or three."""
    if isinstance(scheme, HmacScheme):
        return _hmac_in_words(scheme)
    if isinstance(scheme, TokenScheme):
        word = "" if scheme.prefix is None else f"`{scheme.prefix}` and "
        may = " (the bare secret is taken, too)" if scheme.prefix and not scheme.prefix_required else ""
        return (
            f"Header `{scheme.header}` holds {word}the secret itself{may}. "
            "It tells who sends, not what was sent or when: neither body nor time is covered."
        )
    return "None: whoever knows the address can post."


def _hmac_in_words(scheme: HmacScheme) -> str:
    looks = f"`{(scheme.separator or '').join(scheme.items)}`"
    key = {"text": "as text", "base64": "decoded from base64", "whsec": "after `whsec_`, decoded from base64"}
    said = (
        f"Header `{scheme.header}` holds {looks}: HMAC-{scheme.algorithm.upper()} in {scheme.encoding} over "
        f"`{scheme.signed}`, keyed with the secret {key[scheme.secret_encoding]}."
    )
    if "{timestamp}" not in scheme.signed:
        return f"{said} No time is signed: a repeated delivery is found by its id or the hash of its body."
    past, future = scheme.tolerance_past_sec, scheme.tolerance_future_sec
    units = {"s": " (seconds)", "ms": " (milliseconds)", "iso": " (ISO 8601)"}
    place = f" It stands in `{scheme.timestamp_header}`." if scheme.timestamp_header else ""
    unit = units.get(scheme.timestamp_unit, "")
    return f"{said} The signed time{unit} may be {past} s old and {future} s ahead.{place}"


# --- Markdown -----------------------------------------------------------------------------------------------


def _table(heads: tuple[str, ...], rows: Iterable[Iterable[str]]) -> str:
    lines = [f"| {' | '.join(_cell(text) for text in row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}", *lines, ""]) if lines else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _list(items: Iterable[str]) -> str:
    lines = [f"- {' '.join(item.split())}" for item in items]
    return "\n".join([*lines, ""]) if lines else ""


def _prose(text: str) -> str:
    return f"{text}\n" if text else ""


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")
