"""Holds what was acknowledged against what is stored: lost, double, half or miscounted, each with its id. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

# The states in which a delivery has had its effect, or rightly has none.
SETTLED = frozenset({"processed", "stored", "ignored"})


@dataclass
class Sent:
    """One delivery as its sender knows it. `answers` are statuses in order, 0 where there was no answer."""

    number: int
    provider: str
    call_id: str
    forged: bool = False
    answers: list[int] = field(default_factory=list)
    delivery_ids: set[str] = field(default_factory=set)

    @property
    def acknowledged(self) -> bool:
        return 200 in self.answers


@dataclass(frozen=True)
class Stored:
    """A delivery as the inbox has it."""

    delivery_id: str
    provider: str
    call_id: str
    state: str
    error: str = ""


@dataclass(frozen=True)
class Found:
    """All that is looked at when everything has come to rest. `messages` and `clean`: content digest by (provider,
    call id), of the run and of the same deliveries worked off in peace; `totals`: calls by provider in the numbers."""

    deliveries: Sequence[Stored]
    messages: Mapping[tuple[str, str], Sequence[str]]
    clean: Mapping[tuple[str, str], str]
    totals: Mapping[str, int]
    audit: str = ""
    ledger: str = ""


def breaches(sent: Sequence[Sent], found: Found) -> Iterator[str]:
    """What must not be; nothing where all is well."""
    stored: dict[str, list[Stored]] = {}
    for row in found.deliveries:
        stored.setdefault(row.delivery_id, []).append(row)
    yield from (f"double: delivery {id_} is stored {len(rows)} times" for id_, rows in stored.items() if len(rows) > 1)
    for one in sent:
        yield from _of_delivery(one, stored)
    for row in found.deliveries:
        if row.state not in SETTLED:
            yield f"stuck: delivery {row.delivery_id} of {row.provider} is {row.state} {row.error}"
    yield from _of_messages(found)
    if found.audit:
        yield f"numbers: {found.audit}"
    if found.ledger:
        yield f"ledger: {found.ledger}"


def _of_delivery(one: Sent, stored: Mapping[str, Sequence[Stored]]) -> Iterator[str]:
    if one.forged and one.acknowledged:
        yield f"forged: delivery {one.number} of {one.provider} was acknowledged"
    if len(one.delivery_ids) > 1:
        yield f"double: delivery {one.number} of {one.provider} has the ids {sorted(one.delivery_ids)}"
    for id_ in one.delivery_ids:
        if id_ not in stored:
            yield f"lost: delivery {one.number} of {one.provider}, acknowledged as {id_}"
    unexpected = set(one.answers) - {0, 200, 400, 401, 429, 503}
    if unexpected:
        yield f"answer: delivery {one.number} of {one.provider} was answered {sorted(unexpected)}"


def _of_messages(found: Found) -> Iterator[str]:
    for key, digest in found.clean.items():
        digests = found.messages.get(key, [])
        if not digests:
            yield f"lost: call {key} has no message"
        elif len(digests) > 1:
            yield f"double: call {key} has {len(digests)} messages"
        elif digests[0] != digest:
            yield f"differs: the message of call {key} is not what its deliveries make in peace"
    for key in found.messages.keys() - found.clean.keys():
        yield f"double: call {key} has a message, and no delivery makes it"
    for provider in {provider for provider, _ in found.clean} | set(found.totals):
        calls = sum(1 for key in found.clean if key[0] == provider)
        counted = found.totals.get(provider, 0)
        if counted != calls:
            yield f"numbers: {provider} has {counted} calls in the daily numbers, and {calls} messages"
