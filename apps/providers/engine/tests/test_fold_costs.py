"""Costs by the price list: when a call is folded, from what its events have collected."""

from dataclasses import replace
from decimal import Decimal

import pytest

from apps.providers.engine.fold import fold
from apps.providers.engine.prices import Rate
from apps.providers.engine.tests import specs
from vcp import validate

ROLE = "outcomes.model_outcome_attribution.roles.{}.cost_usd"
USAGE = {"collections": [{"name": "uses", "source": "uses", "key": "id"}],
         "estimates": [
             {"target": ROLE.format(role), "rows": "collected.uses", "model": f"model_selection.roles.{role}.chosen",
              "units": {name: {"path": name}}} for role, name in (("V2V", "tokens"), ("STT", "seconds"))]}  # fmt: skip
MODELS = [{"source": f"models.{role}", "target": f"model_selection.roles.{role}.chosen"} for role in ("V2V", "STT")]
PRICES = {"big": {"tokens": Rate(Decimal("4"))}, "ears": {"seconds": Rate(Decimal("0.06"), "minute")}}


def priced(*uses, models=None, corrections=None, rules=(), prices=PRICES, asked=None):
    """The attribution and history of a call with this usage; `asked` takes what the price list is asked for."""

    def rates(model, at_iso):
        if asked is not None:
            asked.append((model, at_iso))
        return prices.get(model)

    made = specs.mapping(*MODELS, *rules, **USAGE)
    payload = {"type": "begin", "id": "c1", "call": {"started": specs.START_MS}, "uses": list(uses),
               "models": models or {"V2V": "big", "STT": "ears"}}  # fmt: skip
    context = replace(specs.context(), prices=rates, corrections=corrections or {})
    found = fold([specs.event(made, payload)], made, context)
    assert validate(found.message, now=specs.RECEIVED_AT).errors == []
    told = found.message["vcp_payload"]
    steps = [
        step for step in told["provenance"]["transformation_history"] if step.startswith(("estimated", "inferred"))
    ]
    return told["outcomes"]["model_outcome_attribution"], steps


def test_what_usage_costs_is_an_estimate_and_says_so():
    attribution, steps = priced({"id": "1", "tokens": 1000}, {"id": "2", "tokens": 500, "seconds": 90})
    costs = {role: about["cost_usd"] for role, about in attribution["roles"].items()}
    assert costs == {"V2V": 0.006, "STT": 0.09}
    assert attribution["total_cost_usd"] == 0.096
    assert attribution["kpis"] == {"cost_per_call_usd": 0.096, "cost_estimated": True}
    total = "outcomes.model_outcome_attribution.total_cost_usd"
    assert steps == [f"estimated:{target}" for target in (ROLE.format("STT"), ROLE.format("V2V"), total)]


def test_prices_are_those_of_the_call_s_start():
    asked = []
    priced({"id": "1", "tokens": 1000}, asked=asked)
    assert asked == [("big", specs.START), ("ears", specs.START)]


@pytest.mark.parametrize(
    ("models", "costs", "total"),
    [
        ({"V2V": "big"}, {"V2V": 0.004}, 0.004),
        ({"V2V": "big", "STT": "unheard of"}, {"V2V": 0.004}, 0.004),
        ({"V2V": "unheard of", "STT": "ears"}, {"STT": 0.06}, None),
        ({"V2V": "unheard of"}, {}, None),
        ({"other": "big"}, {}, None),
    ],
)
def test_a_model_without_a_price_costs_nothing_that_is_known(models, costs, total):
    attribution, steps = priced({"id": "1", "tokens": 1000, "seconds": 60}, models=models)
    found = {role: about["cost_usd"] for role, about in attribution["roles"].items() if "cost_usd" in about}
    assert (found, attribution.get("total_cost_usd")) == (costs, total)
    assert ("cost_estimated" in attribution["kpis"]) is (total is not None)
    assert len(steps) == len(costs) + (total is not None)


def test_without_usage_nothing_is_estimated():
    assert priced({"id": "1"}) == ({"roles": {}, "kpis": {}}, [])


def test_a_cost_that_was_told_is_no_estimate():
    told = {"source": "uses[0].usd", "target": "outcomes.model_outcome_attribution.total_cost_usd"}
    attribution, steps = priced({"id": "1", "tokens": 1000, "usd": 7}, rules=[told], models={"V2V": "big"})
    assert attribution["total_cost_usd"] == 7
    assert attribution["kpis"] == {}
    assert steps == [f"estimated:{ROLE.format('V2V')}"]


def test_a_correction_goes_before_an_estimate_and_counts_in_the_total():
    attribution, _ = priced({"id": "1", "tokens": 1000, "seconds": 60}, corrections={ROLE.format("V2V"): 1.5})
    assert attribution["total_cost_usd"] == 1.56


def test_an_estimate_beyond_what_can_be_kept_is_left_out():
    attribution, steps = priced({"id": "1", "tokens": 9 * 10**14}, models={"V2V": "big"})
    assert (attribution["roles"], steps) == ({}, [])
