"""How bad is a finding, and of what type? Rules in order, of which the first that fits decides; those of a new
installation stand here too.

Pure: the operator's rules and what was found come in as plain data. Rows, channels and telling are for others.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from apps.monitoring import http_statuses


@dataclass(frozen=True)
class Rule:
    """A severity rule. An empty condition fits everything; all that are set must fit. See models.SeverityRule."""

    name: str
    severity: str
    change_type: str = ""  # empty: as found
    provider: str = ""
    priority: str = ""
    sources: Sequence[str] = ()
    change_types: Sequence[str] = ()
    states: Sequence[str] = ()
    statuses: str = ""
    words: Sequence[str] = ()
    url_pattern: str = ""
    min_changed_percent: int | None = None


@dataclass(frozen=True)
class FindingFacts:
    """What rules look at. `words` is the text that they search: the provider's own words, so changed lines, an entry's
    title and summary, an incident's name; a sentence of ours such as "2 lines removed" would speak for the provider.

    `breaking` is what the comparison of API descriptions says: True adds the word "breaking", False takes it away.
    """

    source: str
    change_type: str
    provider: str = ""
    priority: str = "normal"
    state: str = ""
    status_code: int | None = None
    words: str = ""
    url: str = ""
    changed_percent: float | None = None
    breaking: bool | None = None


@dataclass(frozen=True)
class Decision:
    """What the first rule that fits says. An empty `change_type` leaves the type as it was found."""

    rule: str
    severity: str
    change_type: str


def first_fit(rules: Sequence[Rule], finding: FindingFacts) -> Decision | None:
    """The decision of the first rule that fits; None if none does.

    A rule whose list of statuses cannot be read fits nothing, so one bad row never stops the others.
    """
    fitting = next((rule for rule in rules if _fits(rule, finding)), None)
    return Decision(fitting.name, fitting.severity, fitting.change_type) if fitting else None


def names_any(words: Iterable[str], text: str) -> bool:
    """Whether the text names one of the words as a whole word, whatever its case.

    Letters and digits make words, so `api` stands in "API-key" and in "apiKey" but not in "capital", and `post_call` in
    "post_call_transcription". A plural in -s is the same word. Words apart by spaces may stand apart by `-` or `_` as
    well. What follows "non-" is not named: "non-breaking" is not `breaking`.
    """
    searched = _searched(text)
    return any(_stands_in(tuple(word.lower().split()), searched) for word in words)


def what_type(source: str, words: str) -> str:
    """The change type of a finding before any rule is asked, by what found it and by the provider's words.

    A webhook named anywhere makes it `webhook_format`. Entries of change logs and feeds are sorted by their words.
    """
    if source in ("health", "status"):
        return "service_status"
    by_words: dict[str, tuple[str, ...]] = {"webhook_format": WEBHOOK_WORDS}
    if source in ("changelog", "feed"):
        by_words |= {"deprecation": DEPRECATION_WORDS, "pricing": PRICING_WORDS, "feature_addition": ADDITION_WORDS}
    found = next((one for one, named in by_words.items() if names_any(named, words)), "")
    return found or ("api_schema" if source == "openapi" else "documentation")


_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@lru_cache(maxsize=2)
def _searched(text: str) -> str:
    """Each rule searches the same text, so it is made ready once."""
    return f"{text}\n{_HUMP.sub('_', text)}".lower()


def _stands_in(parts: tuple[str, ...], searched: str) -> bool:
    # The pattern is dear, and most words stand nowhere.
    return bool(parts) and all(part in searched for part in parts) and bool(_pattern(parts).search(searched))


@lru_cache(maxsize=1024)
def _pattern(parts: tuple[str, ...]) -> re.Pattern[str]:
    body = r"[\s_-]+".join(re.escape(part) for part in parts)
    before = r"(?<![^\W_])(?<!\bnon-)(?<!\bnon )(?<!\bnon_)" if parts[0][0].isalnum() else ""
    after = r"s?(?![^\W_])" if parts[-1][-1].isalnum() else ""
    return re.compile(before + body + after)


def _fits(rule: Rule, finding: FindingFacts) -> bool:
    # The search for words is the dearest, so it stands last.
    return (
        rule.provider in ("", finding.provider)
        and rule.priority in ("", finding.priority)
        and (not rule.sources or finding.source in rule.sources)
        and (not rule.change_types or finding.change_type in rule.change_types)
        and (not rule.states or finding.state in rule.states)
        and _fits_status(rule.statuses, finding.status_code)
        and (not rule.url_pattern or fnmatchcase(finding.url.lower(), rule.url_pattern.lower()))
        and _fits_size(rule.min_changed_percent, finding.changed_percent)
        and (not rule.words or _names(rule.words, finding))
    )


def _fits_status(statuses: str, code: int | None) -> bool:
    if not statuses.strip():
        return True
    try:
        return code is not None and http_statuses.includes(statuses, code)
    except ValueError:
        return False


def _fits_size(least: int | None, percent: float | None) -> bool:
    return least is None or (percent is not None and percent > least)


def _names(words: Sequence[str], finding: FindingFacts) -> bool:
    if finding.breaking is not None:
        plain = [word for word in words if word.strip().lower() != "breaking"]
        if finding.breaking and len(plain) < len(words):
            return True
        words = plain
    return names_any(words, finding.words)


WEBHOOK_WORDS = ("webhook", "post_call", "end-of-call", "callback")
DEPRECATION_WORDS = (
    "deprecated", "deprecate", "deprecating", "deprecation", "removed", "removal", "sunset", "sunsetting",
    "discontinued", "retired", "end of life", "no longer supported", "no longer available",
)  # fmt: skip
PRICING_WORDS = ("pricing", "price", "priced", "billing", "billed", "$0", "per 1k tokens", "per million tokens")
ADDITION_WORDS = ("new", "added", "add", "adding", "introduce", "introduced", "introducing", "launch", "launched",
                  "launching", "now support", "now supported", "now available", "released")  # fmt: skip

_LIVE = ["health", "status"]
_PAGES = ["docs", "openapi", "changelog", "feed"]
_CONTENT = ["documentation", "api_schema", "webhook_format", "pricing", "feature_addition", "deprecation"]
_TOLD = {"sources": _PAGES, "change_types": _CONTENT}


def _in_order(*rules: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Positions leave room for an operator's rules between them."""
    return tuple({"position": 10 * n, **rule} for n, rule in enumerate(rules, start=1))


# What runs comes first, then what is written: critical before high before medium. What none of them fits is low.
DEFAULT_RULES: tuple[dict[str, Any], ...] = _in_order(
    {"name": "Service is down", "sources": _LIVE, "states": ["down"],
     "severity": "critical", "change_type": "service_status"},
    {"name": "Page answers 4xx", "sources": _PAGES, "states": ["down"], "statuses": "400-499", "severity": "medium"},
    {"name": "Page is down", "sources": _PAGES, "states": ["down"], "severity": "high"},
    {"name": "Service answers with a redirect", "sources": ["health"], "states": ["degraded"], "statuses": "300-399",
     "severity": "medium", "change_type": "service_status"},
    {"name": "Service is degraded", "sources": [*_LIVE, *_PAGES], "states": ["degraded"], "severity": "high"},
    {"name": "Back to normal", "states": ["up"], "severity": "medium"},
    {"name": "State is flapping", "change_types": ["service_status"], "words": ["flapping"], "severity": "high"},
    {"name": "Provider tells of a critical incident", "sources": ["status"], "words": ["critical incident"],
     "severity": "critical"},
    {"name": "Provider tells of a major incident", "sources": ["status"], "words": ["major incident"],
     "severity": "high"},
    {"name": "Provider tells of a minor incident", "sources": ["status"], "words": ["minor incident"],
     "severity": "medium"},
    {"name": "API description breaks clients", "sources": ["openapi"], "change_types": _CONTENT,
     "words": ["breaking"], "severity": "critical"},
    {"name": "Feed tells of an outage", "sources": ["feed"], "change_types": _CONTENT, "words": ["outage", "down"],
     "severity": "critical", "change_type": "service_status"},
    {"name": "Feed tells of something critical", "sources": ["feed"], "change_types": _CONTENT,
     "words": ["critical", "security"], "severity": "critical"},
    {"name": "Webhook changed", **_TOLD, "words": list(WEBHOOK_WORDS), "severity": "high",
     "change_type": "webhook_format"},
    {"name": "Deprecated or removed", **_TOLD, "words": list(DEPRECATION_WORDS), "severity": "high",
     "change_type": "deprecation"},
    {"name": "Breaking change announced", **_TOLD, "words": ["breaking", "breaks", "api change", "incompatible"],
     "severity": "high"},
    {"name": "API or error named", "sources": ["docs", "changelog"], "change_types": _CONTENT,
     "words": ["api", "error"], "severity": "high"},
    {"name": "More than half of the page changed", **_TOLD, "min_changed_percent": 50, "severity": "high"},
    {"name": "Price changed", **_TOLD, "words": list(PRICING_WORDS), "severity": "medium", "change_type": "pricing"},
    {"name": "Something new", "sources": ["changelog", "feed"], "change_types": _CONTENT,
     "words": list(ADDITION_WORDS), "severity": "medium", "change_type": "feature_addition"},
    {"name": "API description changed", "sources": ["openapi"], "change_types": _CONTENT, "severity": "medium"},
    {"name": "New, updated, changed or modified", **_TOLD, "words": ["new", "updated", "changed", "modified"],
     "severity": "medium"},
    {"name": "More than a fifth of the page changed", **_TOLD, "min_changed_percent": 20, "severity": "medium"},
)  # fmt: skip
