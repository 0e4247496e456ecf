"""The measurements run and tell all they promise; how fast is not a test's matter."""

import json
import re
from io import StringIO

import pytest

from apps.providers import catalog
from bench import normalise, protocol
from bench.payloads import payload_of
from vcp.tests.samples import full

PROTOCOL_STEPS = {
    "message": [
        "json.loads", "validation (S rules)", "validation of text", "full report", "serialisation", "checksum",
    ],
    "webhook": ["json.loads", "bytes to values", "bytes to content", "whole step"],
}  # fmt: skip
STAGES = ["json.loads", "parse", "read", "store fragment", "message", "whole"]


@pytest.mark.parametrize("slug", catalog.slugs())
def test_every_provider_has_a_payload_of_the_wanted_size(slug):
    _, body = payload_of(slug, 4096)
    assert 3 * 1024 < len(body) < 5 * 1024
    assert payload_of(slug, 4096)[1] == body


def test_every_stage_of_every_provider_is_measured():
    out = StringIO()
    normalise.print_stages(list(normalise.cases(4096)), rounds=1, seconds=0.0001, out=out)
    rates = re.findall(r"^(\w+) +\d+  ([a-z. ]+?) +([\d,]+) +[\d,]+ +[\d.]+ +[\d.]+$", out.getvalue(), re.MULTILINE)
    assert [(slug, stage) for slug, stage, _ in rates] == [
        (slug, stage) for slug in catalog.slugs() for stage in STAGES
    ]
    assert all(int(rate.replace(",", "")) > 0 for _, _, rate in rates)


def test_all_samples_and_a_crowd_of_providers_are_measured_too():
    out = StringIO()
    normalise.main(["--rounds", "1", "--seconds", "0.0001", "--only", "retell", "--many", "3"], out)
    assert re.search(r"^retell \(\d+\) +[\d,]+ +[\d.]+$", out.getvalue(), re.MULTILINE)
    assert re.search(r"^retell of 1 +[\d,]+ +[\d.]+$", out.getvalue(), re.MULTILINE)
    assert re.search(r"^retell of 3 +[\d,]+ +[\d.]+$", out.getvalue(), re.MULTILINE)


def test_the_protocol_is_measured_stored_and_compared_with_the_last_time(tmp_path):
    store = tmp_path / "results" / "protocol.json"
    quick = ["--rounds", "1", "--seconds", "0.0001", "--turns", "2", "--store", str(store)]
    first, second = StringIO(), StringIO()
    protocol.main(quick, first)
    found = json.loads(store.read_text())
    protocol.main(quick, second)
    assert {lane: list(steps) for lane, steps in found.items()} == PROTOCOL_STEPS
    assert all(figure > 0 for steps in found.values() for figures in steps.values() for figure in figures.values())
    assert re.findall(r"^(\w+: .+?)  +.* -$", first.getvalue(), re.MULTILINE) == [
        f"{lane}: {step}" for lane, steps in PROTOCOL_STEPS.items() for step in steps
    ]
    assert len(re.findall(r" [+-]\d+%(?: SLOWER)?$", second.getvalue(), re.MULTILINE)) == 10


def test_the_whole_step_of_the_protocol_tells_what_the_webhook_tells():
    made = protocol.webhook(full())
    assert 4000 < len(made.body) < 4200
    assert set(made.values()) == set(protocol.TARGETS)
    told, payload = full()["vcp_payload"], json.loads(made.written())["vcp_payload"]
    call = {name: told["call"][name] for name in payload["call"] if name not in ("call_id", "provider")}
    assert payload["call"] == {"call_id": "c1", "provider": "acme", **call}
    assert payload["artifacts"] == {name: told["artifacts"][name] for name in payload["artifacts"]}
