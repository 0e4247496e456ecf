"""What is watched, what was seen, what changed, who is told.

A monitor (people say: a check) looks at one page of a provider. Observations, spans and snapshots are what it saw.
Changes are what people should hear of, whatever source found them; incidents join the changes of one outage; alerts
are the outbox.
"""

from urllib.parse import urlsplit

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django_celery_beat.models import PeriodicTask

from apps.providers import vault
from apps.providers.models import Provider


class Kind(models.TextChoices):
    HEALTH = "health", "health: does it answer"
    STATUS = "status", "status page, machine-readable"
    DOCS = "docs", "documentation"
    OPENAPI = "openapi", "OpenAPI document"
    CHANGELOG = "changelog", "changelog"
    FEED = "feed", "RSS or Atom feed"


class Severity(models.TextChoices):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for low to 3 for critical."""
        return list(Severity).index(self)

    @classmethod
    def at_least(cls, lowest: str) -> list[str]:
        return [word.value for word in cls if word.rank >= cls(lowest).rank]


class ChangeType(models.TextChoices):
    DOCUMENTATION = "documentation"
    API_SCHEMA = "api_schema"
    SERVICE_STATUS = "service_status"
    WEBHOOK_FORMAT = "webhook_format"
    PRICING = "pricing"
    FEATURE_ADDITION = "feature_addition"
    DEPRECATION = "deprecation"


class State(models.TextChoices):
    UNKNOWN = "unknown"
    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"


class Monitor(models.Model):
    """One page of a provider that is looked at again and again."""

    class Origin(models.TextChoices):
        CATALOGUE = "catalogue"
        ADMIN = "admin"

    provider = models.ForeignKey(Provider, models.CASCADE, related_name="monitors")
    kind = models.CharField(max_length=10, choices=Kind)
    url = models.URLField(max_length=500)
    enabled = models.BooleanField(default=True)
    selector = models.CharField(
        max_length=300,
        blank=True,
        help_text="CSS selector of the part that is compared, such as `main article`. Empty: the page's main content. "
        "A selector that finds nothing is a fault of this check, not a change.",
    )
    ignored_selectors = models.JSONField(
        default=list, blank=True, help_text='Parts left out of the comparison: [".updated-at", "#share"].'
    )
    ok_statuses = models.CharField(
        max_length=100,
        default="200-299, 400, 401, 403, 405, 422",
        help_text="HTTP statuses that count as running, for health checks. A refused login is an answer.",
    )
    latency_budget_ms = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Slower answers count as degraded. Empty: no budget.",
    )
    timeout_sec = models.PositiveSmallIntegerField(default=30, validators=[MinValueValidator(1)])
    down_after = models.PositiveSmallIntegerField(
        default=3, validators=[MinValueValidator(1)], help_text="So many failures in a row, and it is down."
    )
    up_after = models.PositiveSmallIntegerField(
        default=2, validators=[MinValueValidator(1)], help_text="So many good answers in a row, and it is up again."
    )
    schedule = models.ForeignKey(
        PeriodicTask,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="A schedule of its own. Empty: that of its provider and kind.",
    )
    origin = models.CharField(max_length=10, choices=Origin, default=Origin.ADMIN, editable=False)
    # The page of the provider's list that it was made for; it stays so where somebody edits the address.
    page_url = models.CharField(max_length=500, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    host = models.CharField(max_length=260, editable=False, db_index=True)
    state = models.CharField(max_length=10, choices=State, default=State.UNKNOWN, editable=False)
    state_since = models.DateTimeField(null=True, editable=False)
    # Standings in a row that speak against the state; which one, and how many.
    pending_state = models.CharField(max_length=10, blank=True, editable=False)
    pending_count = models.PositiveIntegerField(default=0, editable=False)
    is_flapping = models.BooleanField(default=False, editable=False)
    last_checked_at = models.DateTimeField(null=True, editable=False)
    last_status_code = models.PositiveSmallIntegerField(null=True, editable=False)
    last_latency_ms = models.PositiveIntegerField(null=True, editable=False)
    last_error = models.CharField(max_length=300, blank=True, editable=False)
    etag = models.CharField(max_length=300, blank=True, editable=False)
    last_modified = models.CharField(max_length=100, blank=True, editable=False)
    # What was known at the last look: the provider's open incidents, the states of its components.
    memory = models.JSONField(default=dict, editable=False)
    due_at = models.DateTimeField(null=True, editable=False, db_index=True)
    leased_until = models.DateTimeField(null=True, editable=False)

    class Meta:
        db_table = "monitoring_monitors"
        verbose_name = "check"
        ordering = ["provider__name", "kind", "url"]
        constraints = [models.UniqueConstraint(fields=["provider", "kind", "url"], name="check_once_per_page")]

    def __str__(self) -> str:
        return f"{self.provider.slug} {self.kind}: {self.url}"[:200]

    def save(self, *args: object, **kwargs: object) -> None:
        self.host = urlsplit(self.url).netloc.rpartition("@")[2].lower()
        super().save(*args, **kwargs)  # type: ignore[arg-type]


class Observation(models.Model):
    """One look of one check; kept for MONITORING_RETENTION_DAYS."""

    monitor = models.ForeignKey(Monitor, models.CASCADE, related_name="observations")
    at = models.DateTimeField()
    standing = models.CharField(max_length=10)
    status_code = models.PositiveSmallIntegerField(null=True)
    latency_ms = models.PositiveIntegerField(null=True)
    error_kind = models.CharField(max_length=30, blank=True)
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        db_table = "monitoring_observations"
        ordering = ["-at", "-id"]
        indexes = [models.Index(fields=["monitor", "-at"], name="observation_check_at")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.standing}"


class Span(models.Model):
    """A time in one state, as far as it was really watched: holes between spans are times nobody looked."""

    monitor = models.ForeignKey(Monitor, models.CASCADE, related_name="spans")
    state = models.CharField(max_length=10, choices=State)
    started_at = models.DateTimeField()
    # Moved on by every look that confirms the state.
    ended_at = models.DateTimeField()

    class Meta:
        db_table = "monitoring_spans"
        ordering = ["-started_at"]
        indexes = [models.Index(fields=["monitor", "-ended_at"], name="span_check_end")]

    def __str__(self) -> str:
        return f"{self.state} since {self.started_at:%Y-%m-%d %H:%M:%S}"


class Snapshot(models.Model):
    """The very text that later looks are compared with; a new one with every change."""

    monitor = models.ForeignKey(Monitor, models.CASCADE, related_name="snapshots")
    taken_at = models.DateTimeField()
    format = models.CharField(max_length=10, default="text")
    content_hash = models.CharField(max_length=64)
    text = models.TextField()

    class Meta:
        db_table = "monitoring_snapshots"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.taken_at:%Y-%m-%d %H:%M:%S} {self.content_hash[:12]}"


class SeenEntry(models.Model):
    """An entry of a feed that was seen."""

    monitor = models.ForeignKey(Monitor, models.CASCADE, related_name="entries")
    guid = models.CharField(max_length=500)
    title = models.CharField(max_length=500, blank=True)
    link = models.CharField(max_length=1000, blank=True)
    published_at = models.DateTimeField(null=True)
    first_seen_at = models.DateTimeField()

    class Meta:
        db_table = "monitoring_feed_items"
        verbose_name_plural = "seen entries"
        ordering = ["-first_seen_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["monitor", "guid"], name="entry_once_per_feed")]

    def __str__(self) -> str:
        return self.title or self.guid


class Incident(models.Model):
    """An outage or another condition that lasts, from its first sign to its end."""

    # What it is of: `check:12`, `traffic:acme:failure_rate`. One incident of a source is open at a time.
    source_key = models.CharField(max_length=200, editable=False)
    provider = models.CharField(max_length=50, blank=True)
    monitor = models.ForeignKey(Monitor, models.SET_NULL, null=True, blank=True, related_name="incidents")
    title = models.CharField(max_length=300)
    severity = models.CharField(max_length=10, choices=Severity)
    opened_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True)
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.CharField(max_length=150, blank=True)
    acknowledge_reason = models.CharField(max_length=300, blank=True)

    class Meta:
        db_table = "monitoring_incidents"
        ordering = ["-opened_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["source_key"], condition=Q(resolved_at__isnull=True), name="incident_one_open_per_source"
            )
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_open(self) -> bool:
        return self.resolved_at is None


class IncidentEntry(models.Model):
    """One line of an incident's timeline."""

    incident = models.ForeignKey(Incident, models.CASCADE, related_name="timeline")
    at = models.DateTimeField()
    text = models.TextField()
    author = models.CharField(max_length=150, blank=True, help_text="Empty: VoiceLens itself.")

    class Meta:
        db_table = "monitoring_incident_entries"
        verbose_name_plural = "incident entries"
        ordering = ["at", "id"]

    def __str__(self) -> str:
        return self.text[:100]


class Change(models.Model):
    """Something that people should hear of. Whatever found it, it is recorded, judged and told in the same way."""

    # Says what was found, once: the same finding again is the same row.
    key = models.CharField(max_length=200, unique=True, editable=False)
    provider = models.CharField(max_length=50, blank=True, help_text="Slug; empty: VoiceLens itself.")
    monitor = models.ForeignKey(Monitor, models.SET_NULL, null=True, blank=True, related_name="changes")
    incident = models.ForeignKey(Incident, models.SET_NULL, null=True, blank=True, related_name="changes")
    source = models.CharField(max_length=30, help_text="What found it: a kind of check, or `traffic`.")
    change_type = models.CharField(max_length=20, choices=ChangeType)
    severity = models.CharField(max_length=10, choices=Severity, default=Severity.LOW)
    rule = models.CharField(max_length=100, blank=True, help_text="The severity rule that judged it.")
    title = models.CharField(max_length=300)
    description = models.TextField(blank=True)
    url = models.CharField(max_length=1000, blank=True)
    content_hash = models.CharField(max_length=64, blank=True)
    diff = models.TextField(blank=True)
    change_data = models.JSONField(default=dict, blank=True)
    detected_at = models.DateTimeField()
    # Where a mapping may have to follow: the rules and events whose fields are named stand in change_data.
    needs_review = models.BooleanField(default=False)
    reviewed_at = models.DateTimeField(null=True, blank=True)
    reviewed_by = models.CharField(max_length=150, blank=True)
    review_note = models.CharField(max_length=300, blank=True)

    class Meta:
        db_table = "monitoring_changes"
        ordering = ["-detected_at", "-id"]
        indexes = [
            models.Index(fields=["provider", "-detected_at"], name="change_provider_at"),
            models.Index(fields=["-detected_at"], name="change_at"),
        ]

    def __str__(self) -> str:
        return self.title


class Silence(models.Model):
    """A time in which nobody is told: planned maintenance, which no uptime counts, or a silence with a reason."""

    provider = models.ForeignKey(
        Provider, models.CASCADE, null=True, blank=True, related_name="+", help_text="Empty: all providers."
    )
    monitor = models.ForeignKey(
        Monitor,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="silences",
        help_text="Empty: all checks of the provider.",
    )
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    is_maintenance = models.BooleanField(
        "maintenance", default=False, help_text="Planned: the time does not count in the uptime either."
    )
    reason = models.CharField(max_length=300)
    author = models.CharField(max_length=150, blank=True, editable=False)

    class Meta:
        db_table = "monitoring_silences"
        ordering = ["-starts_at"]
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gt=models.F("starts_at")), name="silence_ends_after_start")
        ]

    def __str__(self) -> str:
        return f"{'maintenance' if self.is_maintenance else 'silence'}: {self.reason}"[:200]


class AlertChannel(models.Model):
    """Where people are told, and of what."""

    class Kind(models.TextChoices):
        SLACK = "slack", "Slack (incoming webhook)"
        EMAIL = "email", "e-mail"
        WEBHOOK = "webhook", "signed webhook"
        APPRISE = "apprise", "Apprise"

    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=10, choices=Kind)
    enabled = models.BooleanField(default=True)
    config = models.JSONField(default=dict, blank=True, help_text="What this kind needs, see docs/monitoring.md.")
    key_id = models.CharField(max_length=50, blank=True, editable=False)
    ciphertext = models.TextField(blank=True, editable=False)
    min_severity = models.CharField("least severity", max_length=10, choices=Severity, default=Severity.MEDIUM)
    providers = models.JSONField(default=list, blank=True, help_text='Only of these: ["acme"]. Empty: of all.')
    change_types = models.JSONField(
        default=list, blank=True, help_text='Only these: ["webhook_format"]. Empty: all types.'
    )
    quiet_from = models.TimeField(null=True, blank=True, help_text="Start of the quiet hours.")
    quiet_until = models.TimeField(null=True, blank=True, help_text="Their end; what was held back is told then.")
    quiet_timezone = models.CharField(max_length=50, default="UTC")
    quiet_below = models.CharField(
        max_length=10, choices=Severity, default=Severity.HIGH, help_text="Below this, quiet hours hold back."
    )
    remind_every_min = models.PositiveIntegerField(
        null=True, blank=True, help_text="Tell again while an incident is open and not acknowledged. Empty: never."
    )
    escalate_after_min = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Only told of incidents that nobody acknowledged for so long. Empty: told at once.",
    )
    last_sent_at = models.DateTimeField(null=True, editable=False)
    last_error = models.CharField(max_length=300, blank=True, editable=False)
    last_failed_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        db_table = "monitoring_alert_channels"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def set_secret(self, value: str) -> None:
        """The one secret of a channel: Slack's or Apprise's URL, or the key a webhook is signed with."""
        self.key_id, self.ciphertext = vault.encrypt(value) if value else ("", "")

    def secret(self) -> str:
        """Empty where there is none. Raises vault.MissingKey."""
        return vault.decrypt(self.key_id, self.ciphertext) if self.ciphertext else ""


class SeverityRule(models.Model):
    """How bad is it? The first enabled rule that fits decides. An empty condition fits everything."""

    position = models.PositiveIntegerField(default=100)
    name = models.CharField(max_length=100, unique=True)
    enabled = models.BooleanField(default=True)
    provider = models.ForeignKey(Provider, models.CASCADE, null=True, blank=True, related_name="+")
    priority = models.CharField(
        max_length=10, blank=True, choices=Provider.Priority, help_text="Only of providers of this priority."
    )
    sources = models.JSONField(default=list, blank=True, help_text='What found it: ["docs", "feed", "traffic"].')
    change_types = models.JSONField(default=list, blank=True, help_text='Only these: ["documentation"].')
    states = models.JSONField(default=list, blank=True, help_text='The new state: ["down"], ["up"].')
    statuses = models.CharField(max_length=100, blank=True, help_text="HTTP statuses: 500-599, 429.")
    words = models.JSONField(
        default=list, blank=True, help_text='Any of these words in title, text or diff: ["webhook", "post_call"].'
    )
    url_pattern = models.CharField(max_length=300, blank=True, help_text="Such as `*/changelog*`.")
    min_changed_percent = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="More than so much of the page changed."
    )
    severity = models.CharField(max_length=10, choices=Severity)
    change_type = models.CharField(
        max_length=20, blank=True, choices=ChangeType, help_text="Makes it a change of this type. Empty: as found."
    )
    channels = models.ManyToManyField(
        AlertChannel,
        blank=True,
        help_text="Told by these only, whatever their own least severity. Empty: by each channel's own settings.",
    )

    class Meta:
        db_table = "monitoring_severity_rules"
        ordering = ["position", "id"]

    def __str__(self) -> str:
        return self.name


class Alert(models.Model):
    """One change to be told by one channel: the outbox. Written with the change, sent by the deliverer."""

    class State(models.TextChoices):
        PENDING = "pending"
        SENT = "sent"
        DEAD = "dead", "dead: given up"
        SILENCED = "silenced"

    change = models.ForeignKey(Change, models.CASCADE, related_name="alerts")
    channel = models.ForeignKey(AlertChannel, models.CASCADE, related_name="alerts")
    # `first`, `reminder 1`, `reminder 2`, …, `escalation`: each is told once.
    occasion = models.CharField(max_length=20, default="first")
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    created_at = models.DateTimeField()
    due_at = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)
    leased_until = models.DateTimeField(null=True, editable=False)
    # Alerts that went out, or shall go out, as one message: a repetition has the same id.
    batch = models.CharField(max_length=32, blank=True, editable=False)
    sent_at = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        db_table = "monitoring_alerts"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["change", "channel", "occasion"], name="alert_once_per_occasion")
        ]
        # The outbox is asked every ten seconds, and holds little beside what was sent.
        indexes = [
            models.Index(fields=["channel", "due_at"], name="alert_pending", condition=Q(state="pending")),
            models.Index(fields=["change", "channel"], name="alert_of_change"),
        ]

    def __str__(self) -> str:
        return f"{self.change} → {self.channel}"
