"""What of a sealed message comes from its sender's own data is in the order of its keys, and otherwise as it was."""

import json
from typing import Any

import pytest

from apps.ingest.messages import _in_key_order


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"b": [{"d": 1, "c": 2}], "a": None}, '{"a": null, "b": [{"c": 2, "d": 1}]}'),
        ({"z": 1.0, "é": -0.0, "a": 1e22, "A": 5e-324}, '{"A": 5e-324, "a": 1e+22, "z": 1.0, "é": -0.0}'),
        ({"\U0001f600": 1, "\uffff": 2}, '{"\uffff": 2, "\U0001f600": 1}'),
        ({"b": 2**64 - 1, "a": -(2**63)}, f'{{"a": {-(2**63)}, "b": {2**64 - 1}}}'),
        ({"b": 2**64, "a": -(2**70)}, f'{{"a": {-(2**70)}, "b": {2**64}}}'),
    ],
)
def test_free_content_comes_in_key_order_with_every_number_as_it_was(content: Any, expected: str) -> None:
    assert json.dumps(_in_key_order(content), ensure_ascii=False) == expected
