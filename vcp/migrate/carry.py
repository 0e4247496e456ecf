"""The carry-over: what v0.5 has no field for, kept in `custom.experimental` for readers and for the way back."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vcp.migrate.differences import Difference

V03 = "vcp_v03"
V04 = "vcp_v04"


class CarryOver(BaseModel):
    """What the upgrade of a published v0.3 message left for the way back.

    `differences` holds whatever the tables alone would not bring back: an odd timestamp, a null, a field whose name
    v0.5 uses otherwise. An entry counts only while the v0.5 value still is what the upgrade made of it.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    shape: Literal["published"]
    mode: Literal["gtm", "full"]
    synthesized: list[str] = Field(default_factory=list)
    purpose_contract: dict[str, Any] | None = None
    outcome_hint: Any = None
    synthetic: Any = None
    synthetic_recipe: Any = None
    status: Any = None
    gap_score: Any = None
    perceived: list[Any] = Field(default_factory=list)
    drivers: list[Any] = Field(default_factory=list)
    differences: list[Difference] = Field(default_factory=list)

    def stored(self) -> dict[str, Any]:
        """As JSON, without what the message did not have."""
        return self.model_dump(exclude_unset=True)


def carried(message: dict[str, Any]) -> CarryOver | None:
    """The carry-over of a v0.5 message; None where there is none, or none that can be read."""
    experimental = message["vcp_payload"]["custom"].get("experimental")
    try:
        return CarryOver.model_validate((experimental or {}).get(V03))
    except ValidationError:
        return None


def without_carry(message: dict[str, Any]) -> dict[str, Any]:
    """The message without its carry-over from v0.3; only the changed objects are copies."""
    custom = message["vcp_payload"]["custom"]
    kept = {key: value for key, value in (custom.get("experimental") or {}).items() if key != V03}
    bare = {key: value for key, value in custom.items() if key != "experimental"}
    custom = bare | ({"experimental": kept} if kept else {})
    return message | {"vcp_payload": message["vcp_payload"] | {"custom": custom}}
