"""The examples: each valid in its own version, each ready to become another, none the same."""

from __future__ import annotations

import pytest

import vcp
from vcp.migrate.differences import same
from vcp.models import field_paths
from vcp.tests.samples import NOW
from vcp.versions.forms import COMPLETE, CURRENT, INCOMPLETE, LINEAGE, PUBLISHED

SCENARIOS = [
    "booked_service", "emergency_service", "live_transfer", "no_show_cancel", "out_of_service_area", "quote_requested",
    "scheduled_callback", "spam_filtered",
]  # fmt: skip
PROVIDERS = ["assistable", "bland", "elevenlabs", "openai_realtime", "retell", "vapi"]
FORMS = (
    {f"v03_{name}": PUBLISHED for name in [*SCENARIOS, "full_mode"]}
    | {"v03_lineage": LINEAGE, "v04_complete": COMPLETE, "v04_incomplete": INCOMPLETE}
    | {f"v05_{name}": CURRENT for name in [*PROVIDERS, "whole"]}
)


def test_the_names_are_those_of_the_files():
    assert vcp.examples.names() == sorted(FORMS)


@pytest.mark.parametrize("name", FORMS)
def test_an_example_has_its_form_and_no_errors(name):
    report = vcp.validate(vcp.examples.load(name), now=NOW)
    assert report.form == FORMS[name]
    assert {error.context["rule"] for error in report.errors} == ({"V2"} if name == "v04_incomplete" else set())
    assert {warning.context["rule"] for warning in report.warnings} <= {"C4"}


@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if form == PUBLISHED])
def test_a_published_example_comes_back_equal(name):
    upgraded = vcp.migrate(vcp.examples.load(name)).message
    assert vcp.validate(upgraded, now=NOW).ok
    assert same(vcp.migrate(upgraded, "0.3").message, vcp.examples.load(name))


@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if form.version != "0.3"])
@pytest.mark.parametrize("shape", ["published", "lineage"])
def test_every_other_example_can_become_v03(name, shape):
    result = vcp.migrate(vcp.examples.load(name), "0.3", shape)
    assert vcp.validate(result.message, now=NOW).ok
    assert result.target == ("0.3", shape)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_each_provider_has_an_example_of_its_own(provider):
    assert vcp.examples.load(f"v05_{provider}")["vcp_payload"]["call"]["provider"] == provider


def test_the_whole_example_leaves_no_field_of_the_schema_out():
    payload = vcp.examples.load("v05_whole")["vcp_payload"]
    for path in field_paths():
        place, names = payload, path.split(".")
        for name in names:
            place = next(iter(place.values())) if name == "*" else place[name]


def test_each_loading_gives_a_new_object():
    vcp.examples.load("v05_whole").clear()
    assert vcp.examples.load("v05_whole")


def test_an_unknown_name_is_answered_with_the_names_there_are():
    with pytest.raises(KeyError, match="v05_whole"):
        vcp.examples.load("../tests/data/full")
