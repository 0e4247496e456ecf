"""Every rule of the catalogue is held by a golden file: with a wrong path or a wrong unit, some sample comes to
something else."""

from functools import cache

import pytest

from apps.providers import catalog, golden
from apps.providers.engine.errors import EngineError
from apps.providers.engine.mapping import Mapping

NOWHERE = "no.such.place"
# What a careless hand writes instead, by transform and argument.
WRONG_UNITS = {
    ("epoch", "unit"): {"ms": "s", "s": "ms", "auto": "s"},
    ("scale", "by"): 60,
    ("total", "by"): 60,
}


def with_rule(spec, number, **changes):
    """The mapping with one rule changed."""
    rules = list(spec.rules)
    rules[number] = type(rules[number]).model_validate(rules[number].model_dump(by_alias=True) | changes)
    return spec.model_copy(update={"rules": tuple(rules)})


def mutants(spec):
    """Each (what is wrong, mapping) that can be made of a mapping by one mistake in one rule."""
    for number, rule in enumerate(spec.rules):
        yield f"{number} {rule.describe()}: path", with_rule(spec, number, source=NOWHERE)
        for (transform, name), wrong in WRONG_UNITS.items():
            if rule.transform == transform:
                told = rule.args.get(name, "ms" if name == "unit" else 1)
                other = wrong[told] if isinstance(wrong, dict) else float(str(told)) * wrong
                args = {**rule.args, name: other}
                yield f"{number} {rule.describe()}: {name}", with_rule(spec, number, args=args)


@cache
def bodies(slug):
    return golden.sample_bodies(slug)


def outcome(provider, mapping, body):
    try:
        return golden.outcome(provider, mapping, body)
    except EngineError as error:
        return {"error": str(error)}


@cache
def good(slug):
    provider = catalog.load(slug)
    mapping = Mapping(provider.mapping)
    return {name: outcome(provider, mapping, body) for name, body in bodies(slug).items()}


@pytest.mark.parametrize("slug", catalog.slugs())
def test_a_mistake_in_any_rule_shows_in_a_golden_file(slug):
    provider = catalog.load(slug)
    unnoticed = []
    for what, wrong in mutants(provider.mapping):
        mapping = Mapping(wrong)
        if all(outcome(provider, mapping, body) == good(slug)[name] for name, body in bodies(slug).items()):
            unnoticed.append(what)
    assert unnoticed == []
