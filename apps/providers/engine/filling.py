"""How the targets of one event are filled: each from the first of its rules that yields. Written out as one function
for all rules of an event, since what stands here is done for every rule of every payload.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

from pydantic import ValidationError

from apps.providers.engine.errors import MappingError, TransformError
from apps.providers.engine.fragment import Fragment, Report, Value
from apps.providers.engine.paths import MISSING, to_jsonpath
from apps.providers.engine.sources import LATER, Sources
from apps.providers.engine.spec import RuleSpec
from apps.providers.engine.transforms import Quick, UnseenWord
from apps.providers.engine.written import made

Json = Any
Convert = Callable[[Json], Json]
# Takes the values that the sources have read. Raises MappingError when a required part is absent or cannot be read.
Fill = Callable[[list[Json], Fragment, Report], None]
# How a value came to be. A stronger basis is never overwritten by a weaker one.
OBSERVED, DERIVED, DEFAULT = "observed", "derived", "default"
# What a value may raise on its way through a transform into its target.
UNFIT = (TransformError, ValidationError, RecursionError)


class Rule(NamedTuple):
    """A RuleSpec with its place in the sources. `fit` raises ValidationError or TransformError; None: fits as it is."""

    number: int
    spec: RuleSpec
    slot: int
    basis: str
    when: list[int]
    # Where the converted value is kept while this payload is read, if several rules convert the same in the same way.
    shared: int | None
    convert: Convert
    fit: Convert | None
    # For the values met most often, what spares them the call of `convert`, and of `fit`.
    quick: Quick | None


class Target(NamedTuple):
    """The rules of one target. `falls_back`: where none of them yields there is a default, or the event fails."""

    name: str
    rules: list[Rule]
    falls_back: bool


def compile_fill(targets: Iterable[Target], sources: Sources) -> Fill:
    """A function that fills these targets from what `sources` has read of a payload, in their order."""
    names: dict[str, Any] = {
        "at": sources.at,
        "hold": sources.hold,
        "LATER": LATER,
        "MISSING": MISSING,
        "UNFIT": UNFIT,
        "UnseenWord": UnseenWord,
        "convert_once": convert_once,
        "take_default": take_default,
        "fail": fail,
        "fall_back": fall_back,
        # As Value(…), in a third of the time: one is made for every field of every payload.
        "value_of": partial(tuple.__new__, Value),
    }
    lines = ["def run(values, fragment, report):", " filled = fragment.values"]
    lines.append(" used, missing = report.used.append, report.missing.append")
    for place, target in enumerate(targets):
        lines.append(" while True:")
        for rule in target.rules:
            lines += [f"  {line}" for line in _rule(rule, sources, names)]
        if target.falls_back:
            names[f"rules{place}"] = target.rules
            lines.append(f"  fall_back(rules{place}, fragment, report)")
        lines.append("  break")
    fill: Fill = made(lines, names)
    return fill


def _rule(rule: Rule, sources: Sources, names: dict[str, Any]) -> Iterator[str]:
    """The lines for one rule, in a loop that ends once its target is filled."""
    number, when = rule.number, f"when{rule.number}"
    names |= {f"rule{number}": rule, f"convert{number}": rule.convert, f"fit{number}": rule.fit, when: rule.when}
    indent = ""
    if rule.when:
        test = f"values[{rule.when[0]}]"
        # One condition, asked before: its answer is there.
        known = f"({test} if {test} is not LATER else hold({when}, values))"
        yield f"if {known if len(rule.when) == 1 else f'hold({when}, values)'}:"
        indent = " "
    yield f"{indent}value = values[{rule.slot}]"
    if sources.is_searched(rule.slot):
        yield f"{indent}if value is LATER: value = at({rule.slot}, values)"
    yield f"{indent}if value is MISSING: missing({number})"
    if rule.quick is not None:
        names[f"given{number}"] = rule.quick.given
        test, result = (text.replace("GIVEN", f"given{number}") for text in rule.quick[:2])
        yield f"{indent}elif {test}: {_stored(rule, result)}"
    yield f"{indent}else:"
    yield from (f"{indent} {line}" for line in _conversion(rule))


def _stored(rule: Rule, result: str) -> str:
    """Fills the target and ends its loop."""
    value = f"value_of(({rule.basis!r}, {rule.number}, {result}))"
    return f"filled[{rule.spec.target!r}] = {value}; used({rule.number}); break"


def _conversion(rule: Rule) -> Iterator[str]:
    number = rule.number
    yield "try:"
    yield (
        f" value = convert{number}(value)"
        if rule.shared is None
        else f" value = convert_once(rule{number}, value, values)"
    )
    if rule.fit is not None:
        yield f" if value is not MISSING: value = fit{number}(value)"
    yield "except UnseenWord as unseen:"
    yield f" if take_default(rule{number}, unseen, fragment, report): break"
    yield "except UNFIT as error:"
    yield f" fail(rule{number}, error, report)"
    yield "else:"
    yield f" if value is not MISSING: {_stored(rule, 'value')}"


# --- what the function calls ------------------------------------------------------------------------------------------


def convert_once(rule: Rule, value: Json, values: list[Json]) -> Json:
    """What the first rule with this source and transform made of it. One that raises is asked again."""
    assert rule.shared is not None  # noqa: S101 - only rules that share are written so
    if values[rule.shared] is LATER:
        values[rule.shared] = rule.convert(value)
    return values[rule.shared]


def take_default(rule: Rule, unseen: UnseenWord, fragment: Fragment, report: Report) -> bool:
    """Fill a target with the default of the table that lacks the word, if it has one that fits."""
    report.unseen.append({"source": rule.spec.source, "word": str(unseen.word)[:100]})
    if unseen.default is MISSING:
        return False
    try:
        value = unseen.default if rule.fit is None else rule.fit(unseen.default)
    except UNFIT as error:
        fail(rule, error, report)
        return False
    fragment.values[rule.spec.target] = Value(DEFAULT, rule.number, value)
    report.defaulted.append(rule.number)
    return True


def fail(rule: Rule, error: Exception, report: Report) -> None:
    """Note a value that cannot be taken: it counts as missing, or the event fails if the rule is required."""
    reason = "does not fit the target's type" if isinstance(error, ValidationError) else str(error)
    path = to_jsonpath(rule.spec.source)
    if rule.spec.required:
        words = f"{rule.spec.source}: {reason}"
        raise MappingError("VCP_E004", words, path=path, rule=rule.spec.describe()) from error
    report.failed.append({"rule": rule.number, "path": path, "target": rule.spec.target, "error": reason})


def fall_back(rules: list[Rule], fragment: Fragment, report: Report) -> None:
    """Fill a target by the first default of its rules; without any, a required one fails the event."""
    for rule in rules:
        if rule.spec.default is not None:
            fragment.values[rule.spec.target] = Value(DEFAULT, rule.number, rule.spec.default)
            report.defaulted.append(rule.number)
            return
    required = next((rule.spec for rule in rules if rule.spec.required), None)
    if required is not None:
        words = f"{required.source} is missing; {required.target} needs it"
        path = to_jsonpath(required.source)
        raise MappingError("VCP_E005", words, path=path, rule=required.describe())
