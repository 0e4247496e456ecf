"""Which parts of a provider's published mapping a text names: fields that rules read, events, headers of the proof.

Names of one plain word (`cost`) count only where they are written as code or as a path, and words that every API uses
(`id`, `status`) only with the name before them (`call.id`): a change that names nothing of ours must link to nothing.
"""

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from apps.providers.models import MappingRule, MappingVersion, Provider

MAX_TEXT = 500_000
MAX_RULES = 50
MAX_EVENTS = 20
# Fields of these names stand in every API there is.
GENERIC = frozenset(
    ("id", "type", "name", "status", "data", "value", "text", "content", "message", "messages", "role", "time",
     "timestamp", "event", "events", "url", "error", "errors", "result", "results", "metadata", "items", "item", "key",
     "code", "object", "state", "body", "call", "user", "model", "start", "end", "from", "to", "created_at")
)  # fmt: skip

_URL = re.compile(r"https?://\S+")
_NAME = re.compile(r"[^\W\d][\w-]*")
_DOTTED = re.compile(r"[^\W\d][\w-]*(?:\.[^\W\d][\w-]*)+")
# Right after a quote, a bracket, or the dot or slash of a path; or right before a quote, a bracket or a dot.
_AS_CODE = re.compile(r"""(?:["'`]|(?<=\w)[./]|\[)([^\W\d][\w-]*)|([^\W\d][\w-]*)(?=["'`\[]|\.[^\W\d])""")
_PAIR = re.compile(r"(?=(?<![\w-])([^\W\d][\w-]*)(?:\[[^\]\s]{0,20}\])?\.([^\W\d][\w-]*))")
_COMPOUND = re.compile(r"\w[_-]\w|[a-z0-9][A-Z]")
_ALONE = re.compile(r"[^\W\d][\w-]*(?![\w-])(?!\.[^\W\d])")
_FILTER = re.compile(r"\[\?.*?\](?=[.\[]|$)")
_UNION = re.compile(r"\[((?:'[^']*',?)+)\]$")


class Named:
    """The names that a text holds, found once, so that each rule costs a look-up."""

    def __init__(self, text: str) -> None:
        text = _URL.sub(" ", text[:MAX_TEXT])
        words = {word.strip("-") for word in _NAME.findall(text)}
        self.words = words | {part for word in words for part in word.split("-")}
        self.alone = {word.strip("-") for word in _ALONE.findall(text)}
        self.lower = {word.lower() for word in self.words}
        self.dotted = set(_DOTTED.findall(text))
        self.code = {word.strip("-") for pair in _AS_CODE.findall(text) for word in pair if word}
        self.pairs = set(_PAIR.findall(text))

    def field(self, name: str, before: str = "") -> bool:
        """Whether it names this field, which stands below `before`."""
        if name.lower() in GENERIC:
            return (before, name) in self.pairs
        return name in (self.words if _COMPOUND.search(name) else self.code)

    def event(self, event: str) -> bool:
        """Whether it names the event, or one that its glob takes; `*` alone is no name."""
        if "*" in event or "?" in event:
            names = self.dotted if "." in event else {word for word in self.words if _COMPOUND.search(word)}
            return bool(event.strip("*?.")) and any(fnmatchcase(name, event) for name in names)
        return event in self.dotted if "." in event else self.field(event)


def affected(provider_slug: str, text: str) -> dict[str, Any]:
    """`{"version": 3, "events": […], "rules": [{"rule": 12, "event", "source", "target"}], "headers": […]}`.

    `rule` is its place in the version, from 0. Empty where the text names nothing of the mapping, or none is published.
    """
    version = MappingVersion.objects.filter(
        provider__slug=provider_slug, state=MappingVersion.State.PUBLISHED
    ).select_related("provider").first()  # fmt: skip
    if version is None:
        return {}
    named = Named(text)
    found = {
        "events": [row.event for row in version.webhook_schemas.all() if named.event(row.event)][:MAX_EVENTS],
        "rules": list(_rules(version.rules.all(), named))[:MAX_RULES],
        "headers": [name for name in _headers(version.provider) if name.lower() in named.lower],
    }
    return {"version": version.number, **found} if any(found.values()) else {}


def _rules(rules: Iterable[MappingRule], named: Named) -> Iterator[dict[str, Any]]:
    for number, rule in enumerate(rules):
        if _is_named(rule.source, named):
            yield {"rule": number, "event": rule.event, "source": rule.source, "target": rule.target}


def _is_named(source: str, named: Named) -> bool:
    """By its last key, or by a name on the way that is no plain word and stands without a name below it."""
    *way, last = _keys(source)
    before = way[-1][0] if way else ""
    return any(named.field(name, before) for name in last) or any(
        _COMPOUND.search(name) and name in named.alone for [name] in way
    )


def _keys(source: str) -> list[list[str]]:
    """The keys of a path, `[["call"], ["cost"]]`; the last may be several (`['from','to']`)."""
    path = _FILTER.sub("", source)
    union = _UNION.search(path)
    last = re.findall(r"'([^']*)'", union[1]) if union else []
    way = [[name] for name in _NAME.findall(path[: union.start()] if union else path)]
    return [*way, last] if last else way or [[]]


def _headers(provider: Provider) -> list[str]:
    """The headers that the provider's proofs are read from, but for those that every API has."""
    schemes = [provider.auth, *(option.get("scheme", {}) for option in provider.auth_options)]
    names = (str(value) for scheme in schemes for key, value in scheme.items() if key.endswith("header") and value)
    return [name for name in dict.fromkeys(names) if name.lower() != "authorization"]
