"""What every transform is, and the list of all by name.

A transform is a pydantic model of its arguments that can be called with a value; its docstring is the help text shown
in the admin. A value that it does not understand raises TransformError; a value that says nothing in the provider's
words becomes MISSING. What follows from the arguments alone is worked out once, as a cached property.
"""

from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict

from apps.providers.engine.errors import TransformError
from vcp.scalars import JsonValue
from vcp.scalars import Text as VcpText
from vcp.shape import Shape

Json = Any


class UnseenWord(Exception):
    def __init__(self, word: Json, default: Json) -> None:
        super().__init__(word)
        self.word = word
        self.default = default


class Quick(NamedTuple):
    """A transform's short way, as text of a program: where `test` holds for `value`, it would give `result`. `GIVEN` in
    either stands for `given`."""

    test: str
    result: str
    given: Any = None


AS_IT_IS = Quick("True", "value")


class Transform(BaseModel):
    """Base: `name` is what rules write, the fields are the arguments."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: ClassVar[str] = ""

    def fits(self, place: Shape) -> bool:
        """Whether whatever it gives is in the normal form of this place, so that nobody need look."""
        return False

    def quick(self) -> Quick | None:
        """A short way for the values met most often, told here and not blank; None where there is none."""
        return None

    def __call__(self, value: Json) -> Json:
        raise NotImplementedError


REGISTRY: dict[str, type[Transform]] = {}


def register(cls: type[Transform]) -> type[Transform]:
    REGISTRY[cls.name] = cls
    return cls


def build(name: str, args: dict[str, Any]) -> Transform:
    """The transform of that name with these arguments. Raises KeyError or pydantic.ValidationError."""
    return REGISTRY[name].model_validate(args)


def takes_texts(place: Shape) -> bool:
    """Whether the place takes every text that is not blank, as it is."""
    return place.hint in (str, VcpText, JsonValue)


def takes_json(place: Shape) -> bool:
    """Whether the place takes whatever a payload can hold; payload.py has let nothing else in."""
    return bool(place.hint == JsonValue)


def takes_lists_of_texts(place: Shape) -> bool:
    return place.hint == list[str] or takes_json(place)


def rows_of(value: Json) -> list[Json]:
    if not isinstance(value, list):
        raise TransformError("a list", value)
    return [row for row in value if isinstance(row, dict)]
