"""Many paths of one payload read together: every key on the way is looked up once, whatever number of rules need it.

A path of plain keys has its value after one walk down a tree of keys. Any other path (lists, JSONPath) is a search; it
runs when first asked for, since most rules that search stand behind one that already told.
"""

from typing import Any, Final

from apps.providers.engine.conditions import Test, When
from apps.providers.engine.paths import MISSING, Getter, compile_path, plain_keys, says_nothing

Json = Any
LATER: Final = object()


class _Branch:
    """A key of the tree: where its value goes (0: nowhere), and the keys below it."""

    __slots__ = ("below", "slot")

    def __init__(self) -> None:
        self.slot = 0
        self.below: dict[str, _Branch] = {}


class Sources:
    """Give each path its slot by `slot`, then `read` payloads: a list with a value in each slot.

    A slot holds its path's value, MISSING, or LATER for a search that nobody asked for yet; `at` asks. Slot 0 holds
    the payload itself.
    """

    def __init__(self) -> None:
        self._slots: dict[str, int] = {}
        self._unread: list[Json] = [MISSING]
        self._tree: dict[str, _Branch] = {}
        self._searches: dict[int, Getter] = {}

    def slot(self, path: str) -> int:
        """The place of this path's value; the same for the same path."""
        slot = self._slots.get(path)
        if slot is None:
            slot = self._slots[path] = len(self._unread)
            keys = plain_keys(path)
            self._unread.append(LATER if keys is None else MISSING)
            if keys is None:
                self._searches[slot] = compile_path(path)
            else:
                self._plant(keys, slot)
        return slot

    def _plant(self, keys: list[str], slot: int) -> None:
        below = self._tree
        for key in keys:
            branch = below.setdefault(key, _Branch())
            below = branch.below
        branch.slot = slot

    def read(self, payload: Json) -> list[Json]:
        values = self._unread.copy()
        values[0] = payload
        if type(payload) is dict:
            _read_below(self._tree, payload, values)
        return values

    def at(self, slot: int, values: list[Json]) -> Json:
        """The value of a slot, searched for if nobody has yet."""
        value = values[slot]
        if value is LATER:
            value = values[slot] = self._searches[slot](values[0])
        return value

    def tests(self, when: When) -> list[tuple[int, Test]]:
        """Conditions as pairs for `hold`."""
        return [(self.slot(path), condition.test) for path, condition in when.items()]

    def hold(self, tests: list[tuple[int, Test]], values: list[Json]) -> bool:
        """Whether every test holds for the value of its slot."""
        for slot, test in tests:
            value = values[slot]
            if not test(self.at(slot, values) if value is LATER else value):
                return False
        return True


def _read_below(tree: dict[str, _Branch], node: dict[str, Json], values: list[Json]) -> None:
    for key, branch in tree.items():
        value = node.get(key)
        if value is None:
            continue
        if branch.slot and not says_nothing(value):
            values[branch.slot] = value
        if branch.below and type(value) is dict:
            _read_below(branch.below, value, values)
