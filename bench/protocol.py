"""How fast one core validates, writes and sums up one full message, and makes one from the bytes of a webhook.

`make bench`. Each rate stands beside json.loads of the same bytes in the same round. The results are kept as JSON, and
the next run is compared with them. Neither Django nor a database takes part.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TextIO

from apps.providers.engine.mapping import Mapping
from apps.providers.engine.payload import parse
from apps.providers.engine.spec import MappingSpec
from bench.payloads import fitted
from bench.timing import YARDSTICK, Result, Work, measure, p50_and_p99_us
from vcp import VCPMessage, checksum, validate
from vcp.tests.samples import full

NOW = datetime(2025, 10, 15, tzinfo=UTC)
WEBHOOK_BYTES = 4096
STORE = Path(__file__).parent / "results" / "protocol.json"
# A step that loses more of its ratio than this against the stored result is named.
MAX_LOSS = 0.05

Json = Any

# What the webhook tells, each by one rule. Times come as epoch milliseconds, all else as it goes into the message.
TARGETS = (
    "call.session_id",
    "call.start_time",
    "call.end_time",
    "call.duration_sec",
    "call.channel",
    "call.direction",
    "call.from",
    "call.to",
    "call.correlation_id",
    "call.geographic_region",
    "call.capabilities_invoked",
    "model_selection.roles.LLM.chosen",
    "model_selection.roles.LLM.alternatives",
    "model_selection.roles.TTS.chosen",
    "outcomes.perceived",
    "outcomes.objective.status",
    "outcomes.objective.confidence",
    "outcomes.objective.metrics",
    "outcomes.objective.scored_criteria",
    "outcomes.user_satisfaction_score",
    "outcomes.model_outcome_attribution.roles.LLM.model_id",
    "outcomes.model_outcome_attribution.roles.LLM.minutes",
    "outcomes.model_outcome_attribution.roles.LLM.tokens_processed",
    "outcomes.model_outcome_attribution.roles.LLM.cost_usd",
    "outcomes.model_outcome_attribution.roles.TTS.model_id",
    "outcomes.model_outcome_attribution.roles.TTS.minutes",
    "outcomes.model_outcome_attribution.total_cost_usd",
    "hcr.headline",
    "hcr.summary",
    "hcr.key_points",
    "artifacts.audio_recording_ref",
    "artifacts.transcript_ref",
)
# What fills the webhook up to its size.
TURNS = [
    {"role": "agent", "text": "Good afternoon, how can I help you?", "start_ms": 300, "end_ms": 2150},
    {"role": "user", "text": "I would like to book an appointment.", "start_ms": 2300, "end_ms": 4400},
    {"role": "agent", "text": "Of course.", "start_ms": 4600, "end_ms": 5100},
]
TIMES = ("call.start_time", "call.end_time")


@dataclass(frozen=True)
class Webhook:
    """A webhook that tells the values of TARGETS, and all steps from its bytes to a written message."""

    body: bytes
    mapping: Mapping

    @cached_property
    def _places(self) -> dict[str, tuple[list[str], str]]:
        return {target: (target.split(".")[:-1], target.split(".")[-1]) for target in TARGETS}

    def values(self) -> dict[str, Json]:
        """The message's content as the rules tell it, by target."""
        _, fragment, _ = self.mapping.apply(parse(self.body))
        return {target: value.value for target, value in fragment.values.items()}

    def content(self) -> dict[str, Json]:
        """The message before validation: the values in their places, and what no webhook tells."""
        message = _untold()
        for target, value in self.values().items():
            parents, name = self._places[target]
            node = message["vcp_payload"]
            for parent in parents:
                node = node.setdefault(parent, {})
            node[name] = value
        return message

    def written(self) -> str:
        return VCPMessage.from_dict(self.content()).to_json()


def _untold() -> dict[str, Json]:
    at = "2025-10-14T12:03:20.000Z"
    return {
        "vcp_version": "0.5",
        "vcp_payload": {
            "call": {"call_id": "c1", "provider": "acme"},
            "model_selection": {"policy_id": "acme_default", "resolved_at": at},
            "outcomes": {
                "perception_gap": {"gap_score": 0.0, "gap_class": "aligned", "factors": ["not_assessed"]},
                "model_outcome_attribution": {"kpis": {}},
            },
            "hcr": {"audience": "system", "outcome_status": "success"},
            "custom": {},
            "provenance": {"source_system": "acme_webhook_api", "created_at": at},
        },
        "audit": {"received_at": at, "schema_version": "0.5"},
    }


def webhook(message: dict[str, Json], size: int = WEBHOOK_BYTES) -> Webhook:
    """A webhook of about `size` bytes that tells of this message, and the mapping that reads it."""
    told: dict[str, Json] = {}
    rules = []
    for number, target in enumerate(TARGETS):
        value = _value_at(message["vcp_payload"], target)
        group, name = target.split(".")[0], f"v{number}_{target.split('.')[-1]}"
        epoch = target in TIMES
        told.setdefault(group, {})[name] = int(datetime.fromisoformat(value).timestamp() * 1000) if epoch else value
        rules.append({"source": f"{group}.{name}", "target": target, "transform": "epoch" if epoch else "same"})
    events = [{"name": "end", "kind": "call_ended", "disposition": "map", "opens_call": True, "proves": "ended"}]
    read = {"event": "type", "call_id": ["id"]}
    # A transcript is stored by itself.
    spec = {"read": read, "events": events, "rules": rules, "leftovers": {"drop": ["turns"]}}
    body = fitted({"type": "end", "id": "c1", **told, "turns": TURNS}, size)
    return Webhook(body, Mapping(MappingSpec.model_validate(spec)))


def _value_at(content: Json, path: str) -> Json:
    for name in path.split("."):
        content = content[name]
    return content


def message_steps(content: dict[str, Json]) -> dict[str, Work]:
    """What is done with one message; YARDSTICK reads the same bytes."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    message = VCPMessage.from_dict(content)
    return {
        YARDSTICK: partial(json.loads, text),
        "validation (S rules)": partial(VCPMessage.from_dict, content),
        "validation of text": partial(VCPMessage.from_json, text),
        "full report": partial(validate, content, now=NOW),
        "serialisation": message.to_json,
        "checksum": partial(checksum, message),
    }


def webhook_steps(made: Webhook) -> dict[str, Work]:
    """The whole step and what of it is not the protocol's."""
    return {
        YARDSTICK: partial(json.loads, made.body),
        "bytes to values": made.values,
        "bytes to content": made.content,
        "whole step": made.written,
    }


def run(rounds: int, seconds: float, turns: int) -> dict[str, Json]:
    """Everything measured once: {"message": {step: figures}, "webhook": {step: figures}}."""
    lanes = {"message": message_steps(full()), "webhook": webhook_steps(webhook(full()))}
    return {
        name: {
            step: _figures(result, *p50_and_p99_us(steps[step], turns))
            for step, result in measure(steps, rounds, seconds).items()
        }
        for name, steps in lanes.items()
    }


def _figures(result: Result, p50_us: float, p99_us: float) -> dict[str, float]:
    return {**asdict(result), "p50_us": p50_us, "p99_us": p99_us}


# --- the report -----------------------------------------------------------------------------------------------


def show(found: dict[str, Json], last: dict[str, Json], out: TextIO) -> None:
    """One line a step; the last column tells how the ratio changed since the stored result."""
    head = f"{'step':<32}{'per s':>10}{'best':>10}{'x json.loads':>14}{'p50 us':>9}{'p99 us':>9}{'since last':>12}"
    print(head, file=out)
    for lane, steps in found.items():
        for step, figures in steps.items():
            before = last.get(lane, {}).get(step)
            rates = f"{figures['per_sec']:>10,.0f}{figures['best_per_sec']:>10,.0f}{figures['ratio']:>14.2f}"
            times = f"{figures['p50_us']:>9.1f}{figures['p99_us']:>9.1f}"
            print(f"{f'{lane}: {step}':<32}{rates}{times}{_change(figures, before):>12}", file=out)


def _change(figures: dict[str, float], before: dict[str, float] | None) -> str:
    if before is None:
        return "-"
    change = figures["ratio"] / before["ratio"] - 1
    return f"{change:+.0%}{' SLOWER' if change < -MAX_LOSS else ''}"


def stored(path: Path) -> dict[str, Json]:
    """The last result; empty when there is none."""
    return dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}


def main(arguments: Sequence[str] | None = None, out: TextIO = sys.stdout) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.2, help="of processor time for each step in each round")
    parser.add_argument("--turns", type=int, default=5000, help="timed one by one for p50 and p99")
    parser.add_argument("--store", type=Path, default=STORE, help="the JSON file of results (default: %(default)s)")
    asked = parser.parse_args(arguments)
    last = stored(asked.store)
    found = run(asked.rounds, asked.seconds, asked.turns)
    show(found, last, out)
    asked.store.parent.mkdir(parents=True, exist_ok=True)
    asked.store.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
