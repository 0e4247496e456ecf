"""What no rule used: kept as the provider's own data, so that nothing told is lost."""

from typing import Any

from apps.providers.engine.paths import compile_path, first_key, key_tree, pruned, says_nothing
from apps.providers.engine.spec import MappingSpec

Json = Any


class Leftovers:
    """Takes from payloads what the rules of a mapping read, and lifts what the mapping says up to the top."""

    def __init__(self, spec: MappingSpec) -> None:
        self._used = key_tree(_keys_used(spec))
        self._lift = [compile_path(path) for path in spec.leftovers.lift]
        self._lifted_tops = {first_key(path)[0] for path in spec.leftovers.lift}

    def of(self, payload: dict[str, Json]) -> dict[str, Json]:
        rest = pruned(payload, self._used)
        found: dict[str, Json] = {}
        for get in self._lift:
            inner = get(rest)
            if isinstance(inner, dict):
                found |= {key: value for key, value in inner.items() if not says_nothing(value)}
        for key, value in rest.items():
            if key not in self._lifted_tops and not says_nothing(value):
                found.setdefault(key, value)
        return found


def _keys_used(spec: MappingSpec) -> set[tuple[str, ...]]:
    kept = {rule.source for rule in spec.rules if rule.keep}
    used = [rule.source for rule in spec.rules if rule.source not in kept and not rule.of_call]
    used += [*spec.read.event, *spec.read.call_id, *spec.leftovers.drop]
    used += [event.artifact.path for event in spec.events if event.artifact is not None]
    return {tuple(keys) for path in used if (keys := first_key(path))}
