"""A NUL character in an address: refused with its place, where PostgreSQL would fail and SQLite find nothing."""

import pytest
from django.test import Client

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("/admin/ingest/message/?status__exact=%00", "status__exact"),
        ("/admin/ingest/inboundevent/?event=call_%00ended&state__exact=failed", "event"),
        ("/admin/ingest/inboundevent/?state__exact=failed&state__exact=%00", "state__exact"),
        ("/admin/auth/user/?a%00b=1&q=%00", "a%00b, q"),
        ("/admin/autocomplete/?term=%00&app_label=authtoken&model_name=token&field_name=user", "term"),
        ("/admin/login/?next=/admin/%00", "next"),
    ],
)
def test_a_nul_in_the_query_of_an_admin_page_is_refused_with_its_place(
    operator: Client, address: str, named: str
) -> None:
    answer = operator.get(address)
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "text/plain; charset=utf-8")
    assert answer.content.decode().endswith(f"take it out of {named}.")


def test_the_characters_of_a_nul_s_code_are_none(operator: Client) -> None:
    assert operator.get("/admin/ingest/message/?status__exact=%2500").status_code == 200


@pytest.mark.parametrize("path", ["auth/user/a%00/change/", "authtoken/tokenproxy/a%00/delete/"])
def test_a_nul_in_an_admin_page_s_path_names_nothing_there(operator: Client, path: str) -> None:
    assert operator.get(f"/admin/{path}").headers["Location"] == "/admin/"


@pytest.mark.parametrize(
    "address", ["messages?account=%00", "messages?cursor=%00", "deliveries?event=%00", "analytics/daily?provider=%00"]
)
def test_the_api_refuses_a_nul_with_its_field(operator: Client, address: str) -> None:
    answer = operator.get(f"/api/{address}", headers={"accept": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["field_path"] == f"$.{address.partition('?')[2].partition('=')[0]}"
