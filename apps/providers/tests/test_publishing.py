"""The life of a mapping version: drafts, samples before publishing, nothing changed afterwards, the way back."""

import pytest
from pydantic import ValidationError

from apps.providers import catalog, publishing
from apps.providers.engine.spec import MappingSpec
from apps.providers.models import Immutable, MappingRule, MappingVersion, Provider

pytestmark = pytest.mark.django_db
State = MappingVersion.State


@pytest.fixture
def retell(catalogue):
    return Provider.objects.get(slug="retell")


@pytest.fixture
def draft(retell):
    return publishing.draft_of(retell.published)


def states(provider):
    return dict(provider.versions.values_list("number", "state"))


# --- drafts -------------------------------------------------------------------------------------------------


def test_a_draft_has_the_content_of_the_version_it_was_made_of(retell, draft):
    assert draft.to_spec() == retell.published.to_spec()
    assert (draft.number, draft.state, draft.origin) == (2, State.DRAFT, MappingVersion.Origin.ADMIN)
    assert draft.reason == "edited from v1"
    assert draft.digest == retell.published.digest


def test_a_draft_can_be_changed_and_thrown_away(retell, draft):
    draft.end_from_duration = True
    draft.save()
    draft.rules.get(target="call.to").delete()
    row = draft.webhook_schemas.get(event="call_ended")
    row.rank = 99
    row.save()
    assert draft.to_spec() != retell.published.to_spec()
    draft.delete()
    assert states(retell) == {1: State.PUBLISHED}


def test_numbers_are_given_out_once(retell, draft):
    assert [publishing.draft_of(retell.published).number for _ in range(3)] == [3, 4, 5]


def test_equal_content_has_an_equal_digest_in_whatever_order_it_was_written():
    spec = catalog.load("retell").mapping
    data = spec.model_dump(mode="json", by_alias=True)
    turned = MappingSpec.model_validate(dict(reversed(data.items())))
    assert publishing.digest(turned) == publishing.digest(spec)
    assert publishing.digest(spec.model_copy(update={"end_from_duration": True})) != publishing.digest(spec)


# --- what was in force never changes ------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.PUBLISHED, State.RETIRED])
@pytest.mark.parametrize(
    "change",
    [
        lambda version: version.save(),
        lambda version: version.delete(),
        lambda version: version.rules.first().save(),
        lambda version: version.rules.first().delete(),
        lambda version: version.webhook_schemas.first().save(),
        lambda version: version.webhook_schemas.first().delete(),
        lambda version: MappingRule(version=version, source="a", target="call.to").save(),
    ],
)
def test_a_version_that_was_in_force_is_never_changed(retell, draft, state, change):
    publishing.publish(draft)
    version = retell.versions.get(state=state)
    before = version.to_spec()
    with pytest.raises(Immutable):
        change(version)
    assert retell.versions.get(pk=version.pk).to_spec() == before


def test_a_rule_cannot_be_moved_into_a_version_in_force(retell, draft):
    rule = draft.rules.first()
    rule.version = retell.published
    with pytest.raises(Immutable):
        rule.save()


# --- publishing ---------------------------------------------------------------------------------------------


def test_publishing_runs_every_sample_and_retires_the_one_before(retell, draft):
    former = retell.published
    results = publishing.publish(draft)
    assert {result.name: result.disposition for result in results if result.disposition != "map"} == {
        "call_inbound": "store",
        "chat_ended": "ignore",
    }
    assert {result.name for result in results} == set(catalog.samples("retell"))
    assert states(retell) == {1: State.RETIRED, 2: State.PUBLISHED}
    assert (retell.published.replaced, retell.published.published_at is not None) == (former, True)


def test_a_draft_whose_samples_fail_stays_a_draft_and_says_which(retell, draft):
    rule = draft.rules.get(target="call.to")
    rule.source, rule.required = "call.nowhere", True
    rule.save()
    with pytest.raises(publishing.SamplesFail) as raised:
        publishing.publish(draft)
    assert states(retell) == {1: State.PUBLISHED, 2: State.DRAFT}
    assert "call_started.inbound: call.nowhere is missing; call.to needs it" in str(raised.value)
    problems = {result.name for result in raised.value.results if result.problem}
    assert {"chat_ended", "call_inbound"}.isdisjoint(problems)


@pytest.mark.parametrize(
    ("target", "changes", "problem"),
    [
        ("call.start_time", {"args": {"unit": "s"}}, "$.call.start_timestamp: expected a Unix time"),
        ("call.duration_sec", {"source": "call.agent_name", "transform": "text", "args": {}}, "does not fit"),
    ],
)
def test_a_value_that_a_sample_loses_is_a_problem(draft, target, changes, problem):
    rule = draft.rules.get(target=target)
    for name, value in changes.items():
        setattr(rule, name, value)
    rule.save()
    with pytest.raises(publishing.SamplesFail, match="the samples do not pass") as raised:
        publishing.publish(draft)
    assert problem in str(raised.value)


def test_a_draft_without_a_call_id_cannot_be_published(draft):
    draft.read = {**draft.read, "call_id": ["call.nowhere"]}
    draft.save()
    with pytest.raises(publishing.SamplesFail, match="no call id found"):
        publishing.publish(draft)


def test_a_draft_that_hangs_together_badly_cannot_be_published(retell, draft):
    draft.rules.filter(target="call.to").update(transform="magic")
    with pytest.raises(ValidationError) as raised:
        publishing.publish(draft)
    assert "'magic' does not exist" in publishing.explain(raised.value)
    assert states(retell) == {1: State.PUBLISHED, 2: State.DRAFT}


def test_a_version_is_published_once(retell, draft):
    twin = MappingVersion.objects.get(pk=draft.pk)
    publishing.publish(draft)
    with pytest.raises(Immutable):
        publishing.publish(twin)
    assert retell.published.replaced.number == 1
    assert states(retell) == {1: State.RETIRED, 2: State.PUBLISHED}


def test_an_example_in_the_event_table_is_tried_like_a_sample(draft):
    row = draft.webhook_schemas.get(event="call_ended")
    row.example = {"event": "call_ended", "call": {"call_id": "c", "start_timestamp": "soon"}}
    row.save()
    with pytest.raises(publishing.SamplesFail, match="example of call_ended: "):
        publishing.publish(draft)


def test_the_samples_can_be_run_without_publishing(retell, draft):
    results = publishing.run_samples(retell, draft.to_spec())
    assert [result.problem for result in results] == [""] * len(results)
    assert states(retell) == {1: State.PUBLISHED, 2: State.DRAFT}


# --- the way back -------------------------------------------------------------------------------------------


def test_undo_puts_the_former_version_back_in_force(retell, draft):
    publishing.publish(draft)
    assert publishing.undo(retell).number == 1
    assert states(retell) == {1: State.PUBLISHED, 2: State.RETIRED}


def test_undo_goes_back_step_by_step(retell, draft):
    publishing.publish(draft)
    publishing.publish(publishing.draft_of(draft))
    assert [publishing.undo(retell).number, publishing.undo(retell).number] == [2, 1]


def test_where_nothing_was_replaced_there_is_nothing_to_undo(retell):
    with pytest.raises(publishing.NothingToUndo, match="Retell AI"):
        publishing.undo(retell)
    assert states(retell) == {1: State.PUBLISHED}


def test_a_provider_has_one_published_version_at_most(retell, draft):
    publishing.publish(draft)
    publishing.undo(retell)
    publishing.publish(publishing.draft_of(retell.published))
    assert list(states(retell).values()).count(State.PUBLISHED) == 1
