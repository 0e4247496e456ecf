"""`manage.py monitor`: looks in the foreground, shows what it saw, and says by its exit status whether all is up."""

import pytest
from django.core.management import CommandError, call_command

from apps.monitoring.management.commands import monitor as command
from apps.monitoring.models import Change, Kind, Monitor, Observation
from apps.monitoring.tests.play import check, down, fault, provider, says, up

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_comparison")]


@pytest.fixture(autouse=True)
def door(played, monkeypatch):
    monkeypatch.setattr(command, "default_door", lambda: played)
    return played


def test_all_that_is_up_ends_with_0(capsys):
    monitor = check()
    call_command("monitor", once=True)
    assert capsys.readouterr().out.splitlines() == [
        "provider          kind       stands     HTTP     ms  page",
        "acme              health     up          200     40  https://acme.test/health",
    ]
    assert Observation.objects.get().monitor == monitor


@pytest.mark.parametrize("outcome", [down(), fault()])
def test_what_is_not_up_ends_with_1_and_says_why(played, capsys, outcome):
    played.pages[check().url] = outcome
    check(Kind.DOCS)
    with pytest.raises(SystemExit) as ended:
        call_command("monitor")
    assert ended.value.code == 1
    assert f"\n                  {outcome.error}\n" in capsys.readouterr().out


def test_only_the_chosen_are_looked_at(played):
    check()
    docs = check(Kind.DOCS)
    check(Kind.DOCS, "https://other.test/", provider=provider("other"))
    call_command("monitor", provider="acme", kind="docs")
    assert played.asked == [docs.url]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"provider": "nobody"}, "--provider nobody: there is none; known: acme"),
        ({"kind": "docs"}, "no check that is switched on fits"),
    ],
)
def test_a_choice_that_fits_nothing_ends_with_2(options, message):
    check()
    with pytest.raises(CommandError, match=message) as refused:
        call_command("monitor", **options)
    assert refused.value.returncode == 2


def test_changes_are_shown_with_their_diff(played, capsys):
    monitor = check(Kind.DOCS)
    for text in "ab":
        played.pages[monitor.url] = says(text)
        call_command("monitor")
    assert capsys.readouterr().out.endswith(": Acme documentation changed\n1 line changed.\n-a\n+b\n")


def test_a_trial_stores_and_tells_nothing(played, capsys):
    monitor = check(Kind.DOCS)
    played.pages[monitor.url] = says("a")
    call_command("monitor")
    played.pages[monitor.url] = says("b")
    before = Monitor.objects.values().get()
    call_command("monitor", test=True)
    assert "-a\n+b" in capsys.readouterr().out
    assert Monitor.objects.values().get() == before
    assert (Observation.objects.count(), Change.objects.count()) == (1, 0)
    assert up().standing == before["state"]
