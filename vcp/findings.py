"""The rule table of validation and the shape of one finding; how findings become error objects.

Knows every rule's level and code. What breaks a rule is decided in `structure.py` and `rules.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from vcp.errors import (
    FIELD_TYPE_MISMATCH,
    REQUIRED_FIELD_MISSING,
    SCHEMA_VALIDATION_FAILED,
    ErrorObject,
)
from vcp.scalars import Path

# S: structure, X: across fields, C: consent, V: version, A: artifacts and audit.
WARNING_RULES: Final = frozenset(
    ["S8", "S9", "X2", "X3", "X4", "X5", "X6", "X7", "X8", "X9", "X10", "C2", "C4", "C5", "C6", "A1", "A2"]
)
# Every other rule says "schema or cross-field rule broken".
_CODES: Mapping[str, str] = {
    "S1": REQUIRED_FIELD_MISSING,
    "S2": FIELD_TYPE_MISMATCH,
    "S4": FIELD_TYPE_MISMATCH,
}
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Finding(NamedTuple):
    """One broken rule: its id, the place (wire names and list indexes from the root), and the words.

    `message` and `expected` never hold a value of the payload.
    """

    rule: str
    path: Path
    message: str
    expected: str | None = None

    @property
    def is_error(self) -> bool:
        return self.rule not in WARNING_RULES

    def to_error(self, provider: str | None = None) -> ErrorObject:
        """The error object of this finding; the rule's id stands in `context["rule"]`."""
        context = {"rule": self.rule}
        if self.expected is not None:
            context["expected"] = self.expected
        code = _CODES.get(self.rule, SCHEMA_VALIDATION_FAILED)
        return ErrorObject(code, self.message, jsonpath(self.path), provider, context=context)


def jsonpath(path: Path) -> str:
    """`("call", "tools", 0, "a b")` to `$.call.tools[0]['a b']`; always printable ASCII in odd names."""
    return "$" + "".join(_segment(part) for part in path)


def _segment(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    if _PLAIN_NAME.fullmatch(part):
        return f".{part}"
    escaped = json.dumps(part)[1:-1].replace('\\"', '"').replace("'", "\\'")
    return f"['{escaped}']"
