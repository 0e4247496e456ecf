"""What one event tells of its call, and how its rules fared: made by mapping, stored with the delivery, then folded."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

Json = Any
Items = dict[str, Json]  # of one collection, by key


class Value(NamedTuple):
    """A value with its basis and the number of the rule that gave it (position in the mapping version)."""

    basis: str
    rule: int | None
    value: Json


@dataclass
class Fragment:
    """What one event tells: target values, the words that decision tables read, what no rule used, and what it adds
    to the call's collections."""

    values: dict[str, Value] = field(default_factory=dict)
    facts: dict[str, Json] = field(default_factory=dict)
    data: dict[str, Json] = field(default_factory=dict)
    # A ready-made message instead of all the above.
    message: dict[str, Json] | None = None
    collected: dict[str, Items] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        stored: dict[str, Json] = {
            "values": {target: list(value) for target, value in self.values.items()},
            "facts": self.facts,
            "data": self.data,
        }
        if self.collected:
            stored["collected"] = self.collected
        return {"message": self.message} if self.message is not None else stored

    @classmethod
    def from_json(cls, stored: dict[str, Json]) -> "Fragment":
        values = {target: Value(*parts) for target, parts in stored.get("values", {}).items()}
        rest = (stored.get("facts", {}), stored.get("data", {}), stored.get("message"), stored.get("collected", {}))
        return cls(values, *rest)


@dataclass
class Report:
    """How the rules fared. `used` and `missing` hold rule numbers; `failed` tells path and reason."""

    used: list[int] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    defaulted: list[int] = field(default_factory=list)
    failed: list[dict[str, Json]] = field(default_factory=list)
    unseen: list[dict[str, Json]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    # Of a ready-made message of an older version, one: what it was, and what its upgrade made up and lost.
    migrations: list[dict[str, Json]] = field(default_factory=list)
