"""Many paths of one payload read together: every key on the way is looked up once, whatever number of rules need it.

A path of plain keys has its value after one walk down a tree of keys. Any other path (lists, JSONPath) ends in searches;
they run when first asked for, since most rules that search stand behind one that already told. What several paths have
in common (`$.costs[?@.type=='voice']`) is searched once.
"""

from typing import Any, Final

from apps.providers.engine.conditions import Test, When
from apps.providers.engine.paths import MISSING, Getter, route, says_nothing

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
        # Of a slot whose value is searched for: the slot to search in, and how.
        self._searches: dict[int, tuple[int, Getter]] = {}
        self._by_search: dict[tuple[int, str], int] = {}

    def slot(self, path: str) -> int:
        """The place of this path's value; the same for the same path."""
        slot = self._slots.get(path)
        if slot is None:
            way = route(path)
            slot = self._slots[path] = self._planted(way.keys)
            for name, search in way.searches:
                slot = self._slots[path] = self._searched(slot, name, search)
        return slot

    def _planted(self, keys: list[str]) -> int:
        branch, below = None, self._tree
        for key in keys:
            branch = below.setdefault(key, _Branch())
            below = branch.below
        if branch is None:
            return 0
        branch.slot = branch.slot or self._new_slot(MISSING)
        return branch.slot

    def _searched(self, within: int, name: str, search: Getter) -> int:
        slot = self._by_search.get((within, name))
        if slot is None:
            slot = self._by_search[within, name] = self._new_slot(LATER)
            self._searches[slot] = within, search
        return slot

    def _new_slot(self, unread: Json) -> int:
        self._unread.append(unread)
        return len(self._unread) - 1

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
            within, search = self._searches[slot]
            value = self.at(within, values)
            if value is not MISSING:
                value = search(value)
            values[slot] = value
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
