"""Estimates of cost: exact sums by a price list, and None wherever the cost cannot be said."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from apps.providers.engine.prices import EstimateSpec, PriceList, PriceSpec, Rate, estimate, first_overlap

TARGET = "outcomes.model_outcome_attribution.roles.V2V.cost_usd"
INPUT, OUTPUT = "usage.input_token_details", "usage.output_token_details"
CACHED = f"{INPUT}.cached_tokens_details"
SPEC = {
    "target": TARGET,
    "rows": "collected.responses",
    "model": "model_selection.roles.V2V.chosen",
    "units": {
        "text_in": {"path": f"{INPUT}.text_tokens", "minus": f"{CACHED}.text_tokens"},
        "audio_in": {"path": f"{INPUT}.audio_tokens", "minus": f"{CACHED}.audio_tokens"},
        "image_in": {"path": f"{INPUT}.image_tokens", "minus": f"{CACHED}.image_tokens"},
        "text_cached": {"path": f"{CACHED}.text_tokens"},
        "audio_cached": {"path": f"{CACHED}.audio_tokens"},
        "image_cached": {"path": f"{CACHED}.image_tokens"},
        "text_out": {"path": f"{OUTPUT}.text_tokens"},
        "audio_out": {"path": f"{OUTPUT}.audio_tokens"},
    },
    "totals": {
        "usage.input_tokens": ["text_in", "audio_in", "image_in", "text_cached", "audio_cached", "image_cached"],
        f"{INPUT}.cached_tokens": ["text_cached", "audio_cached", "image_cached"],
        "usage.output_tokens": ["text_out", "audio_out"],
    },
}
PRICES = {
    "text_in": "4", "text_cached": "0.4", "text_out": "24",
    "audio_in": "32", "audio_cached": "0.4", "audio_out": "64",
}  # fmt: skip
RATES = {name: Rate(Decimal(usd)) for name, usd in PRICES.items()}


def row(text, audio, out_text, out_audio, cached=None, cached_total=None, **totals):
    """A response's usage; `cached` are (text, audio) tokens of the input."""
    details = {"text_tokens": text, "audio_tokens": audio, "image_tokens": 0}
    if cached is not None:
        details["cached_tokens_details"] = dict(zip(("text_tokens", "audio_tokens"), cached, strict=True))
    if cached_total is not None:
        details["cached_tokens"] = cached_total
    out = {"text_tokens": out_text, "audio_tokens": out_audio}
    return {"usage": {"input_token_details": details, "output_token_details": out, **totals}}


# The three responses of a recorded session: 1478 tokens.
SESSION = [
    row(119, 13, 30, 91, (64, 0), 64, input_tokens=132, output_tokens=121),
    row(260, 180, 24, 0, (192, 64), 256, input_tokens=440, output_tokens=24),
    row(330, 180, 41, 210, (256, 128), 384, input_tokens=510, output_tokens=251),
]


def priced(rows, model="m", rates=RATES, **changes):
    spec = EstimateSpec.model_validate(SPEC | changes)
    return estimate(spec, {"collected": {"responses": rows}}, model, {"m": rates}.get)


def test_a_recorded_session_costs_what_its_price_list_says():
    assert str(priced(SESSION)) == "0.028406"


@pytest.mark.parametrize(
    ("rows", "usd"),
    [
        ([row(1_000_000, 0, 0, 0)], "4.000000"),
        ([row(1_000_000, 0, 0, 0, (1_000_000, 0))], "0.400000"),
        ([row(0, 1_000_000, 0, 1_000_000)], "96.000000"),
        ([row(0, 0, 0, 0)], "0.000000"),
        # A response that failed early tells no usage and costs nothing.
        ([{"usage": None}, row(1_000_000, 0, 0, 0), {}], "4.000000"),
        ([row("1000000", 0, None, 0)], "4.000000"),
    ],
)
def test_units_are_charged_at_their_rates(rows, usd):
    assert str(priced(rows)) == usd


@pytest.mark.parametrize(
    ("tokens", "usd"), [(4, "0.000000"), (5, "0.000001"), (14, "0.000001"), (15, "0.000002"), (16, "0.000002")]
)
def test_half_a_millionth_is_rounded_up_and_less_down(tokens, usd):
    assert str(priced([row(tokens, 0, 0, 0)], rates={"text_in": Rate(Decimal("0.1"))})) == usd


def test_the_sum_is_rounded_and_not_its_parts():
    rates = {"text_in": Rate(Decimal("0.1"))}
    assert str(priced([row(4, 0, 0, 0)] * 10, rates=rates)) == "0.000004"


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([], id="no row"),
        pytest.param([{"usage": None}], id="no row with usage"),
        pytest.param({"usage": {}}, id="no list"),
        pytest.param(
            [row(1, 0, 0, 0), {"usage": {"input_token_details": {"image_tokens": 3}}}], id="a rate is missing"
        ),
        pytest.param([row("many", 0, 0, 0)], id="no number"),
        pytest.param([row(True, 0, 0, 0)], id="no number but true"),
        pytest.param([row(-1, 0, 0, 0)], id="below 0"),
        pytest.param([row(9, 0, 0, 0, (10, 0))], id="more cached than there were"),
        pytest.param([row(20, 0, 0, 0, cached_total=10)], id="cached, but not told of which kind"),
        pytest.param([row(20, 5, 0, 0, (4, 5), 10)], id="cached, but told of which kind for a part only"),
        pytest.param([row(20, 0, 0, 0, input_tokens=25)], id="more input than its parts"),
        pytest.param([row(20, 0, 9, 0, output_tokens=8)], id="less output than its parts"),
        pytest.param([{"usage": {"input_tokens": 25}}], id="a total without parts"),
        pytest.param([{"usage": {"input_tokens": "x"}}], id="a total that is no number"),
    ],
)
def test_what_cannot_be_priced_is_none_and_never_zero(rows):
    assert priced([row(1, 1, 1, 1)]) is not None
    assert priced(rows) is None


def test_one_row_that_cannot_be_priced_leaves_the_whole_without_a_price():
    assert priced([*SESSION, row(20, 0, 0, 0, cached_total=10)]) is None


def test_a_total_of_cached_tokens_without_kinds_is_no_matter_where_it_is_zero():
    assert priced([row(1_000_000, 0, 0, 0, cached_total=0)]) == Decimal(4)


@pytest.mark.parametrize("model", [None, "", "M", "m-2026-01-01", "other"])
def test_a_model_without_prices_has_no_estimate(model):
    assert priced(SESSION, model) is None


def test_a_price_per_minute_counts_seconds():
    spec = {"units": {"audio": {"path": "usage.seconds"}}, "totals": {}}
    rates = {"audio": Rate(Decimal("0.017"), "minute")}
    rows = [{"usage": {"seconds": 3.2}}, {"usage": {"seconds": 86.8}}]
    assert str(priced(rows, rates=rates, **spec)) == "0.025500"


def test_a_rate_that_is_not_needed_may_be_missing():
    assert priced([row(10, 0, 5, 0)], rates={"text_in": RATES["text_in"], "text_out": RATES["text_out"]}) is not None


tokens = st.integers(min_value=0, max_value=10**6)


@given(st.lists(st.builds(row, tokens, tokens, tokens, tokens), min_size=1, max_size=5), st.randoms())
def test_the_order_of_the_rows_does_not_matter(rows, random):
    shuffled = random.sample(rows, len(rows))
    assert priced(shuffled) == priced(rows)


@given(tokens, tokens)
def test_a_cached_token_is_charged_once_at_the_cached_rate(plain, cached):
    expected = (plain * 4 + cached * Decimal("0.4")) / 10**6
    assert abs(priced([row(plain + cached, 0, 0, 0, (cached, 0), cached)]) - expected) <= Decimal("0.0000005")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target": "call.duration_sec"}, "no cost in US dollars"),
        ({"target": "nowhere.cost_usd"}, "no field of a VCP message"),
        ({"model": "the model"}, "no field of a VCP message"),
        ({"rows": "collected..x"}, "cannot be read"),
        ({"units": {}}, "at least 1 item"),
        ({"units": {"Text In": {"path": "a"}}}, "pattern"),
        ({"units": {"a": {"path": "a["}}, "totals": {}}, "cannot be read"),
        ({"totals": {"usage.total": ["video_in"]}}, "'video_in' is not among the units"),
        ({"plus": 1}, "Extra inputs"),
    ],
)
def test_a_specification_that_cannot_work_is_refused_with_its_reason(changes, said):
    with pytest.raises(ValidationError, match=said):
        EstimateSpec.model_validate(SPEC | changes)


# --- the price list -----------------------------------------------------------------------------------------

MARCH, APRIL, MAY = date(2026, 3, 1), date(2026, 4, 1), date(2026, 5, 1)


def prices(model="m", usd=1, valid_from=MARCH, valid_until=None, **more):
    usd = usd if isinstance(usd, dict) else {"text_in": usd}
    return PriceSpec(model=model, usd=usd, valid_from=valid_from, valid_until=valid_until, **more)


def listed(*specs):
    return PriceList(row for spec in specs for row in spec.rows())


def noon(day):
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "usd"),
    [
        (datetime(2026, 2, 28, 23, 59, 59, 999999, tzinfo=UTC), None),
        (datetime(2026, 3, 1, tzinfo=UTC), 1),
        (datetime(2026, 3, 31, 23, 59, tzinfo=UTC), 1),
        (datetime(2026, 4, 1, tzinfo=UTC), 2),
        (datetime(2026, 5, 1, tzinfo=UTC), None),
        # Days are UTC: this is the last of March there.
        (datetime(2026, 4, 1, 1, tzinfo=timezone(timedelta(hours=2))), 1),
    ],
)
def test_a_price_is_in_force_from_its_first_day_up_to_its_end(moment, usd):
    known = listed(prices(usd=2, valid_from=APRIL, valid_until=MAY), prices(usd=1, valid_until=APRIL))
    assert known.at("m", moment) == (usd and {"text_in": Rate(Decimal(usd))})


def test_rates_change_one_by_one_and_each_has_its_unit():
    known = listed(
        prices(usd={"text_in": 4, "text_out": 16}, valid_until=APRIL),
        prices(usd={"text_in": 3}, valid_from=APRIL),
        prices(usd={"audio": 0.017}, per="minute"),
    )
    assert known.at("m", noon(MARCH)) == {
        "text_in": Rate(Decimal(4)), "text_out": Rate(Decimal(16)), "audio": Rate(Decimal("0.017"), "minute"),
    }  # fmt: skip
    assert set(known.at("m", noon(APRIL))) == {"text_in", "audio"}
    assert known.at("M", noon(APRIL)) is None
    assert PriceList().at("m", noon(MARCH)) is None


@pytest.mark.parametrize(
    ("specs", "said"),
    [
        ([prices(valid_until=APRIL), prices(valid_from=APRIL)], ""),
        ([prices(), prices(model="other"), prices(usd={"text_out": 1})], ""),
        ([prices(valid_from=APRIL, valid_until=MAY), prices(valid_until=APRIL), prices(valid_from=MAY)], ""),
        ([prices(), prices(valid_from=APRIL)], "m text_in has two prices on 2026-04-01"),
        ([prices(valid_from=APRIL), prices()], "m text_in has two prices on"),
        ([prices(), prices()], "m text_in has two prices on 2026-03-01"),
        ([prices(valid_until=MAY), prices(valid_from=APRIL, valid_until=MAY)], "m text_in has two prices"),
    ],
)
def test_two_prices_of_one_day_are_seen(specs, said):
    found = first_overlap(specs)
    assert said in found
    assert bool(found) == bool(said)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"valid_until": MARCH}, "must be after valid_from"),
        ({"usd": -1}, "greater than or equal to 0"),
        ({"usd": "0.000000001"}, "decimal places"),
        ({"usd": {}}, "at least 1 item"),
        ({"usd": {"Text in": 1}}, "pattern"),
        ({"per": "hour"}, "'million' or 'minute'"),
        ({"model": ""}, "at least 1 character"),
    ],
)
def test_a_price_that_cannot_be_is_refused_with_its_reason(wrong, said):
    with pytest.raises(ValidationError, match=said):
        prices(**wrong)
