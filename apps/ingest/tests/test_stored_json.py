"""JSON columns: what is written says what the standard library would have written, and comes back as it was."""

import json

import pytest
from django.db import models

from apps.ingest.stored_json import QuickJSON, StoredJSON, StoredJSONField


@pytest.mark.parametrize(
    "value", [{"a": [1, 0.1, 1e22, True, None, "é\u2028\U0001f600"]}, 2**63, 10**30, -(2**63), "\ud800", {"": {}}, []]
)
def test_a_value_comes_back_as_it_went_in(value):
    written = json.dumps(value, cls=QuickJSON)
    assert json.loads(written) == json.loads(json.dumps(value))
    if value != 10**30:  # beyond 64 bits a number is a float
        assert json.loads(written, cls=StoredJSON) == value


def test_what_is_no_json_is_refused():
    with pytest.raises(TypeError):
        json.dumps({"a": object()}, cls=QuickJSON)


def test_migrations_see_a_plain_json_field():
    quick = StoredJSONField(null=True, decoder=StoredJSON)
    plain = models.JSONField(null=True, decoder=StoredJSON)
    assert quick.deconstruct() == plain.deconstruct()
    assert quick.clone().encoder is QuickJSON
