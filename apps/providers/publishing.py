"""The life of a mapping version: draft, published, retired. Nothing else changes a version's state.

Publishing first runs the provider's samples through the version; a version that cannot map them stays a draft.
"""

import hashlib
import json
from collections.abc import Mapping as MappingType
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.db.models import Max
from django.utils import timezone
from pydantic import ValidationError

from apps.providers import catalog
from apps.providers.engine import fold, spec
from apps.providers.engine.errors import EngineError
from apps.providers.engine.mapping import Mapping
from apps.providers.models import MappingRule, MappingVersion, Provider, WebhookSchema, refuse_unless_draft
from vcp import validate

# Samples are judged as of this time, whatever the clock says.
SAMPLE_TIME = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class SampleResult:
    """What a version makes of one sample: its event, and the problem if it cannot be mapped."""

    name: str
    event: str
    disposition: str
    problem: str = ""


class SamplesFail(Exception):
    def __init__(self, results: list[SampleResult]) -> None:
        failed = [f"{result.name}: {result.problem}" for result in results if result.problem]
        super().__init__("the samples do not pass: " + "; ".join(failed))
        self.results = results


def digest(mapping: spec.MappingSpec) -> str:
    """The same for equal content; tells whether a catalogue file has changed."""
    text = json.dumps(mapping.model_dump(mode="json", by_alias=True), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def create_version(
    provider: Provider, mapping: spec.MappingSpec, *, origin: str, author: Any = None, reason: str = ""
) -> MappingVersion:
    """A new draft with the content of `mapping`."""
    # Without what is default anyway: the columns are read, and edited, by people.
    data = mapping.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    events, rules = data.pop("events", []), data.pop("rules", [])
    with transaction.atomic():
        # The provider's row is the lock under which numbers are given out.
        Provider.objects.select_for_update().get(pk=provider.pk)
        number = (provider.versions.aggregate(top=Max("number"))["top"] or 0) + 1
        version = MappingVersion.objects.create(
            provider=provider,
            number=number,
            origin=origin,
            author=author,
            reason=reason[:200],
            digest=digest(mapping),
            **data,
        )
        WebhookSchema.objects.bulk_create(
            WebhookSchema(version=version, position=position, event=row.pop("name"), **row)
            for position, row in enumerate(events)
        )
        MappingRule.objects.bulk_create(
            MappingRule(version=version, position=position, **row) for position, row in enumerate(rules)
        )
    return version


def draft_of(version: MappingVersion, *, author: Any = None) -> MappingVersion:
    """A draft with the content of `version`, to be edited."""
    return create_version(
        version.provider,
        version.to_spec(),
        origin=MappingVersion.Origin.ADMIN,
        author=author,
        reason=f"edited from v{version.number}",
    )


def run_samples(provider: Provider, mapping: spec.MappingSpec) -> list[SampleResult]:
    """Each sample of the catalogue and each example of the event table through the mapping, as a call of its own."""
    compiled = Mapping(mapping)
    samples = {f"example of {event.name}": event.example for event in mapping.events if event.example is not None}
    samples |= catalog.samples(provider.slug)
    return [_run_sample(provider, compiled, name, payload) for name, payload in samples.items()]


def _run_sample(provider: Provider, mapping: Mapping, name: str, payload: MappingType[str, Any]) -> SampleResult:
    identity = mapping.identify(payload)
    disposition = identity.spec.disposition
    if disposition != "map":
        return SampleResult(name, identity.event, disposition)
    try:
        identity, fragment, report = mapping.apply(payload)
        problem = _problem(provider, mapping, identity, fragment) or "; ".join(
            f"{failure['path']}: {failure['error']}" for failure in report.failed
        )
    except EngineError as error:
        problem = str(error)
    return SampleResult(name, identity.event, disposition, problem)


def _problem(provider: Provider, mapping: Mapping, identity: Any, fragment: Any) -> str:
    event = fold.Event(
        fragment=fragment,
        name=identity.event,
        rank=identity.spec.rank,
        opens_call=True,
        proves=identity.spec.proves,
        occurred_at=identity.occurred_at,
        digest="",
        received_at=SAMPLE_TIME,
    )
    if identity.call_id is None and mapping.spec.format == "rules":
        return "no call id found"
    context = fold.Context(provider.slug, provider.name, identity.call_id or "", "", lambda number: "pseudonym")
    folded = fold.fold([event], mapping, context)
    report = validate(folded.message if folded else {}, now=SAMPLE_TIME)
    problems = [f"{error.field_path}: {error.message}" for error in report.errors]
    problems += [f"{failure['path']}: {failure['error']}" for failure in (folded.report.failed if folded else ())]
    return "; ".join(problems)


def publish(version: MappingVersion, *, check_samples: bool = True) -> list[SampleResult]:
    """Make a draft the version that runs. Raises SamplesFail, pydantic.ValidationError when it hangs together badly,
    or Immutable when it is no draft any more."""
    mapping = version.to_spec()
    results = run_samples(version.provider, mapping) if check_samples else []
    if any(result.problem for result in results):
        raise SamplesFail(results)
    _put_in_force(version, digest(mapping))
    return results


@transaction.atomic
def _put_in_force(version: MappingVersion, content_digest: str) -> None:
    Provider.objects.select_for_update().get(pk=version.provider_id)
    # Under the lock: of two people who publish the same draft at once, the second must not retire it.
    refuse_unless_draft(version)
    current = version.provider.published
    if current is not None:
        current.state = MappingVersion.State.RETIRED
        current.save(update_fields=["state"])
    version.state = MappingVersion.State.PUBLISHED
    version.published_at = timezone.now()
    version.replaced = current
    if version.digest != content_digest:
        # A catalogue draft that was edited here is no longer the catalogue's: the next sync must not publish over it.
        version.origin = MappingVersion.Origin.ADMIN
    version.digest = content_digest
    version.save(update_fields=["state", "published_at", "replaced", "origin", "digest"])


class NothingToUndo(Exception):
    def __init__(self, provider: Provider) -> None:
        super().__init__(f"{provider.name}: the published version replaced none, so there is nothing to go back to")


@transaction.atomic
def undo(provider: Provider) -> MappingVersion:
    """Put the version back in force that the published one replaced. Raises NothingToUndo."""
    Provider.objects.select_for_update().get(pk=provider.pk)
    current = provider.published
    if current is None or current.replaced is None:
        raise NothingToUndo(provider)
    former = current.replaced
    current.state = MappingVersion.State.RETIRED
    current.save(update_fields=["state"])
    former.state = MappingVersion.State.PUBLISHED
    former.published_at = timezone.now()
    former.save(update_fields=["state", "published_at"])
    return former


def explain(error: Exception) -> str:
    """A publishing error in words for the admin."""
    return spec.first_problem(error) if isinstance(error, ValidationError) else str(error)
