"""The registry: which providers there are, where they post, how they prove themselves, how their payloads are read.

What a provider is starts as a catalogue file (catalog/<slug>.toml); these rows are what runs. JSON columns are
validated by the pydantic models of engine/spec.py that read them at run time.
"""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models.signals import pre_delete
from django.dispatch import receiver
from pydantic import TypeAdapter
from pydantic import ValidationError as PydanticError

from apps.providers import vault
from apps.providers.engine.addresses import parse_networks
from apps.providers.engine.conditions import Decision
from apps.providers.engine.prices import RATE_NAME, DatedRate, EstimateSpec, Rate
from apps.providers.engine.signatures import Scheme, parse_scheme
from apps.providers.engine.spec import (
    AuthOptions,
    CollectionSpec,
    EventSpec,
    LeftoverSpec,
    MappingSpec,
    PageSpec,
    ReadSpec,
    RedactSpec,
    RuleSpec,
    SetupSpec,
    first_problem,
)

DEFAULT_ENDPOINT = "default"
slug_validator = RegexValidator(
    r"^[a-z][a-z0-9_]{0,49}$",
    "Lower-case letters, digits and underscores; a letter first; at most 50 characters.",
)
endpoint_slug_validator = RegexValidator(
    r"^[a-z0-9][a-z0-9_-]{0,49}$", "Lower-case letters, digits, - and _; at most 50 characters."
)


class Environment(models.TextChoices):
    LIVE = "live", "live: real calls, counted in the totals"
    TEST = "test", "test: real provider, no production calls"
    DEMO = "demo", "demo: made-up calls"


def validate_with(model: Any, value: Any, field: str) -> Any:
    """The value as that pydantic type, or Django's ValidationError at `field` with the first problem."""
    try:
        return TypeAdapter(model).validate_python(value)
    except PydanticError as error:
        raise ValidationError({field: first_problem(error)}) from error


class Provider(models.Model):
    """A company whose voice agents call us back by webhook."""

    class Priority(models.TextChoices):
        LOW = "low"
        NORMAL = "normal"
        HIGH = "high"

    slug = models.CharField(
        max_length=50,
        unique=True,
        validators=[slug_validator],
        help_text="Stands in the webhook URL and in every message; cannot be changed later.",
    )
    name = models.CharField(max_length=100)
    enabled = models.BooleanField(default=True, help_text="Off: every webhook of this provider is answered 404.")
    company = models.CharField(max_length=100, blank=True)
    website = models.URLField(blank=True)
    docs_url = models.URLField(blank=True)
    api_base_url = models.URLField(blank=True)
    pages = models.JSONField(default=list, blank=True, help_text="Pages worth watching: [{kind, url}].")
    monitored = models.BooleanField(default=True, help_text="Off: none of its pages is looked at.")
    priority = models.CharField(
        max_length=10, choices=Priority, default=Priority.NORMAL, help_text="Severity rules can ask for it."
    )
    source_addresses = models.JSONField(
        default=list,
        blank=True,
        help_text="Addresses the provider says it sends from (for endpoints' allow-lists).",
    )
    body_limit_bytes = models.PositiveIntegerField(
        null=True, blank=True, help_text="Largest accepted body in bytes; empty: WEBHOOK_BODY_LIMIT_BYTES."
    )
    allowed_addresses = models.JSONField(
        default=list,
        blank=True,
        help_text='Only these may post to any of its endpoints: ["203.0.113.7", "2001:db8::/32"]. Empty: everyone.',
    )
    rate_per_min = models.PositiveIntegerField(
        "deliveries per minute",
        null=True,
        blank=True,
        help_text="More are answered 429 once the burst is used up. Empty: WEBHOOKS_PER_MIN; 0: no limit.",
    )
    rate_burst = models.PositiveIntegerField(
        "burst",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="So many may come at once after a pause. Empty: WEBHOOKS_BURST.",
    )
    auth = models.JSONField(default=dict, help_text="How the provider proves itself; the start of each new endpoint.")
    auth_options = models.JSONField(
        default=list, blank=True, help_text="Further ways that an endpoint may choose: [{name, when, scheme}]."
    )
    setup = models.JSONField(default=dict, blank=True, help_text="What to do at the provider: {secret, events, steps}.")
    notes = models.TextField(blank=True)
    sources = models.JSONField(default=list, blank=True, help_text="Where the facts were read.")
    gaps = models.JSONField(default=list, blank=True, help_text="What of the provider is known not to be read.")
    stricter = models.JSONField(
        default=list, blank=True, help_text="Where we refuse what the provider's own code accepts, and why."
    )
    catalog_digest = models.CharField(max_length=64, blank=True, editable=False)
    edited_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_updated = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        validate_with(list[PageSpec], self.pages, "pages")
        validate_with(SetupSpec, self.setup, "setup")
        validate_with(Scheme, self.auth, "auth")
        validate_with(AuthOptions, self.auth_options, "auth_options")
        for name in ("sources", "gaps", "stricter"):
            validate_with(list[str], getattr(self, name), name)
        _validate_networks(self.source_addresses, "source_addresses")
        _validate_networks(self.allowed_addresses, "allowed_addresses")

    @property
    def published(self) -> "MappingVersion | None":
        return self.versions.filter(state=MappingVersion.State.PUBLISHED).first()


def _validate_networks(value: Any, field: str) -> None:
    try:
        parse_networks(validate_with(list[str], value, field))
    except ValueError as error:
        raise ValidationError({field: str(error)}) from error


class Endpoint(models.Model):
    """One webhook address. A company has several accounts and agents at a provider, each with a secret of its own."""

    provider = models.ForeignKey(Provider, models.PROTECT, related_name="endpoints")
    slug = models.CharField(
        max_length=50,
        default=DEFAULT_ENDPOINT,
        validators=[endpoint_slug_validator],
        help_text="`default` answers at /webhook/<provider>, another at /webhook/<provider>/<slug>. Fixed for ever.",
    )
    account = models.CharField(
        max_length=50,
        default="default",
        help_text="Whose calls these are; a call is unique within its account.",
    )
    environment = models.CharField(max_length=10, choices=Environment, default=Environment.LIVE)
    enabled = models.BooleanField(
        default=True, help_text="Off: answered 404. On, but without a secret: all is refused with 401."
    )
    allowed_addresses = models.JSONField(
        default=list,
        blank=True,
        help_text='Only these may post: ["203.0.113.7", "2001:db8::/32"]. Empty: everyone.',
    )
    created_at = models.DateTimeField(auto_now_add=True)
    last_refused_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_refused_reason = models.CharField(max_length=200, blank=True, editable=False)

    class Meta:
        ordering = ["provider__name", "slug"]
        constraints = [models.UniqueConstraint(fields=["provider", "slug"], name="endpoint_once_per_provider")]
        permissions = [("switch_endpoint", "Can switch endpoint on and off")]

    def __str__(self) -> str:
        return f"{self.provider.slug}/{self.slug}"

    def clean(self) -> None:
        _validate_networks(self.allowed_addresses, "allowed_addresses")

    @property
    def path(self) -> str:
        tail = "" if self.slug == DEFAULT_ENDPOINT else f"/{self.slug}"
        return f"/webhook/{self.provider.slug}{tail}"

    @property
    def url(self) -> str:
        """The address to paste at the provider."""
        return f"{settings.PUBLIC_BASE_URL}{self.path}"

    @property
    def full_url(self) -> str:
        """The address with the endpoint named, also where that is `default`: a token can follow."""
        return f"{settings.PUBLIC_BASE_URL}/webhook/{self.provider.slug}/{self.slug}"


class AuthConfig(models.Model):
    """One way for an endpoint's deliveries to prove themselves; any of an endpoint's enabled ways is enough."""

    endpoint = models.ForeignKey(Endpoint, models.CASCADE, related_name="auth_configs")
    name = models.CharField(max_length=50, default="signature")
    scheme = models.JSONField(
        help_text="kind (hmac, token, url_token, none) and its options; see docs/authenticity.md."
    )
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ["id"]
        verbose_name = "auth config"

    def __str__(self) -> str:
        return f"{self.endpoint}: {self.name}"

    def clean(self) -> None:
        try:
            parse_scheme(self.scheme)
        except PydanticError as error:
            raise ValidationError({"scheme": first_problem(error)}) from error


class Secret(models.Model):
    """A secret of an auth config, encrypted. Several may be valid at once, so that a rotation needs no gap."""

    auth_config = models.ForeignKey(AuthConfig, models.CASCADE, related_name="secrets")
    label = models.CharField(max_length=50, blank=True, help_text="For people: “since March”, “agent 7”.")
    key_id = models.CharField(max_length=50, editable=False)
    ciphertext = models.TextField(editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    valid_until = models.DateTimeField(null=True, blank=True, help_text="Empty: until it is deleted.")
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.label or f"secret of {self.created_at:%Y-%m-%d}"

    def set_value(self, value: str) -> None:
        self.key_id, self.ciphertext = vault.encrypt(value)

    def value(self) -> str:
        """The secret itself. Raises vault.MissingKey."""
        return vault.decrypt(self.key_id, self.ciphertext)


class Immutable(ValidationError):
    """A published or retired version cannot be changed: edit it as a draft."""

    def __init__(self) -> None:
        super().__init__("A published or retired version is never changed. Edit it as a draft and publish that.")


class MappingVersion(models.Model):
    """How a provider's payloads are read, as a whole. Editing makes a draft, publishing it retires the one before."""

    class State(models.TextChoices):
        DRAFT = "draft"
        PUBLISHED = "published"
        RETIRED = "retired"

    class Origin(models.TextChoices):
        CATALOGUE = "catalogue"
        ADMIN = "admin"

    provider = models.ForeignKey(Provider, models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State, default=State.DRAFT)
    origin = models.CharField(max_length=10, choices=Origin, default=Origin.ADMIN)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+")
    reason = models.CharField(max_length=200, blank=True, help_text="Why this version was made.")
    created_at = models.DateTimeField(auto_now_add=True)
    published_at = models.DateTimeField(null=True, blank=True)
    replaced = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="+", editable=False)
    digest = models.CharField(max_length=64, editable=False, blank=True)

    format = models.CharField(max_length=10, default="rules", help_text="rules, or vcp for ready-made messages.")
    read = models.JSONField(default=dict, blank=True, help_text="Where event name, call id and event time are.")
    collections = models.JSONField(default=list, blank=True, help_text="Lists that grow over the events of a call.")
    decisions = models.JSONField(default=list, blank=True, help_text="Ordered tables over the merged call.")
    estimates = models.JSONField(default=list, blank=True, help_text="What a call costs by the price list.")
    redact = models.JSONField(default=list, blank=True, help_text="Payload paths whose values are never stored.")
    leftovers = models.JSONField(default=dict, blank=True, help_text="What of the unused payload is kept, and where.")
    end_from_duration = models.BooleanField(default=False, help_text="No end time of its own: start plus duration.")
    start_from_receipt = models.BooleanField(
        default=False, help_text="No times at all: the start is the receipt of the call's end, less its duration."
    )

    class Meta:
        ordering = ["provider", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["provider", "number"], name="version_number_once_per_provider"),
            models.UniqueConstraint(
                fields=["provider"], condition=models.Q(state="published"), name="one_published_version"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider.slug} v{self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        # Only publishing.py moves the state of a version that is no draft, and it names the columns it writes.
        if self.pk and "update_fields" not in kwargs:
            refuse_unless_draft(self)
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        refuse_unless_draft(self)
        return super().delete(*args, **kwargs)

    def clean(self) -> None:
        validate_with(ReadSpec, self.read, "read")
        validate_with(list[CollectionSpec], self.collections, "collections")
        validate_with(list[Decision], self.decisions, "decisions")
        validate_with(list[EstimateSpec], self.estimates, "estimates")
        validate_with(list[RedactSpec], self.redact, "redact")
        validate_with(LeftoverSpec, self.leftovers, "leftovers")

    @property
    def is_draft(self) -> bool:
        return self.state == self.State.DRAFT

    def to_spec(self) -> MappingSpec:
        """The whole version as the engine reads it. Raises pydantic.ValidationError."""
        return MappingSpec.model_validate(
            {
                "format": self.format,
                "read": self.read,
                "collections": self.collections,
                "decisions": self.decisions,
                "estimates": self.estimates,
                "redact": self.redact,
                "leftovers": self.leftovers,
                "end_from_duration": self.end_from_duration,
                "start_from_receipt": self.start_from_receipt,
                "events": [row.as_data() for row in self.webhook_schemas.all()],
                "rules": [row.as_data() for row in self.rules.all()],
            }
        )


def refuse_unless_draft(version: MappingVersion) -> None:
    stored = MappingVersion.objects.filter(pk=version.pk).values_list("state", flat=True).first()
    if stored not in (None, MappingVersion.State.DRAFT):
        raise Immutable


class PartOfVersion(models.Model):
    """A row that belongs to a version and may change only while that is a draft."""

    class Meta:
        abstract = True

    version: models.ForeignKey[MappingVersion, MappingVersion]

    def save(self, *args: Any, **kwargs: Any) -> None:
        refuse_unless_draft(self.version)
        if self.pk:
            # Nor may a row be taken out of a version that is in force, by giving it another one.
            for stored in type(self)._default_manager.filter(pk=self.pk):
                refuse_unless_draft(stored.version)
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        refuse_unless_draft(self.version)
        return super().delete(*args, **kwargs)


class WebhookSchema(PartOfVersion):
    """A row of the event table: what an event is in our words, and what its payload must hold."""

    version = models.ForeignKey(MappingVersion, models.CASCADE, related_name="webhook_schemas")
    event = models.CharField(max_length=100, help_text="The provider's word, or a glob (`transfer_*`).")
    kind = models.CharField(
        max_length=40, help_text="Our word: call_started, call_progress, call_ended, call_analyzed, …"
    )
    disposition = models.CharField(
        max_length=10,
        choices=[("map", "map into the message"), ("store", "store only"), ("ignore", "acknowledge only")],
    )
    rank = models.PositiveIntegerField(default=0, help_text="Higher ranks lie over lower ones when a call is folded.")
    opens_call = models.BooleanField(default=False, help_text="Off: the event waits until another opens its call.")
    proves = models.CharField(
        max_length=12,
        blank=True,
        choices=[("in_progress", "in progress"), ("ended", "ended"), ("analysed", "analysed")],
        help_text="The stage of the call that this event proves.",
    )
    required = models.JSONField(default=list, blank=True, help_text="Paths without which the event fails.")
    optional = models.JSONField(default=list, blank=True)
    answer = models.JSONField(
        null=True, blank=True, help_text="Neutral answer for a request that waits for a decision."
    )
    artifact = models.JSONField(
        null=True,
        blank=True,
        help_text="A file in the payload that is stored on its own: "
        '{"path": "data.audio", "kind": "recording", "media_type": "audio/mpeg"}.',
    )
    description = models.TextField(blank=True)
    example = models.JSONField(null=True, blank=True, help_text="A payload that publishing tries the version with.")
    position = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["version", "position", "id"]
        constraints = [models.UniqueConstraint(fields=["version", "event"], name="event_once_per_version")]

    def __str__(self) -> str:
        return self.event

    def as_data(self) -> dict[str, Any]:
        return {
            "name": self.event,
            "kind": self.kind,
            "disposition": self.disposition,
            "rank": self.rank,
            "opens_call": self.opens_call,
            "proves": self.proves or None,
            "required": self.required,
            "optional": self.optional,
            "answer": self.answer,
            "artifact": self.artifact,
            "description": self.description,
            "example": self.example,
        }

    def clean(self) -> None:
        _clean_row(EventSpec, self.as_data(), {"name": "event"})


class MappingRule(PartOfVersion):
    """One source path to one target path."""

    version = models.ForeignKey(MappingVersion, models.CASCADE, related_name="rules")
    position = models.PositiveIntegerField(default=0, help_text="Rules of one target are tried in this order.")
    source = models.CharField(max_length=500, help_text="Dotted (`call.items[0].id`) or JSONPath (`$.call…`).")
    target = models.CharField(max_length=200, help_text="Below vcp_payload: `call.start_time`; or `transcript`.")
    transform = models.CharField(max_length=40, default="same")
    args = models.JSONField(default=dict, blank=True)
    event = models.CharField(max_length=100, default="*", help_text="Only for this event; a glob; * for all.")
    when = models.JSONField(default=dict, blank=True, help_text="Only for payloads that meet {path: condition}.")
    default = models.JSONField(null=True, blank=True, help_text="Taken when no rule of the target yields a value.")
    required = models.BooleanField(default=False, help_text="Missing or unreadable: the event fails.")
    inferred = models.BooleanField(
        default=False, help_text="Our reading, not the provider's word; noted in provenance."
    )
    keep = models.BooleanField(default=False, help_text="The source also stays in the provider's own data.")

    class Meta:
        ordering = ["version", "position", "id"]
        constraints = [
            models.UniqueConstraint(fields=["version", "event", "target", "position"], name="rule_once_per_place")
        ]

    def __str__(self) -> str:
        return f"{self.source} → {self.target}"

    def as_data(self) -> dict[str, Any]:
        names = ("source", "target", "transform", "args", "event", "when", "default", "required", "inferred", "keep")
        return {name: getattr(self, name) for name in names}

    def clean(self) -> None:
        _clean_row(RuleSpec, self.as_data(), {})


def _clean_row(model: Any, data: dict[str, Any], renamed: dict[str, str]) -> None:
    try:
        model.model_validate(data)
    except PydanticError as error:
        place = str(error.errors()[0]["loc"][0]) if error.errors()[0]["loc"] else ""
        field = renamed.get(place, place)
        problem = first_problem(error)
        raise ValidationError({field: problem} if field in data else problem) from error


@receiver(pre_delete, dispatch_uid="versions_in_force_stay")
def _refuse_deletion(sender: type, instance: models.Model, **kwargs: Any) -> None:
    """Versions in force and their rows cannot be deleted by a query set either."""
    if isinstance(instance, MappingVersion):
        refuse_unless_draft(instance)
    elif isinstance(instance, WebhookSchema | MappingRule):
        refuse_unless_draft(instance.version)


class Price(models.Model):
    """What so many units of one kind cost at one model of a provider, and on which days (UTC)."""

    class Per(models.TextChoices):
        MILLION = "million", "1,000,000 tokens"
        MINUTE = "minute", "minute"

    class Origin(models.TextChoices):
        CATALOGUE = "catalogue"
        ADMIN = "admin", "edited here"

    provider = models.ForeignKey(Provider, models.PROTECT, related_name="prices")
    model = models.CharField(max_length=100, help_text="As the provider's events name it, to the letter.")
    rate = models.CharField(
        max_length=40,
        validators=[RegexValidator(RATE_NAME, "Lower-case letters, digits and underscores; a letter first.")],
        help_text="What is counted, in the words of the mapping's estimates: text_in, audio_cached, …",
    )
    usd = models.DecimalField("USD", max_digits=14, decimal_places=8, validators=[MinValueValidator(0)])
    per = models.CharField(max_length=10, choices=Per, default=Per.MILLION)
    valid_from = models.DateField(help_text="The first day with this price; the day of a call's start counts, in UTC.")
    valid_until = models.DateField(
        null=True, blank=True, help_text="The first day without it. Empty: until further notice."
    )
    source = models.CharField(max_length=500, blank=True, help_text="Where it was read.")
    note = models.CharField(max_length=200, blank=True)
    origin = models.CharField(max_length=10, choices=Origin, default=Origin.ADMIN, editable=False)
    last_updated = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["provider__name", "model", "rate", "-valid_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "model", "rate", "valid_from"],
                name="one_price_from_a_day",
                violation_error_message="There is a price of this rate from this day already: change that one.",
            ),
            models.CheckConstraint(
                condition=models.Q(valid_until=None) | models.Q(valid_until__gt=models.F("valid_from")),
                name="price_ends_after_it_began",
                violation_error_message="Valid until must be after valid from: it is the first day without the price.",
            ),
            models.CheckConstraint(condition=models.Q(usd__gte=0), name="price_not_below_zero"),
        ]

    def __str__(self) -> str:
        return f"{self.model} {self.rate} from {self.valid_from}"

    def clean(self) -> None:
        other = self.overlapping().first() if self.valid_from else None
        if other is not None:
            raise ValidationError({"valid_from": f"{other} is in force on the same days: end it first."})

    def overlapping(self) -> "models.QuerySet[Price]":
        """The other prices of the same rate that share a day with this one."""
        same = Price.objects.filter(provider_id=self.provider_id, model=self.model, rate=self.rate)
        if self.valid_until is not None:
            same = same.filter(valid_from__lt=self.valid_until)
        return same.filter(models.Q(valid_until=None) | models.Q(valid_until__gt=self.valid_from)).exclude(pk=self.pk)

    def dated(self) -> DatedRate:
        per: Any = self.per
        return DatedRate(self.model, self.rate, Rate(self.usd, per), self.valid_from, self.valid_until)


class RegistryStamp(models.Model):
    """A single row whose value goes up with every change of the registry; processes look at it to reload."""

    value = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.value)
