"""The promise of docs/reliability.md: every test that it names exists; and what no other test proves."""

import ast
import re
from pathlib import Path

import pytest

from apps.ingest import ledger
from apps.ingest.models import CallKey, InboundEvent, Message
from apps.ingest.retention import empty_old_bodies, erase_call
from tests.calls import ARRIVAL, ENDED, TRANSFER, said, sample

ROOT = Path(__file__).resolve().parent.parent
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", (ROOT / "docs/reliability.md").read_text())
LATER = ARRIVAL.replace(year=ARRIVAL.year + 2)


def test_every_test_that_the_promise_names_exists():
    assert len(NAMED) > 20
    missing = [f"{path}::{name}" for path, name in NAMED if name not in _functions(ROOT / path)]
    assert missing == []


def test_each_sentence_of_the_promise_names_a_test():
    table = (ROOT / "docs/reliability.md").read_text().split("| --- | --- | --- |\n")[1].split("\n\n")[0]
    assert len(table.splitlines()) == 8
    assert all("::test_" in line for line in table.splitlines())


def _functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text()) if path.exists() else ast.Module([], [])
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


BODIES = {
    "processed": sample(ENDED),
    "ignored": sample("chat_ended"),
    "waiting": sample(TRANSFER, call_id="never opened"),
    "failed": b"not JSON",
}


@pytest.mark.django_db
@pytest.mark.parametrize("afterwards", ["as it is", "emptied by retention", "erased", "replayed"])
@pytest.mark.parametrize("state", BODIES)
def test_the_same_delivery_again_changes_nothing_whatever_became_of_it(arrive, drain, rings, state, afterwards):
    arrive(BODIES[state])
    drain()
    assert InboundEvent.objects.get().state == state
    if afterwards == "emptied by retention":
        empty_old_bodies(LATER, days=30)
    elif afterwards == "erased":
        for key in CallKey.objects.all():
            erase_call(key, LATER)
    elif afterwards == "replayed":
        InboundEvent.objects.update(state="received", attempts=0)
        drain()
    before = _all_there_is()
    rings.clear()
    assert arrive(BODIES[state], LATER).duplicate
    assert drain() == 0
    assert rings == []
    assert _all_there_is() == before
    assert sum(line.repeated for line in ledger.lines()) == 1
    assert ledger.differing(ledger.lines()) == []


def _all_there_is():
    names = ("pk", "state", "attempts", "received_at", "processed_at", "body", "fragment")
    rows = [{**row, "body": bytes(row["body"])} for row in InboundEvent.objects.order_by("pk").values(*names)]
    return rows, [said(message) for message in Message.objects.all()]
