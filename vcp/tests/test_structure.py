"""Where pydantic's refusals lie, for types that are tried twice: the place is told once, without pydantic's marks."""

from __future__ import annotations

import pytest
from pydantic import Field, ValidationError

from vcp.models import VCPModel
from vcp.scalars import Count, Filled, Opt, Text
from vcp.shape import shape_of
from vcp.structure import broken_fields


class Inner(VCPModel):
    name: Text = "none"
    size: Filled[Count] = 0


class Outer(VCPModel):
    part: Filled[Inner] = Field(default_factory=Inner)
    maybe: Opt[Inner] = None
    parts: Filled[list[Inner]] = Field(default_factory=list)
    named: Filled[dict[str, Inner]] = Field(default_factory=dict)


SHAPE = shape_of(Outer)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"part": {"size": -1}}, [("S7", ("part", "size"))]),
        ({"part": {"size": -1, "name": ""}}, [("S5", ("part", "name")), ("S7", ("part", "size"))]),
        ({"part": 7}, [("S2", ("part",))]),
        ({"maybe": {"size": "x"}}, [("S2", ("maybe", "size"))]),
        (
            {"parts": [{"size": -1}, {"name": None}, None]},
            [("S7", ("parts", 0, "size")), ("S1", ("parts", 1, "name")), ("S2", ("parts", 2))],
        ),
        ({"named": {"[exactly]": {"size": -1}}}, [("S7", ("named", "[exactly]", "size"))]),
        ({"named": {"[leniently]": None}}, [("S2", ("named", "[leniently]"))]),
    ],
)
def test_a_refusal_is_told_once_at_its_place(content, found):
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(content)
    assert [(finding.rule, finding.path) for finding in broken_fields(caught.value, SHAPE)] == found


def test_null_stands_for_the_default_of_any_kind():
    empty = {"part": None, "maybe": None, "parts": None, "named": None}
    assert Outer.model_validate(empty) == Outer()
    assert Outer.model_validate({"part": {"size": None}}) == Outer()
