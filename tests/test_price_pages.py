"""Prices as an operator keeps them: listed, edited, and let begin from a day on."""

from datetime import date
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from apps.history.models import Change
from apps.ingest import messages
from apps.ingest.models import CallKey
from apps.providers import registry
from apps.providers.admin.prices import dollars
from apps.providers.models import Price, Provider
from tests.admin.rows import new_price
from tests.browser import action, filled, page, problems, said_after, text_of

pytestmark = pytest.mark.django_db
MARCH, MAY = date(2026, 3, 1), date(2026, 5, 1)


def catalogue_price(**fields):
    return new_price(**{"origin": Price.Origin.CATALOGUE, "valid_from": MARCH, **fields})


def stored(**lookup):
    return list(Price.objects.filter(**lookup).order_by("valid_from").values_list("usd", "valid_until", "origin"))


@pytest.mark.parametrize(
    ("usd", "shown"),
    [("4", "4.00"), ("0.40000000", "0.40"), ("0.017", "0.017"), ("1000", "1000.00"), ("0", "0.00"), ("12.5", "12.50")],
)
def test_a_price_is_shown_with_two_decimals_or_as_many_as_it_has(usd, shown):
    assert dollars(Decimal(usd)) == shown


def test_the_list_says_what_is_in_force(catalogue, operator):
    today = timezone.now().date()
    catalogue_price(valid_until=MAY)
    new_price(valid_from=MAY, usd=Decimal("3.5"))
    new_price(rate="audio", per="minute", valid_from=today.replace(year=today.year + 1))
    shown = text_of(operator.get(page(Price, "changelist")))
    for words in ("4.00 per 1M tokens", "3.50 per 1M tokens", "4.00 per minute", "in force", "ended", "to come",
                  "further notice", "edited here", "catalogue"):  # fmt: skip
        assert words in shown
    counts = {"today": 1, "ended": 1, "coming": 1, "": 3}
    url = page(Price, "changelist")
    assert {days: operator.get(f"{url}?days={days}").context["cl"].result_count for days in counts} == counts
    assert operator.get(f"{url}?model=m-1").context["cl"].result_count == 3
    assert operator.get(f"{url}?model=m-2").context["cl"].result_count == 0


def test_a_saved_price_is_the_operator_s_and_an_unchanged_one_is_not(catalogue, operator):
    url = page(Price, "change", catalogue_price().pk)
    operator.post(url, filled(operator, url))
    assert stored() == [(Decimal(4), None, "catalogue")]
    operator.post(url, {**filled(operator, url), "usd": "3"})
    assert stored() == [(Decimal(3), None, "admin")]


def test_a_price_for_days_that_have_one_is_refused_at_its_field(catalogue, operator):
    catalogue_price()
    url = page(Price, "add")
    data = {"provider": Provider.objects.get(slug="retell").pk, "model": "m-1", "rate": "text_in", "usd": "1",
            "per": "million", "valid_from": "2026-05-01"}  # fmt: skip
    assert problems(operator.post(url, data)) == [
        "m-1 text_in from 2026-03-01 is in force on the same days: end it first."
    ]
    assert operator.post(url, {**data, "rate": "text_out"}).status_code == 302
    assert stored(rate="text_out") == [(Decimal(1), None, "admin")]


def test_a_catalogue_price_cannot_be_deleted_and_one_edited_here_can(catalogue, operator):
    from_catalogue, mine = catalogue_price(), new_price(rate="text_out")
    assert operator.post(page(Price, "delete", from_catalogue.pk), {"post": "yes"}).status_code == 403
    assert operator.post(page(Price, "delete", mine.pk), {"post": "yes"}).status_code == 302
    assert list(Price.objects.all()) == [from_catalogue]


def test_new_prices_begin_from_a_day_and_only_those_that_were_changed(catalogue, operator):
    row = catalogue_price()
    catalogue_price(rate="text_out", usd=Decimal(16))
    catalogue_price(model="m-2")
    url = action(row, "new_prices")
    data = filled(operator, url)
    assert {name: data[name] for name in ("usd_text_in", "usd_text_out")} == {
        "usd_text_in": "4.00",
        "usd_text_out": "16.00",
    }
    answer = operator.post(
        url, {**data, "valid_from": "2026-05-01", "usd_text_in": "3.2", "source": "a page"}, follow=True
    )
    assert said_after(answer) == [
        "From 2026-05-01 on, new: text_in. Messages that are folded already keep their figures until they are replayed."
    ]
    assert answer.context["cl"].result_count == 3
    assert stored(model="m-1", rate="text_in") == [(Decimal(4), MAY, "admin"), (Decimal("3.2"), None, "admin")]
    assert stored(rate="text_out") == [(Decimal(16), None, "catalogue")]
    assert stored(model="m-2") == [(Decimal(4), None, "catalogue")]
    told = [(entry.author, entry.verb, entry.part) for entry in Change.objects.filter(part="price of m-1 text_in")]
    assert told[:2] == [("olga", "created", "price of m-1 text_in"), ("olga", "changed", "price of m-1 text_in")]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "No price was changed."),
        ({"usd_text_in": "3", "valid_from": "2026-03-01"}, "begins on 2026-03-01: choose a later day"),
        ({"usd_text_in": "3", "valid_from": "soon"}, "Enter a valid date."),
        ({"usd_text_in": "-3"}, "greater than or equal to 0"),
        ({"usd_text_in": ""}, "This field is required."),
    ],
)
def test_new_prices_that_cannot_be_are_refused_with_the_reason(catalogue, operator, changes, said):
    url = action(catalogue_price(), "new_prices")
    answer = operator.post(url, {**filled(operator, url), **changes})
    assert answer.status_code == 200
    assert said in text_of(answer)
    assert stored() == [(Decimal(4), None, "catalogue")]


def test_who_may_only_look_changes_no_price(catalogue):
    row = catalogue_price()
    staff = Client()
    nina = User.objects.create_user("nina", is_staff=True)
    nina.user_permissions.add(Permission.objects.get(codename="view_price"))
    staff.force_login(nina)
    assert "New prices from a date" not in text_of(staff.get(page(Price, "change", row.pk)))
    assert staff.post(action(row, "new_prices"), {"valid_from": "2026-05-01", "usd_text_in": "3"}).status_code == 403
    assert stored() == [(Decimal(4), None, "catalogue")]


def test_a_call_is_priced_as_of_its_start(catalogue):
    """Ingest gives the fold the registry's prices."""
    catalogue_price(valid_until=MAY)
    new_price(valid_from=MAY, usd=Decimal(3))
    registry.forget()
    context = messages.context(CallKey(provider="retell", call_id="c"), "Retell")
    asked = [context.prices("m-1", f"2026-{day}T23:59:59.999Z") for day in ("02-28", "03-01", "04-30", "05-01")]
    assert [rates and rates["text_in"].usd for rates in asked] == [None, Decimal(4), Decimal(4), Decimal(3)]
    assert context.prices("m-9", "2026-04-01T00:00:00.000Z") is None
