"""What a provider is, as data: the form of a catalogue file and of the database rows that run.

The same models validate what an admin types and read it at run time, so a rule that can be saved is a rule
that runs. `compile_mapping` in mapping.py turns a MappingSpec into something that runs fast.
"""

from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from apps.providers.engine import conversation as conversation  # registers its transforms
from apps.providers.engine import transforms
from apps.providers.engine.conditions import Condition, Decision
from apps.providers.engine.embedded import ArtifactSpec
from apps.providers.engine.errors import PathError
from apps.providers.engine.paths import compile_path, first_key
from apps.providers.engine.prices import EstimateSpec, PriceSpec, first_overlap
from apps.providers.engine.redact import compile_patterns
from apps.providers.engine.signatures import Scheme
from vcp.models import field_type

Disposition = Literal["map", "store", "ignore"]
Stage = Literal["in_progress", "ended", "analysed"]
STAGES: tuple[Stage, ...] = ("in_progress", "ended", "analysed")
EventKind = Literal[
    "call_started",
    "call_progress",
    "call_ended",
    "call_analyzed",
    "post_call_transcription",
    "post_call_audio",
    "end_of_call_report",
    "status_update",
    "conversation_update",
    "transcript_update",
    "message",
    "unknown",
    "ignored",
]
# Targets beside the VCP schema: large parts that are stored on their own and referred to by the message.
ARTIFACT_TARGETS = {"transcript": "artifacts.transcript_ref"}
# Where the message refers to a file of each kind. No rule writes these: a file is what the event table says is one.
FILE_TARGETS: dict[str, str] = {"recording": "artifacts.audio_recording_ref"}
# The customer's number where neither `call.from` nor `call.to` has it; only its pseudonym goes into the message.
CALLER_TARGET = "caller_number"
RULE_TARGETS = frozenset({*ARTIFACT_TARGETS, CALLER_TARGET})
UNKNOWN_EVENT = "unknown"
# Where the call document, which the fold makes of all events of a call, has what was collected from them.
COLLECTED = "collected"


def _valid_path(path: str) -> str:
    try:
        compile_path(path)
    except PathError as error:
        raise ValueError(str(error)) from error
    return path


def _valid_target(target: str) -> str:
    if target not in RULE_TARGETS and field_type(target) is None:
        raise ValueError(
            f"target {target!r} is no field of a VCP message (write it as below vcp_payload, for example "
            f"'call.start_time'; data of the provider's own goes to 'custom.provider_specific.<provider>.data.…')"
        )
    return target


Path = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_valid_path)]
Target = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_valid_target)]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,49}$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def reads_call(path: str) -> bool:
    """The path is one into the call document, not into a payload."""
    return first_key(path)[:1] == [COLLECTED]


def _check_transform(name: str, args: dict[str, Any]) -> None:
    if name not in transforms.REGISTRY:
        known = ", ".join(sorted(transforms.REGISTRY))
        raise ValueError(f"transform {name!r} does not exist; there are: {known}")
    try:
        transforms.build(name, args)
    except ValidationError as error:
        raise ValueError(f"args of transform {name!r}: {first_problem(error)}") from error


class RuleSpec(Strict):
    """One source path to one target path. Rules of one target are tried in their order; the first that yields wins.

    A source below `collected` is read from the call document when the call is folded; so are the paths of its `when`.
    """

    source: Path
    target: Target
    transform: str = "same"
    args: dict[str, Any] = Field(default_factory=dict)
    event: str = Field(default="*", min_length=1, max_length=100)
    # Only for payloads that meet all of these: {path: condition}.
    when: dict[Path, Condition] = Field(default_factory=dict)
    default: Any = None
    required: bool = False
    inferred: bool = False
    keep: bool = False

    @model_validator(mode="after")
    def _transform_fits(self) -> "RuleSpec":
        _check_transform(self.transform, self.args)
        _check_value(self.target, self.default, "default")
        if self.of_call and (self.required or self.keep or self.event != "*"):
            raise ValueError(f"source {self.source!r} is read from the whole call: no event, required or keep fits it")
        return self

    @property
    def of_call(self) -> bool:
        return reads_call(self.source)

    def applies_to(self, event: str) -> bool:
        return self.event == "*" or self.event == event or fnmatchcase(event, self.event)

    def describe(self) -> str:
        return f"{self.source} -> {self.target}"


class EventSpec(Strict):
    """A row of the event table. `name` is the provider's word, or a glob over several (`transfer_*`)."""

    name: str = Field(min_length=1, max_length=100)
    kind: EventKind
    disposition: Disposition
    rank: int = Field(default=0, ge=0, le=1000)
    opens_call: bool = False
    proves: Stage | None = None
    required: tuple[Path, ...] = ()
    optional: tuple[Path, ...] = ()
    description: str = ""
    # A file in the payload: it is stored on its own, and the stored body holds a reference to it.
    artifact: ArtifactSpec | None = None
    # A payload to try the mapping with, where the catalogue has no sample file.
    example: Any = None
    # The whole answer to a request that waits for a decision; VoiceLens observes, it does not steer.
    answer: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _fits(self) -> "EventSpec":
        if self.opens_call and self.disposition != "map":
            raise ValueError(f"event {self.name!r} opens a call, so its disposition must be 'map'")
        return self


class NamedEvent(Strict):
    """Names an event by what its payload looks like, for providers that do not name it."""

    when: dict[Path, Condition]
    event: str


class ReadSpec(Strict):
    """Where a payload says what it is. Paths of one field are tried in order."""

    event: tuple[Path, ...] = ()
    classify: tuple[NamedEvent, ...] = ()
    call_id: tuple[Path, ...] = ()
    # Other ids of the same call: an event that knows the call under one of them alone belongs to it as well.
    also_known_as: tuple[Path, ...] = ()
    # The provider's clock of the event, as Unix times or ISO texts.
    occurred_at: tuple[Path, ...] = ()
    # Old names of top-level members: read as the new one where that is missing, else left out.
    aliases: dict[str, str] = Field(default_factory=dict)

    @field_validator("event", "call_id", "also_known_as", "occurred_at", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class RedactSpec(Strict):
    """Patterns of payload paths whose values are never stored; `when` limits them to payloads that meet it.

    `hashed`: the SHA-256 of a text stands in its place, so that a change of it shows.
    With `rows`, keys to a list, the patterns are below each of its objects that meets `where`.
    """

    paths: tuple[str, ...] = Field(min_length=1)
    hashed: bool = False
    when: dict[Path, Condition] = Field(default_factory=dict)
    rows: str = Field(default="", pattern=r"^([^.\[\]*?$]+(\.[^.\[\]*?$]+)*)?$")
    where: dict[Path, Condition] = Field(default_factory=dict)
    why: str = ""

    @field_validator("paths")
    @classmethod
    def _patterns_compile(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        compile_patterns(paths)
        return paths

    @model_validator(mode="after")
    def _where_needs_rows(self) -> "RedactSpec":
        if self.where and not self.rows:
            raise ValueError("where is for the objects of a list: name the list in rows")
        return self


class LeftoverSpec(Strict):
    """What no rule used is kept as the provider's own data. Members of the objects in `lift` move up to the top;
    `drop` names paths that are not kept at all."""

    lift: tuple[Path, ...] = ()
    drop: tuple[Path, ...] = ()


class FieldSpec(Strict):
    """How a field of a collected item is read: the first path that tells, and how its value changes."""

    path: tuple[Path, ...] = Field(min_length=1)
    transform: str = "same"
    args: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, data: Any) -> Any:
        whole = data if isinstance(data, dict) else {"path": data}
        return {**whole, "path": [whole["path"]]} if isinstance(whole.get("path"), str) else whole

    @model_validator(mode="after")
    def _transform_fits(self) -> "FieldSpec":
        _check_transform(self.transform, self.args)
        return self


class CollectionSpec(Strict):
    """A list that grows over the events of a call: each brings items, and the same item counts once.

    `source` is a list, or a single object, in the payload; `where` looks at an item as it came, `fields` says what is
    kept of it (all, if empty). `key` and `order_by` look at what is kept: what makes an item the same (the first path
    that tells; else the whole content), and the order.
    """

    name: Slug
    source: Path
    where: dict[Path, Condition] = Field(default_factory=dict)
    fields: dict[str, FieldSpec] = Field(default_factory=dict)
    key: tuple[Path, ...] = ()
    order_by: tuple[Path, ...] = ()

    @field_validator("key", "order_by", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class MappingSpec(Strict):
    """All that turns a payload of one provider into a part of a message; what a MappingVersion holds.

    `format` vcp: the payload is a ready-made VCP message and needs no rules.
    """

    format: Literal["rules", "vcp"] = "rules"
    read: ReadSpec = Field(default_factory=ReadSpec)
    events: tuple[EventSpec, ...] = ()
    collections: tuple[CollectionSpec, ...] = ()
    rules: tuple[RuleSpec, ...] = ()
    decisions: tuple[Decision, ...] = ()
    # What calls cost by the price list, of providers that bill usage and tell no money. A total needs the first.
    estimates: tuple[EstimateSpec, ...] = ()
    redact: tuple[RedactSpec, ...] = ()
    leftovers: LeftoverSpec = Field(default_factory=LeftoverSpec)
    # The end is start plus duration where the provider sends no end time of its own.
    end_from_duration: bool = False
    # Where no start and no end is told, the call ended when the telling of its end was received.
    start_from_receipt: bool = False

    @field_validator("decisions")
    @classmethod
    def _decisions_fit(cls, decisions: tuple[Decision, ...]) -> tuple[Decision, ...]:
        for decision in decisions:
            _valid_target(decision.target)
            for path in {*decision.paths(), *([decision.vocabulary] if decision.vocabulary else [])}:
                _valid_path(path)
            _check_values(decision)
        return decisions

    @model_validator(mode="after")
    def _hangs_together(self) -> "MappingSpec":
        names = [event.name for event in self.events]
        double = {name for name in names if names.count(name) > 1}
        if double:
            raise ValueError(f"events: {sorted(double)[0]!r} stands in the table twice")
        if self.format == "rules" and any(event.opens_call for event in self.events) and not self.read.call_id:
            raise ValueError("read.call_id: an event opens calls, so say where the call's id is")
        self._check_collections()
        return self

    def _check_collections(self) -> None:
        names = [collection.name for collection in self.collections]
        double = {name for name in names if names.count(name) > 1}
        if double:
            raise ValueError(f"collections: {sorted(double)[0]!r} stands there twice")
        paths = [path for rule in self.rules if rule.of_call for path in (rule.source, *rule.when)]
        paths += [path for decision in self.decisions for path in decision.paths() if reads_call(path)]
        paths += [estimate.rows for estimate in self.estimates]
        for path in paths:
            # Of a JSONPath with several names at once only the beginning can be told.
            strange = [key for key in first_key(path)[1:2] if key not in names]
            if strange or not reads_call(path):
                raise ValueError(f"path {path!r} names no collection; there are: {', '.join(names) or 'none'}")

    def event_spec(self, name: str) -> EventSpec:
        """The row for an event's name: the exact one, else the first glob; a name in no row is stored."""
        for event in self.events:
            if event.name == name:
                return event
        for event in self.events:
            if fnmatchcase(name, event.name):
                return event
        return EventSpec(name=name, kind="unknown", disposition="store")


def _check_values(decision: Decision) -> None:
    for value in (*(row.value for row in decision.rows), decision.default):
        _check_value(decision.target, value, "decision")


def _check_value(target: str, value: Any, what: str) -> None:
    """A value written down here goes into messages as it is, so it must have its target's type and normal form."""
    adapter = field_type(target)
    if value is None or adapter is None:
        return
    try:
        normal = adapter.dump_python(adapter.validate_python(value), mode="json")
    except ValidationError as error:
        raise ValueError(f"{what} for {target}: {value!r}: {first_problem(error)}") from error
    if not isinstance(value, dict | list) and normal != value:
        raise ValueError(f"{what} for {target}: write {value!r} as {normal!r}")


class SetupSpec(Strict):
    """What an admin has to do at the provider, in words."""

    secret: str = ""
    events: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()


class AuthOption(Strict):
    """A further way in which a provider can prove itself, once somebody sets it up there."""

    name: str = Field(min_length=1, max_length=50)
    # When to choose it, and where to set it up at the provider.
    when: str = ""
    scheme: Scheme


def _unique_names(options: tuple[AuthOption, ...]) -> tuple[AuthOption, ...]:
    """The options; ValueError when two bear one name."""
    names = [option.name for option in options]
    double = {name for name in names if names.count(name) > 1}
    if double:
        raise ValueError(f"{sorted(double)[0]!r} stands there twice: an option is chosen by its name")
    return options


AuthOptions = Annotated[tuple[AuthOption, ...], AfterValidator(_unique_names)]


class PageSpec(Strict):
    """A page worth watching, for monitoring."""

    kind: Literal["status", "status_json", "docs", "changelog", "feed", "openapi", "api"]
    url: str = Field(pattern=r"^https?://")


class ProviderSpec(Strict):
    """A catalogue file: everything that a provider is."""

    slug: Slug
    name: str = Field(min_length=1, max_length=100)
    company: str = ""
    website: str = ""
    docs_url: str = ""
    api_base_url: str = ""
    pages: tuple[PageSpec, ...] = ()
    source_addresses: tuple[str, ...] = ()
    body_limit_bytes: int | None = Field(default=None, ge=1024, le=512 * 1024 * 1024)
    notes: str = ""
    sources: tuple[str, ...] = ()
    # A sentence each: what is known not to be read, and where we refuse what the provider's own code accepts, and why.
    gaps: tuple[str, ...] = ()
    stricter: tuple[str, ...] = ()
    setup: SetupSpec = Field(default_factory=SetupSpec)
    auth: Scheme
    auth_options: AuthOptions = ()
    mapping: MappingSpec
    # What its models cost, for providers that tell usage but no money.
    prices: tuple[PriceSpec, ...] = ()

    @field_validator("prices")
    @classmethod
    def _one_price_a_day(cls, prices: tuple[PriceSpec, ...]) -> tuple[PriceSpec, ...]:
        problem = first_overlap(prices)
        if problem:
            raise ValueError(problem)
        # In one order, whatever that of the file: as rows of the registry they have none.
        return tuple(
            sorted(prices, key=lambda price: (price.model, price.valid_from, price.per, price.source, price.note))
        )


def first_problem(error: ValidationError) -> str:
    """The first finding of a pydantic error as `place: text`, without the value."""
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    text = str(problem["msg"]).removeprefix("Value error, ")
    return f"{place}: {text}" if place else text
