"""Lineage v0.3 to v0.5 and back, and v0.5 messages that call themselves 0.4: the same fields, another name.

All take a message under wire names and change it in place.
"""

from __future__ import annotations

from typing import Any

from vcp.checksum import checksum
from vcp.migrate import made
from vcp.migrate.report import MigrationReport


def from_lineage(message: dict[str, Any], report: MigrationReport) -> None:
    """Make a valid lineage v0.3 message one of v0.5; what it tells stays as it is written."""
    call, payload = message["vcp_payload"]["call"], message["vcp_payload"]
    payload["provenance"] = made.provenance(call["provider"], message["audit"]["received_at"], "upgraded_from_v0.3")
    report.made_up(("vcp_payload", "provenance"), "v0.3 has no provenance")
    capabilities = call.get("capabilities_invoked", [])
    for index, capability in enumerate(capabilities):
        if isinstance(capability, str):
            capabilities[index] = made.invocation(capability, call["start_time"])
            path = ("vcp_payload", "call", "capabilities_invoked", index)
            report.made_up(path, "v0.3 tells only the capability's name")
    _label(message, "0.5")


def relabel(message: dict[str, Any]) -> None:
    """Call a message 0.5 that has the fields of v0.5 and called itself 0.4; v0.4 tells the direction as channel."""
    call = message["vcp_payload"]["call"]
    if call.get("channel") in ("inbound", "outbound"):
        call["direction"] = call.pop("channel")
    provenance = message["vcp_payload"]["provenance"]
    steps = provenance.get("transformation_history", [])
    provenance["transformation_history"] = [*steps, "relabelled_from_v0.4"]
    _label(message, "0.5")


def to_lineage(message: dict[str, Any]) -> None:
    """Make a v0.5 message one of lineage v0.3, as the reference does, but in JSON text and with its right version."""
    payload = message["vcp_payload"]
    payload.pop("consent", None)
    payload.pop("provenance", None)
    call = payload["call"]
    if "capabilities_invoked" in call:
        call["capabilities_invoked"] = [
            capability if isinstance(capability, str) else capability["capability_id"]
            for capability in call["capabilities_invoked"]
        ]
    # Unknown fields of v0.5 by which the published shape is told.
    message.pop("call_id", None)
    if isinstance(payload.get("audit"), dict):
        del payload["audit"]
    # A checksum covers what v0.3 cannot hold.
    message["audit"].pop("checksum", None)
    message["vcp_version"] = message["audit"]["schema_version"] = "0.3"


def _label(message: dict[str, Any], version: str) -> None:
    """A new version changes the content, and so the checksum; it was right before."""
    message["vcp_version"] = message["audit"]["schema_version"] = version
    if "checksum" in message["audit"]:
        message["audit"]["checksum"] = checksum(message)
