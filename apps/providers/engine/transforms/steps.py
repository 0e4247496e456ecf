"""Transforms made of others: one after the other, or side by side."""

from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from apps.providers.engine.errors import TransformError
from apps.providers.engine.paths import MISSING, Getter, compile_path, says_nothing
from apps.providers.engine.transforms.base import REGISTRY, Json, Transform, build, register
from vcp.shape import Shape


class Step(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    transform: str
    args: dict[str, Any] = Field(default_factory=dict)


@register
class Chain(Transform):
    """Several transforms, one after the other: `steps` = [{transform, args}, …]. It ends where one says nothing."""

    name = "chain"
    steps: tuple[Step, ...] = Field(min_length=1)

    def model_post_init(self, context: Any, /) -> None:
        unknown = [step.transform for step in self.steps if step.transform not in REGISTRY]
        if unknown:
            raise ValueError(f"transform {unknown[0]!r} does not exist")
        _ = self._built  # wrong arguments show now

    @cached_property
    def _built(self) -> tuple[Transform, ...]:
        return tuple(build(step.transform, step.args) for step in self.steps)

    def fits(self, place: Shape) -> bool:
        return self._built[-1].fits(place)

    def __call__(self, value: Json) -> Json:
        for step in self._built:
            value = step(value)
            if value is MISSING:
                break
        return value


class Part(BaseModel):
    """A place in an object and how the value there is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: str
    transform: str = "same"
    args: dict[str, Any] = Field(default_factory=dict)


@register
class Gather(Transform):
    """One list of what several places of an object hold: `parts` = [{path, transform, args}, …], in their order. What a
    place gives is added, a list item by item."""

    name = "gather"
    parts: tuple[Part, ...] = Field(min_length=1)

    def model_post_init(self, context: Any, /) -> None:
        _ = self._chains  # steps that cannot be built are refused here, not at the first payload

    @cached_property
    def _chains(self) -> list[tuple[Getter, Chain]]:
        steps = [(part.path, {"transform": part.transform, "args": part.args}) for part in self.parts]
        return [(compile_path(path), Chain.model_validate({"steps": [step]})) for path, step in steps]

    def __call__(self, value: Json) -> Json:
        if not isinstance(value, dict):
            raise TransformError("an object", value)
        found = [(chain, inner) for get, chain in self._chains if not says_nothing(inner := get(value))]
        told = [read for chain, inner in found if not says_nothing(read := chain(inner))]
        return [item for read in told for item in (read if isinstance(read, list) else [read])] or MISSING
