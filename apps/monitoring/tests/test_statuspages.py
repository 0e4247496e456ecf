"""What status pages of the known forms say, and that no JSON breaks the reading."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.monitoring import statuspages
from apps.monitoring.outcome import Standing, VendorIncident
from vcp.tests.tries import tries


def read(document) -> statuspages.StatusPage:
    return statuspages.read(json.dumps(document).encode())


def component(key, name, status="operational", group_id=None, **more):
    return {"id": key, "name": name, "status": status, "group_id": group_id, "group": False, **more}


def summary(indicator="none", **more):
    return {"page": {"id": "p", "name": "Acme"}, "status": {"indicator": indicator, "description": "-"}, **more}


def resource(key, name, status="operational", section=1):
    attributes = {"public_name": name, "status": status, "status_page_section_id": section, "status_history": []}
    return {"id": key, "type": "status_page_resource", "attributes": attributes}


def section(key, name):
    return {"id": key, "type": "status_page_section", "attributes": {"name": name}}


def index(state, *included):
    attributes = {"company_name": "Acme", "aggregate_state": state}
    return {"data": {"id": "1", "type": "status_page", "attributes": attributes}, "included": list(included)}


# --- Statuspage


@pytest.mark.parametrize(
    ("indicator", "standing", "in_maintenance"),
    [
        ("none", "up", False),
        ("minor", "degraded", False),
        ("major", "down", False),
        ("critical", "down", False),
        ("maintenance", "up", True),
    ],
)
def test_the_indicator_of_a_statuspage_says_how_it_stands(indicator, standing, in_maintenance):
    page = read(summary(indicator, components=[component("1", "API", "major_outage")]))

    assert (page.standing, page.in_maintenance, page.error) == (standing, in_maintenance, "")


@pytest.mark.parametrize("status", [{}, {"indicator": "purple"}, {"indicator": None}, None])
@pytest.mark.parametrize(
    ("words", "standing"),
    [
        (["operational"], "up"),
        (["under_maintenance", "operational"], "up"),
        (["operational", "degraded_performance"], "degraded"),
        (["partial_outage"], "degraded"),
        (["major_outage", "degraded_performance"], "down"),
        (["full_outage"], "down"),
        (["purple", "operational"], "up"),
    ],
)
def test_without_a_known_indicator_the_worst_component_says_it(status, words, standing):
    rows = [component(str(n), f"part {n}", word) for n, word in enumerate(words)]

    assert read({"status": status, "components": rows}).standing == standing


def test_components_of_one_name_are_told_apart_by_group_and_then_by_id():
    rows = [
        {"id": "g1", "name": "Sydney", "group": True, "status": "operational", "group_id": None},
        {"id": "g2", "name": "Oregon", "group": True, "status": "major_outage", "group_id": None},
        component("1", "API", group_id="g1"),
        component("2", "API", "major_outage", group_id="g2"),
        component("3", "Calls", "partial_outage"),
        component("4", "Calls"),
        component("5", "Web"),
    ]

    assert read(summary("minor", components=rows)).components == {
        "Sydney / API": "operational",
        "Oregon / API": "major_outage",
        "Calls (3)": "partial_outage",
        "Calls (4)": "operational",
        "Web": "operational",
    }


def test_incidents_of_a_statuspage_come_with_their_newest_update():
    row = {
        "id": "inc1",
        "name": "Calls fail",
        "status": "monitoring",
        "impact": "major",
        "shortlink": "https://stspg.io/1",
        "components": [{"id": "1", "name": "API"}],
        "incident_updates": [
            {"created_at": "2026-05-04T10:00:00Z", "body": "We look."},
            {"created_at": "2026-05-04T11:00:00Z", "body": "A fix is out."},
        ],
    }

    assert read(summary("major", incidents=[row])).incidents == (
        VendorIncident(
            "inc1", "Calls fail", "major", "monitoring", True, "https://stspg.io/1", "A fix is out.", ("API",)
        ),
    )


@pytest.mark.parametrize("status", ["resolved", "postmortem"])
def test_an_incident_that_is_over_is_not_open(status):
    (incident,) = read(summary(incidents=[{"id": "1", "name": "x", "status": status, "impact": "minor"}])).incidents

    assert not incident.is_open


@pytest.mark.parametrize(
    ("status", "in_progress"), [("scheduled", False), ("in_progress", True), ("verifying", True), ("completed", False)]
)
def test_planned_maintenance_counts_while_it_goes_on(status, in_progress):
    page = read(summary(scheduled_maintenances=[{"id": "m", "name": "Move", "status": status, "impact": "minor"}]))

    assert (page.standing, page.in_maintenance) == ("up", in_progress)
    assert [(one.impact, one.is_open) for one in page.incidents] == [("maintenance", True)] * in_progress


# --- incident.io's widget


def widget(ongoing=(), in_progress=()):
    return {
        "page_title": "Acme",
        "page_url": "https://status.acme.example",
        "ongoing_incidents": list(ongoing),
        "in_progress_maintenances": list(in_progress),
        "scheduled_maintenances": [],
    }


@pytest.mark.parametrize(
    ("worst", "standing", "impact"),
    [
        ("full_outage", "down", "critical"),
        ("partial_outage", "degraded", "major"),
        ("degraded_performance", "degraded", "minor"),
        ("", "degraded", "minor"),
    ],
)
def test_the_worst_impact_of_an_ongoing_incident_says_how_the_widget_stands(worst, standing, impact):
    page = read(widget([{"id": "i", "name": "x", "status": "identified", "current_worst_impact": worst}]))

    assert (page.standing, page.incidents[0].impact, page.incidents[0].is_open) == (standing, impact, True)


def test_the_widget_names_the_components_that_incidents_affect():
    eu = {"id": "1", "name": "API", "group_name": "Europe", "current_status": "degraded_performance"}
    first = {"id": "i", "name": "Slow", "status": "monitoring", "current_worst_impact": "degraded_performance",
             "url": "https://a/i", "last_update_message": "Better.", "affected_components": [eu]}  # fmt: skip
    second = {"id": "j", "name": "Out", "affected_components": [eu | {"current_status": "full_outage"}]}

    page = read(widget([first, second]))

    assert page.standing == "down"
    assert page.components == {"Europe / API": "major_outage"}
    assert page.incidents[0] == VendorIncident(
        "i", "Slow", "minor", "monitoring", True, "https://a/i", "Better.", ("API",)
    )


def test_a_quiet_widget_is_up_and_maintenance_is_no_outage():
    planned = {"id": "m", "name": "Move", "status": "maintenance_in_progress",
               "affected_components": [{"name": "API", "current_status": "under_maintenance"}]}  # fmt: skip

    assert read(widget()) == statuspages.StatusPage(Standing.UP)
    page = read(widget(in_progress=[planned]))
    assert (page.standing, page.in_maintenance, page.incidents[0].impact) == ("up", True, "maintenance")


# --- Better Stack


@pytest.mark.parametrize(
    ("state", "standing", "in_maintenance"),
    [
        ("operational", "up", False),
        ("degraded", "degraded", False),
        ("downtime", "down", False),
        ("maintenance", "up", True),
        ("Downtime", "down", False),
    ],
)
def test_the_aggregate_state_says_how_better_stack_stands(state, standing, in_maintenance):
    page = read(index(state, section("1", "Voice"), resource("7", "API", "downtime")))

    assert (page.standing, page.in_maintenance) == (standing, in_maintenance)


@pytest.mark.parametrize("title", ["Providers", "Third-party services", "Upstream vendors", "External dependencies"])
def test_an_outage_of_a_vendor_behind_it_is_not_the_providers(title):
    page = read(
        index("downtime", section("1", "Voice"), section("2", title),
              resource("7", "API"), resource("8", "Some model", "downtime", 2))
    )  # fmt: skip

    assert page.standing == "up"
    assert page.components == {"Voice / API": "operational", f"{title} / Some model": "major_outage"}


def test_an_outage_of_its_own_beside_its_vendors_counts():
    page = read(
        index("downtime", section("1", "Voice"), section("2", "Providers"), resource("7", "API", "degraded"),
              resource("8", "Model", "downtime", 2))
    )  # fmt: skip

    assert page.standing == "degraded"


def test_resources_that_nobody_watches_say_nothing():
    page = read(
        index("operational", section("1", "Voice"), resource("7", "API", "not_monitored"), resource("8", "Web"))
    )

    assert page.components == {"Voice / Web": "operational"}


def report(key, state, report_type="manual", ends_at=None, updates=()):
    attributes = {"title": f"Report {key}", "report_type": report_type, "aggregate_state": state, "ends_at": ends_at,
                  "starts_at": "2026-05-04T10:00:00Z",
                  "affected_resources": [{"status_page_resource_id": 7, "status": state}]}  # fmt: skip
    told = {"status_updates": {"data": [{"id": one, "type": "status_update"} for one in updates]}}
    return {"id": key, "type": "status_report", "attributes": attributes, "relationships": told}


def update(key, published_at, message):
    return {"id": key, "type": "status_update", "attributes": {"published_at": published_at, "message": message}}


def test_reports_of_better_stack_are_incidents_with_their_newest_update():
    page = read(
        index(
            "degraded",
            section("1", "Voice"),
            resource("7", "API", "degraded"),
            report("1", "degraded", updates=["a", "b"]),
            report("2", "resolved", ends_at="2026-05-04T11:00:00Z"),
            report("3", "downtime", "automatic", ends_at="2026-05-04T11:00:00Z"),
            update("b", "2026-05-04T10:10:00Z", "A fix is out."),
            update("a", "2026-05-04T10:00:00Z", "We look."),
        )
    )

    assert [(one.id, one.is_open) for one in page.incidents] == [("1", True), ("2", False), ("3", False)]
    assert page.incidents[0] == VendorIncident(
        "1", "Report 1", "minor", "degraded", True, "", "A fix is out.", ("Voice / API",)
    )


@pytest.mark.parametrize(("state", "in_progress"), [("maintenance", True), ("operational", False), ("resolved", False)])
def test_a_maintenance_of_better_stack_counts_while_its_state_says_so(state, in_progress):
    page = read(index("operational", report("1", state, "maintenance", ends_at="2026-05-09T11:00:00Z")))

    assert page.in_maintenance == in_progress
    assert [one.impact for one in page.incidents] == ["maintenance"] * in_progress


# --- What is none


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "no JSON"),
        (b"<html>Just a moment...</html>", "no JSON"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no object"),
        (b"null", "no object"),
        (b"{}", "none of the known forms"),
        (b'{"data": {"attributes": {"aggregate_state": null}}}', "none of the known forms"),
        (b'{"status": "ok"}', "none of the known forms"),
        (b'{"status": {"indicator": "purple"}}', "its indicator is 'purple'"),
        (b'{"status": {"indicator": "x"}, "components": [{"name": "a", "status": "purple"}]}', "indicator is 'x'"),
        (b'{"data": {"attributes": {"aggregate_state": "purple"}}}', "its aggregate state is 'purple'"),
    ],
)
def test_a_page_of_no_known_form_is_a_fault_of_the_check(body, told):
    page = statuspages.read(body)

    assert page.standing == Standing.FAULT
    assert told in page.error


WORDS = st.sampled_from(
    ["id", "name", "status", "indicator", "components", "incidents", "group", "group_id", "data", "attributes", "type",
     "aggregate_state", "included", "status_report", "status_page_resource", "status_page_section", "status_update",
     "relationships", "status_updates", "ongoing_incidents", "in_progress_maintenances", "affected_components",
     "current_status", "scheduled_maintenances", "incident_updates", "operational", "downtime", "in_progress",
     "public_name", "affected_resources", "report_type", "maintenance", "ends_at", "resolved"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=30,
)
INCLUDED = st.lists(st.fixed_dictionaries({"type": WORDS, "id": JSON, "attributes": JSON, "relationships": JSON}))
PAGES = (
    JSON
    | st.fixed_dictionaries({"status": JSON, "components": st.lists(JSON), "incidents": st.lists(JSON)})
    | st.fixed_dictionaries({"ongoing_incidents": st.lists(JSON), "in_progress_maintenances": st.lists(JSON)})
    | st.fixed_dictionaries({"data": st.just({"attributes": {"aggregate_state": "operational"}}), "included": INCLUDED})
)


@tries(300)
@given(PAGES)
def test_no_json_breaks_the_reading(document):
    page = read(document)

    assert (page.standing == Standing.FAULT) == bool(page.error)
    assert all(name and state for name, state in page.components.items())


@tries(100)
@given(st.binary(max_size=60))
def test_no_bytes_break_the_reading(body):
    statuspages.read(body)
