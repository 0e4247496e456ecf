"""One incident of a source is open at a time, from its first sign to its end."""

import pytest

from apps.monitoring import incidents
from apps.monitoring.models import Incident
from apps.monitoring.tests.play import at

pytestmark = pytest.mark.django_db


def open_one(severity: str = "medium", minute: float = 0, title: str = "Acme is slow"):
    return incidents.open_or_worsen("k", provider="acme", title=title, severity=severity, now=at(minute), text="seen")


def test_the_same_source_worsens_the_incident_that_is_open():
    first, is_new = open_one()
    again, still_new = open_one("critical", 5, "Acme is down")
    assert (is_new, still_new, first) == (True, False, again)
    again.refresh_from_db()
    assert (again.title, again.severity, again.opened_at) == ("Acme is down", "critical", at(0))
    assert [entry.at for entry in again.timeline.all()] == [at(0), at(5)]


def test_an_incident_is_never_made_milder():
    open_one("critical")
    assert open_one("low", 1)[0].severity == "critical"


def test_after_the_end_the_next_sign_opens_another():
    first, _ = open_one()
    assert incidents.resolve("k", at(5), "fine again").pk == first.pk
    assert incidents.resolve("k", at(6), "fine again") is None
    second, is_new = open_one(minute=7)
    assert is_new
    assert second.pk != first.pk
    assert Incident.objects.filter(resolved_at=None).get() == second


def test_an_incident_never_ends_before_it_began():
    open_one(minute=10)
    assert incidents.resolve("k", at(0), "the clock was set back").resolved_at == at(10)


def test_it_is_acknowledged_once_and_only_while_it_is_open():
    incident, _ = open_one()
    incidents.acknowledge(incident, at(1), "ann", "on it")
    incidents.acknowledge(incident, at(2), "bob", "me too")
    assert (incident.acknowledged_at, incident.acknowledged_by, incident.acknowledge_reason) == (at(1), "ann", "on it")
    assert [(entry.text, entry.author) for entry in incident.timeline.all()][1:] == [("Acknowledged: on it", "ann")]
    incidents.resolve("k", at(3), "over")
    later, _ = open_one(minute=4)
    incidents.resolve("k", at(5), "over")
    incidents.acknowledge(later, at(6), "ann", "too late")
    later.refresh_from_db()
    assert later.acknowledged_at is None


def test_a_note_has_its_author():
    incident, _ = open_one()
    incidents.note(incident, at(1), "asked them", "ann")
    assert incident.timeline.last().author == "ann"
