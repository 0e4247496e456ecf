"""The measurements run and tell all they promise; how fast is not a test's matter."""

import re
from io import StringIO

import pytest

from apps.providers import catalog
from bench import normalise
from bench.payloads import payload_of

STAGES = ["json.loads", "parse", "read", "store fragment", "message", "whole"]


@pytest.mark.parametrize("slug", catalog.slugs())
def test_every_provider_has_a_payload_of_the_wanted_size(slug):
    _, body = payload_of(slug, 4096)
    assert 3 * 1024 < len(body) < 5 * 1024
    assert payload_of(slug, 4096)[1] == body


def test_every_stage_of_every_provider_is_measured():
    out = StringIO()
    normalise.print_stages(list(normalise.cases(4096)), rounds=1, seconds=0.0001, out=out)
    rates = re.findall(r"^(\w+) +\d+  ([a-z. ]+?) +([\d,]+) +[\d,]+ +[\d.]+$", out.getvalue(), re.MULTILINE)
    assert [(slug, stage) for slug, stage, _ in rates] == [
        (slug, stage) for slug in catalog.slugs() for stage in STAGES
    ]
    assert all(int(rate.replace(",", "")) > 0 for _, _, rate in rates)


def test_all_samples_and_a_crowd_of_providers_are_measured_too():
    out = StringIO()
    normalise.main(["--rounds", "1", "--seconds", "0.0001", "--only", "retell"], out)
    assert re.search(r"^retell \(\d+\) +[\d,]+ +[\d.]+$", out.getvalue(), re.MULTILINE)
    assert re.search(r"^retell of 1 +[\d,]+ +[\d.]+$", out.getvalue(), re.MULTILINE)
    assert re.search(r"^retell of 100 +[\d,]+ +[\d.]+$", out.getvalue(), re.MULTILINE)
