"""This implementation's answers to the operations of the suite, as plain JSON: what a port writes for itself.

An answer is a result line without its `id`: `output`, or `errors` (and `warnings`, for `validate`).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import vcp
from vcp.checksum import canonical_json, checksum, jcs
from vcp.compat.cases import Case, given
from vcp.errors import MigrationError, SchemaError, VCPError
from vcp.exports.vcon import from_vcon, to_vcon
from vcp.gap import perception_gap
from vcp.models import VCPMessage
from vcp.structure import read_json

Answer = dict[str, Any]
Answering = Callable[[Case], Answer]


def answer(case: Case) -> Answer:
    """The result line of one case, asked twice of the same input.

    `unstable` names what should not have happened: `determinism` when the two answers differ, `input` when the
    input is no longer what it was, `crash` when there was no answer at all.
    """
    value = given(case.input)
    before = copy.deepcopy(value)
    try:
        first, second = (_answer(case.operation, value, case.options) for _ in range(2))
    except Exception as error:  # noqa: BLE001 - whatever an implementation under test throws is its answer
        return {"id": case.id, "unstable": ["crash"], "output": type(error).__name__}
    changed = {"determinism": _text(first) != _text(second), "input": _text_of(value) != _text_of(before)}
    unstable = [name for name, is_so in changed.items() if is_so]
    return {"id": case.id, **first, **({"unstable": unstable} if unstable else {})}


def _text(value: Any) -> str:
    return json.dumps(value)


def _text_of(value: Any) -> Any:
    return value if isinstance(value, bytes) else _text(value)


def _answer(operation: str, value: Any, options: Mapping[str, Any]) -> Answer:
    if operation == "validate":
        return vcp.validate(value, now=datetime.fromisoformat(options["now"])).to_dict()
    try:
        return {"output": _OPERATIONS[operation](value, options)}
    except (SchemaError, MigrationError) as error:
        found = [error.to_error()] if isinstance(error, MigrationError) else error.errors
        return {"errors": [one.to_dict() for one in found]}
    except VCPError as error:
        return {"errors": [error.to_error().to_dict()]}


def _parsed(value: Any) -> Any:
    return read_json(value) if isinstance(value, bytes) else value


def _message(value: Any) -> VCPMessage:
    return VCPMessage.from_dict(_parsed(value))


def _detect(value: Any, _options: Mapping[str, Any]) -> Any:
    return vcp.detect(_parsed(value))._asdict()


def _serialize(value: Any, _options: Mapping[str, Any]) -> Any:
    return json.loads(_message(value).to_json())


def _canonical(value: Any, _options: Mapping[str, Any]) -> Any:
    return canonical_json(_message(value)).decode()


def _jcs(value: Any, _options: Mapping[str, Any]) -> Any:
    return jcs(_parsed(value)).decode()


def _checksum(value: Any, _options: Mapping[str, Any]) -> Any:
    return checksum(_message(value))


def _migrate(value: Any, options: Mapping[str, Any]) -> Any:
    return vcp.migrate(value, options["to"], options.get("shape"), force=options.get("force", False)).to_dict()


def _gap(value: Any, _options: Mapping[str, Any]) -> Any:
    return perception_gap(value["perceived_scores"], value["status"])


def _to_vcon(value: Any, options: Mapping[str, Any]) -> Any:
    return to_vcon(_message(value), **options)


def _from_vcon(value: Any, _options: Mapping[str, Any]) -> Any:
    return from_vcon(value).to_dict()


def _chain(value: Any, options: Mapping[str, Any]) -> Any:
    """Several operations, each on the output of the one before; of a migration only the message goes on."""
    for step in options["steps"]:
        value = _OPERATIONS[step["operation"]](value, step.get("options", {}))
        if step["operation"] == "migrate":
            value = value["message"]
    return value


_OPERATIONS: Final[Mapping[str, Callable[[Any, Mapping[str, Any]], Any]]] = {
    "detect": _detect,
    "serialize": _serialize,
    "canonical": _canonical,
    "jcs": _jcs,
    "checksum": _checksum,
    "migrate": _migrate,
    "gap": _gap,
    "to_vcon": _to_vcon,
    "from_vcon": _from_vcon,
    "chain": _chain,
}
