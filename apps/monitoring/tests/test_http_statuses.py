"""Lists of HTTP statuses as people write them."""

import pytest

from apps.monitoring import http_statuses


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("200-299, 400, 401", [200, 250, 299, 400, 401], [199, 300, 402, 500]),
        ("404", [404], [403, 405]),
        (" 500 - 599 ,, ", [500, 599], [499]),
        ("100-599", [100, 599], [600]),
        ("", [], [200]),
    ],
)
def test_a_list_includes_its_ranges_and_no_more(text, inside, outside):
    assert all(http_statuses.includes(text, status) for status in inside)
    assert not any(http_statuses.includes(text, status) for status in outside)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("200, ok", "'ok' is no HTTP status: write 404, or a range such as 500-599"),
        ("5xx", "'5xx' is no HTTP status"),
        ("20", "'20' is no HTTP status"),
        ("299-200", "'299-200' is out of order"),
        ("600", "'600' is out of order: HTTP statuses go from 100 to 599"),
        ("200;201", "'200;201' is no HTTP status"),
        ("²00", "is no HTTP status"),
    ],
)
def test_what_cannot_be_read_is_named(text, told):
    with pytest.raises(ValueError, match="HTTP status") as caught:
        http_statuses.parse(text)
    assert told in str(caught.value)
