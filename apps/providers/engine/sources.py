"""Many paths of one payload read together: every key on the way is looked up once, whatever number of rules need it.

A path of plain keys has its value after one walk down a tree of keys. Any other path (lists, JSONPath) ends in
searches; they run when first asked for, since most rules that search stand behind one that already told. What several
paths have in common (`$.costs[?@.type=='voice']`) is searched once.
"""

from collections.abc import Iterable
from typing import Any, Final

from apps.providers.engine.conditions import Condition, Test, When
from apps.providers.engine.paths import MISSING, Getter, route
from apps.providers.engine.written import Branch, SlotReader, slot_reader

Json = Any
LATER: Final = object()


class Sources:
    """Give each path its slot by `slot`, then `read` payloads: a list with a value in each slot.

    A slot holds its path's value, MISSING, or LATER for a search that nobody asked for yet; `at` asks. Slot 0 holds
    the payload itself.
    """

    def __init__(self) -> None:
        self._slots: dict[str, int] = {}
        self._unread: list[Json] = [MISSING]
        self._tree: dict[str, Branch] = {}
        # Of a slot whose value is searched for: the slot to search in, and how.
        self._searches: dict[int, tuple[int, Getter]] = {}
        self._by_search: dict[tuple[int, str], int] = {}
        # Of a slot that says whether a condition holds: the slot of the value that is asked, and how.
        self._tests: dict[int, tuple[int, Test]] = {}
        self._by_condition: dict[tuple[int, str], int] = {}
        self._by_name: dict[str, int] = {}
        self._reader: SlotReader | None = None

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
        self._reader = None
        branch, below = None, self._tree
        for key in keys:
            branch = below.setdefault(key, Branch())
            below = branch.below
        if branch is None:
            return 0
        branch.slot = branch.slot or self._new(MISSING)
        return branch.slot

    def _searched(self, within: int, name: str, search: Getter) -> int:
        slot = self._by_search.get((within, name))
        if slot is None:
            slot = self._by_search[within, name] = self._new(LATER)
            self._searches[slot] = within, search
        return slot

    def _new(self, unread: Json) -> int:
        self._unread.append(unread)
        return len(self._unread) - 1

    def is_searched(self, slot: int) -> bool:
        """Whether this slot may hold LATER."""
        return slot in self._searches

    def shared_slot(self, name: str) -> int:
        """A place that is LATER in each new list, the same for the same name: for what is made of a payload once."""
        if name not in self._by_name:
            self._by_name[name] = self._new(LATER)
        return self._by_name[name]

    def read(self, payload: Json) -> list[Json]:
        values = self._unread.copy()
        values[0] = payload
        if type(payload) is dict:
            if self._reader is None:
                self._reader = slot_reader(self._tree)
            self._reader(payload, values)
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

    def first(self, slots: Iterable[int], values: list[Json]) -> Json:
        """The value of the first of these slots that has one, else MISSING."""
        for slot in slots:
            value = values[slot]
            if value is LATER:
                value = self.at(slot, values)
            if value is not MISSING:
                return value
        return MISSING

    def tests(self, when: When) -> list[int]:
        """Conditions for `hold`: the slots of their answers. The same condition on the same path is asked once."""
        return [self._test(self.slot(path), condition) for path, condition in when.items()]

    def _test(self, slot: int, condition: Condition) -> int:
        # By its text: as Python compares, the condition for 1 would be that for true.
        key = slot, condition.model_dump_json()
        if key not in self._by_condition:
            self._by_condition[key] = self._new(LATER)
            self._tests[self._by_condition[key]] = slot, condition.test
        return self._by_condition[key]

    def hold(self, tests: list[int], values: list[Json]) -> bool:
        """Whether every one of the conditions holds."""
        for number in tests:
            held = values[number]
            if held is LATER:
                slot, test = self._tests[number]
                held = values[number] = test(self.at(slot, values))
            if not held:
                return False
        return True
