"""Prices in the registry: no day has two, edited ones stay, and one ends where the next begins."""

from datetime import date
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from apps.providers import api, catalog, golden, pricing, sync
from apps.providers.engine import fold
from apps.providers.engine.mapping import Mapping
from apps.providers.engine.prices import PriceSpec
from apps.providers.models import Price, Provider

pytestmark = pytest.mark.django_db
MARCH, APRIL, MAY, JUNE = (date(2026, month, 1) for month in (3, 4, 5, 6))


@pytest.fixture
def retell(catalogue):
    return Provider.objects.get(slug="retell")


@pytest.fixture
def ships(catalogue, monkeypatch):
    """ships(*prices): retell's catalogue file now has these, and is synced; gives the report's lines."""
    load = catalog.load

    def sync_with(*prices):
        spec = load("retell").model_copy(update={"prices": prices})
        monkeypatch.setattr(catalog, "load", lambda slug: spec)
        return sync.sync_catalog(("retell",)).lines()

    return sync_with


def spec(valid_from=MARCH, valid_until=None, model="m-1", **usd):
    return PriceSpec(
        model=model, usd=usd or {"text_in": 4}, valid_from=valid_from, valid_until=valid_until, source="page"
    )


def price(provider, valid_from=MARCH, valid_until=None, *, usd=4, **fields):
    return Price(
        provider=provider, usd=Decimal(usd), valid_from=valid_from, valid_until=valid_until,
        **{"model": "m-1", "rate": "text_in", **fields},
    )  # fmt: skip


def rows():
    """What is stored: (rate, USD, from, until, who told)."""
    names = ("rate", "usd", "valid_from", "valid_until", "origin")
    return [
        (rate, float(usd), *rest)
        for rate, usd, *rest in Price.objects.order_by("model", "rate", "valid_from").values_list(*names)
    ]


# --- what a row must be -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"usd": -1}, "usd"),
        ({"rate": "Text in"}, "rate"),
        ({"per": "hour"}, "per"),
        ({"valid_until": MARCH}, "__all__"),
        ({"usd": "0.000000001"}, "usd"),
    ],
)
def test_a_price_that_cannot_be_is_refused_at_its_field(retell, wrong, field):
    price(retell).full_clean()
    with pytest.raises(ValidationError) as caught:
        price(retell, **wrong).full_clean()
    assert set(caught.value.message_dict) == {field}


@pytest.mark.parametrize(
    ("days", "overlaps"),
    [
        ((MARCH, APRIL), False),
        ((JUNE, None), False),
        ((MAY, JUNE), True),
        ((MARCH, MAY), True),
        ((MARCH, None), True),
        ((APRIL, None), True),
        ((date(2026, 4, 2), date(2026, 4, 3)), True),
    ],
)
def test_a_day_has_one_price_of_a_rate(retell, days, overlaps):
    price(retell, APRIL, JUNE).save()
    for other in ({"model": "m-2"}, {"rate": "text_out"}):
        price(retell, *days, **other).full_clean()
    candidate = price(retell, *days)
    if not overlaps:
        candidate.full_clean()
        return
    with pytest.raises(ValidationError, match="m-1 text_in from 2026-04-01 is in force on the same days"):
        candidate.full_clean()


def test_a_stored_price_does_not_stand_in_its_own_way(retell):
    row = price(retell)
    row.save()
    row.usd = Decimal(5)
    row.full_clean()


@pytest.mark.parametrize("wrong", [{}, {"valid_from": MAY, "valid_until": MAY}, {"valid_from": MAY, "usd": -1}])
def test_the_database_itself_refuses_what_no_price_can_be(retell, wrong):
    price(retell).save()
    with pytest.raises(IntegrityError), transaction.atomic():
        price(retell, **wrong).save()


# --- from the catalogue -------------------------------------------------------------------------------------


def test_prices_come_from_the_catalogue_and_follow_it(ships):
    assert ships(spec(text_in=4, text_out=16)) == ["updated retell, prices"]
    assert rows() == [("text_in", 4, MARCH, None, "catalogue"), ("text_out", 16, MARCH, None, "catalogue")]
    assert ships(spec(text_in=4, text_out=16)) == []
    assert ships(spec(MARCH, MAY, text_in=4), spec(MAY, text_in=3)) == ["updated retell, prices"]
    assert rows() == [("text_in", 4, MARCH, MAY, "catalogue"), ("text_in", 3, MAY, None, "catalogue")]
    assert ships() == ["updated retell, prices"]
    assert rows() == []


def edit(**fields):
    """What the admin does."""
    row = Price.objects.get()
    for name, value in fields.items():
        setattr(row, name, value)
    row.origin = Price.Origin.ADMIN
    row.save()
    return row


def test_a_price_that_was_edited_stays_and_it_is_said(ships):
    ships(spec(text_in=4))
    edit(usd=Decimal(1))
    assert ships(spec(text_in=5)) == ["kept as edited here: retell, price of m-1 text_in from 2026-03-01"]
    assert rows() == [("text_in", 1, MARCH, None, "admin")]
    assert ships() == []
    assert rows() == [("text_in", 1, MARCH, None, "admin")]


def test_a_price_of_the_catalogue_is_not_laid_over_the_days_of_one_that_was_edited(ships):
    ships(spec(text_in=4))
    edit(valid_from=APRIL)
    said = ships(spec(MARCH, MAY, text_in=4), spec(MAY, text_in=3), spec(text_out=9))
    assert said == [
        "updated retell, prices",
        "kept as edited here: retell, price of m-1 text_in from 2026-03-01",
        "kept as edited here: retell, price of m-1 text_in from 2026-05-01",
    ]
    assert rows() == [("text_in", 4, APRIL, None, "admin"), ("text_out", 9, MARCH, None, "catalogue")]


def test_an_edited_price_that_was_deleted_is_the_catalogue_s_again(ships):
    ships(spec(text_in=4))
    edit(usd=Decimal(1)).delete()
    ships(spec(text_in=4))
    assert rows() == [("text_in", 4, MARCH, None, "catalogue")]


def test_a_catalogue_file_with_two_prices_of_one_day_is_refused():
    text = (catalog.FOLDER / "retell.toml").read_text()
    prices = """
[[prices]]
model = "m"
valid_from = 2026-03-01
usd = { text_in = 4.00 }
"""
    (told,) = catalog.parse(text + prices, "retell.toml").prices
    assert (told.valid_from, told.usd) == (MARCH, {"text_in": Decimal(4)})
    with pytest.raises(catalog.CatalogError, match=r"retell.toml: prices: .*m text_in has two prices on 2026-03-01"):
        catalog.parse(text + prices * 2, "retell.toml")


# --- new prices from a day ----------------------------------------------------------------------------------


def test_a_new_price_begins_where_the_one_before_ends(ships, retell):
    ships(spec(text_in=4, text_out=16))
    new = pricing.change(retell, "m-1", {"text_in": Decimal(3)}, MAY, source="a page", note="why")
    assert rows() == [
        ("text_in", 4, MARCH, MAY, "admin"),
        ("text_in", 3, MAY, None, "admin"),
        ("text_out", 16, MARCH, None, "catalogue"),
    ]
    assert [(row.source, row.note) for row in new] == [("a page", "why")]
    ships(spec(text_in=4, text_out=16))
    assert len(rows()) == 3


@pytest.mark.parametrize(
    ("former_end", "stored"),
    [
        (JUNE, [(MARCH, MAY), (MAY, JUNE)]),
        (MAY, [(MARCH, MAY), (MAY, None)]),
        (APRIL, [(MARCH, APRIL), (MAY, None)]),
    ],
)
def test_an_end_that_was_known_is_kept(retell, former_end, stored):
    price(retell, MARCH, former_end).save()
    pricing.change(retell, "m-1", {"text_in": Decimal(3)}, MAY)
    assert [row[2:4] for row in rows()] == stored


@pytest.mark.parametrize(
    ("rates", "day", "said"),
    [
        (("text_in", "text_out"), MARCH, "The price of text_in begins on 2026-03-01: choose a later day."),
        (("text_out", "video"), MAY, "m-1 has no price of video that could change; add one."),
    ],
)
def test_a_change_that_cannot_be_changes_nothing(retell, rates, day, said):
    for rate in ("text_in", "text_out"):
        price(retell, rate=rate).save()
    before = rows()
    with pytest.raises(ValidationError, match=said):
        pricing.change(retell, "m-1", dict.fromkeys(rates, Decimal(1)), day)
    assert rows() == before


# --- who reads them -----------------------------------------------------------------------------------------


def test_the_provider_s_document_tells_its_prices(ships, retell):
    ships(spec(MARCH, MAY, text_in=4), spec(MAY, text_in="0.4"))
    told = api.ProviderDetailSerializer({**api.document("retell"), "endpoints": []}).data["prices"]
    assert told == [
        {"model": "m-1", "rate": "text_in", "usd": 0.4, "per": "million", "valid_from": "2026-05-01",
         "valid_until": None, "source": "page"},
        {"model": "m-1", "rate": "text_in", "usd": 4.0, "per": "million", "valid_from": "2026-03-01",
         "valid_until": "2026-05-01", "source": "page"},
    ]  # fmt: skip


def test_goldens_are_made_with_the_prices_of_the_catalogue_file(monkeypatch):
    asked = []

    def folded(events, mapping, context):
        asked.append(context.prices("m-1", "2026-04-01T00:00:00.000Z"))
        asked.append(context.prices("m-1", "2026-02-01T00:00:00.000Z"))

    monkeypatch.setattr(golden, "fold", folded)
    provider = catalog.load("retell").model_copy(update={"prices": (spec(text_in=4),)})
    name, body = next(iter(golden.sample_bodies("retell").items()))
    golden.outcome(provider, Mapping(provider.mapping), body)
    assert [rates and rates["text_in"].usd for rates in asked] == [Decimal(4), None], name


def test_a_context_knows_no_prices_unless_they_are_given():
    assert fold.Context("p", "P", "c", "", str).prices("m", "2026-04-01T00:00:00Z") is None
