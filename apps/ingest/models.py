"""The inbox of deliveries, the calls they tell of, and the one message of each call."""

import uuid
from typing import Any

from django.db import models

from apps.ingest.ids import artifact_ref
from apps.ingest.stored_json import StoredJSON, StoredJSONField
from apps.providers.models import Endpoint, Environment, MappingVersion


class StoredFile(models.Model):
    """A file in the storage `artifacts` that came inside a delivery. Equal content is kept once."""

    sha256 = models.CharField(max_length=64, primary_key=True, help_text="Of the content; its name in the storage.")
    size_bytes = models.PositiveBigIntegerField()
    media_type = models.CharField(max_length=50)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.sha256

    @property
    def name(self) -> str:
        """Its path in the storage; in folders, since there may be very many."""
        return f"{self.sha256[:2]}/{self.sha256}"


class InboundEvent(models.Model):
    """One authentic delivery, kept once. The row is the truth: whatever dies, what is `received` here is worked off.

    The body is the bytes as received but for redacted secrets and an embedded file, and may be anything at all; the
    signature proved who sent it, not that it makes sense. Retention empties the body; key, fragment and report stay.
    """

    class State(models.TextChoices):
        RECEIVED = "received", "received: to be worked off"
        WAITING = "waiting", "waiting: its call has not been opened yet"
        PROCESSED = "processed", "processed: part of its call's message"
        STORED = "stored", "stored: kept, makes no message"
        IGNORED = "ignored", "ignored: acknowledged only"
        FAILED = "failed", "failed: see the error; can be replayed"
        ERASED = "erased", "erased: its call was erased"

    # Derived from endpoint and delivery key, so the same delivery has the same id everywhere and for ever.
    delivery_id = models.UUIDField(unique=True, editable=False)
    delivery_key = models.CharField(max_length=255, editable=False)
    endpoint = models.ForeignKey(Endpoint, models.PROTECT, related_name="events")
    provider = models.CharField(max_length=50)
    account = models.CharField(max_length=50)
    environment = models.CharField(max_length=10, choices=Environment)
    received_at = models.DateTimeField()
    trace_id = models.CharField(max_length=32)
    content_type = models.CharField(max_length=100, blank=True)
    headers = models.JSONField(default=dict)
    body = models.BinaryField()
    body_size = models.PositiveIntegerField()
    body_sha256 = models.CharField(max_length=64, help_text="Of the body as received, before redaction.")
    body_emptied_at = models.DateTimeField(null=True)
    # The file that the body refers to. Only the ingest door sets it: a reference in a body proves nothing.
    file = models.ForeignKey(StoredFile, models.PROTECT, null=True, related_name="events", db_index=False)

    state = models.CharField(max_length=10, choices=State, default=State.RECEIVED)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    processed_at = models.DateTimeField(null=True)

    event = models.CharField(max_length=100, blank=True, help_text="The provider's word.")
    kind = models.CharField(max_length=40, blank=True, help_text="Our word.")
    call_key = models.ForeignKey("CallKey", models.SET_NULL, null=True, related_name="events")
    call_id = models.CharField(max_length=255, blank=True)
    rank = models.PositiveIntegerField(default=0)
    opens_call = models.BooleanField(default=False)
    proves = models.CharField(max_length=12, blank=True)
    occurred_at = models.CharField(max_length=32, blank=True, help_text="The provider's clock, ISO 8601.")
    fragment = StoredJSONField(null=True, decoder=StoredJSON)
    report = StoredJSONField(null=True)
    mapping_version = models.ForeignKey(MappingVersion, models.PROTECT, null=True, related_name="+")

    error_code = models.CharField(max_length=20, blank=True)
    error_path = models.CharField(max_length=500, blank=True)
    error_rule = models.CharField(max_length=750, blank=True)
    error_detail = models.CharField(max_length=1000, blank=True)

    class Meta:
        db_table = "inbound_events"
        verbose_name = "delivery"
        verbose_name_plural = "deliveries"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["next_attempt_at", "id"], condition=models.Q(state="received"), name="event_to_do"),
            models.Index(
                fields=["-attempts", "id"],
                condition=models.Q(state="received", attempts__gt=0),
                name="event_tried_before",
            ),
            models.Index(fields=["call_key", "id"], name="event_of_call"),
            models.Index(fields=["call_id", "provider", "account"], name="event_call_key"),
            models.Index(fields=["endpoint", "-received_at"], name="event_of_endpoint"),
            models.Index(fields=["state", "-id"], name="event_state"),
            models.Index(fields=["received_at"], condition=models.Q(body_emptied_at=None), name="event_has_body"),
            models.Index(fields=["file"], condition=models.Q(file__isnull=False), name="event_of_file"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.event or 'delivery'} {self.delivery_id}"

    @property
    def payload_ref(self) -> str:
        return f"internal://deliveries/{self.delivery_id}"


class CallKey(models.Model):
    """What makes a call unique, and the row that is locked while its message is folded.

    It exists from the first event that names the call on, also while that event waits for another to open it.
    """

    provider = models.CharField(max_length=50)
    account = models.CharField(max_length=50)
    environment = models.CharField(max_length=10, choices=Environment)
    call_id = models.CharField(max_length=255)
    created_at = models.DateTimeField(auto_now_add=True)
    # Set when somebody deleted the message in the admin: later events do not bring it back unless asked.
    withheld_at = models.DateTimeField(null=True, blank=True)
    # What people corrected in the message: [{path, value, author, at}]. Kept here, so that it outlives the message.
    corrections = models.JSONField(default=list, blank=True, decoder=StoredJSON)
    # Another id of that call: events that name this one belong there. The row stays, since it is the lock of the name.
    alias_of = models.ForeignKey("self", models.CASCADE, null=True, blank=True, related_name="aliases", editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["provider", "account", "environment", "call_id"], name="call_once")
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.call_id}"


class Message(models.Model):
    """The VCP message of one call, and its hot columns. Table and column names are the published ones."""

    class Stage(models.TextChoices):
        IN_PROGRESS = "in_progress", "in progress"
        ENDED = "ended"
        ANALYSED = "analysed"

    class Status(models.TextChoices):
        SUCCESS = "success"
        FAILURE = "failure"
        PARTIAL = "partial"
        TIMEOUT = "timeout"
        ERROR = "error"
        UNKNOWN = "unknown"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    call_key = models.OneToOneField(CallKey, models.PROTECT, related_name="message")
    call_id = models.CharField(max_length=255)
    provider = models.CharField(max_length=50)
    account = models.CharField(max_length=50)
    environment = models.CharField(max_length=10, choices=Environment)
    vcp_version = models.CharField(max_length=10, default="0.5")
    vcp = StoredJSONField(help_text="The whole message.")
    content_digest = models.CharField(max_length=64, help_text="Of the message without processing times and checksum.")
    stage = models.CharField(max_length=12, choices=Stage)
    mapping_version = models.ForeignKey(MappingVersion, models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    start_time = models.DateTimeField()
    end_time = models.DateTimeField(null=True)
    duration_sec = models.PositiveIntegerField(null=True)
    channel = models.CharField(max_length=20, null=True)
    direction = models.CharField(max_length=10, null=True)
    status = models.CharField(max_length=20, choices=Status)
    user_satisfaction_score = models.DecimalField(max_digits=5, decimal_places=4, null=True)
    cost_usd = models.DecimalField(max_digits=18, decimal_places=9, null=True)
    capabilities_count = models.PositiveIntegerField(default=0)

    class Meta:
        db_table = "vcp_messages"
        ordering = ["-start_time", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "account", "environment", "call_id"], name="message_once_per_call"
            ),
            models.CheckConstraint(condition=models.Q(duration_sec__gte=0), name="message_duration_not_negative"),
        ]
        indexes = [
            models.Index(fields=["provider", "created_at"], name="message_provider_created"),
            models.Index(fields=["call_id"], name="message_call_id"),
            models.Index(fields=["status"], name="message_status"),
            models.Index(fields=["start_time", "end_time"], name="message_times"),
            models.Index(fields=["provider", "status"], name="message_provider_status"),
            models.Index(fields=["-start_time", "-id"], name="message_newest"),
            models.Index(fields=["provider", "-start_time", "-id"], name="message_newest_provider"),
            models.Index(fields=["updated_at"], name="message_updated"),
            # Few of many: what has come to its last stage is in neither.
            models.Index(
                fields=["provider", "start_time"], condition=models.Q(stage="in_progress"), name="message_not_ended"
            ),
            models.Index(
                fields=["provider", "start_time"], condition=models.Q(stage="ended"), name="message_not_analysed"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.call_id}"

    @property
    def corrections(self) -> list[dict[str, Any]]:
        corrections: list[dict[str, Any]] = self.call_key.corrections
        return corrections


class Artifact(models.Model):
    """A large part of a call that its message only refers to: a transcript turn by turn in `content`, a recording in
    `file`. Equal content is kept once a call."""

    id = models.UUIDField(primary_key=True, editable=False)
    call_key = models.ForeignKey(CallKey, models.CASCADE, related_name="artifacts")
    kind = models.CharField(max_length=20)
    content = StoredJSONField(null=True)
    file = models.ForeignKey(StoredFile, models.PROTECT, null=True, related_name="artifacts")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"

    @property
    def ref(self) -> str:
        return artifact_ref(self.id)


class Tombstone(models.Model):
    """An erased call, known only by a keyed hash: what still arrives of it is acknowledged and dropped."""

    key_hash = models.CharField(max_length=80, unique=True)
    erased_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.key_hash


class RefusedDelivery(models.Model):
    """A delivery that could not be proved, whole and encrypted, until it is checked again or REFUSED_KEPT_HOURS end.

    Anybody may have sent it and nothing in it was read, so nothing but what the door saw stands beside it.
    """

    endpoint = models.ForeignKey(Endpoint, models.CASCADE, related_name="refused_deliveries")
    received_at = models.DateTimeField()
    reason = models.CharField(max_length=40, help_text="Why it was refused, when it came or when last checked again.")
    address = models.CharField(max_length=45, blank=True)
    trace_id = models.CharField(max_length=32)
    body_sha256 = models.CharField(max_length=64)
    size_bytes = models.PositiveIntegerField(help_text="Of what is kept: headers and body, encrypted.")
    key_id = models.CharField(max_length=50)
    ciphertext = models.BinaryField()

    class Meta:
        verbose_name_plural = "refused deliveries"
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["endpoint", "body_sha256"], name="refused_body_once")]
        indexes = [models.Index(fields=["received_at"], name="refused_received")]

    def __str__(self) -> str:
        return f"refused {self.received_at:%Y-%m-%d %H:%M:%S} UTC"


class Refusal(models.Model):
    """How many deliveries an endpoint refused in an hour, for which reason."""

    endpoint = models.ForeignKey(Endpoint, models.CASCADE, related_name="refusals")
    hour = models.DateTimeField()
    reason = models.CharField(max_length=40)
    count = models.PositiveIntegerField(default=0)
    not_kept = models.PositiveIntegerField(default=0, help_text="Of these, how many could not be kept.")
    last_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["endpoint", "hour", "reason"], name="refusal_once")]
        indexes = [models.Index(fields=["hour"], name="refusal_hour")]

    def __str__(self) -> str:
        return f"{self.endpoint_id} {self.reason} {self.count}"


class Tally(models.Model):
    """How many deliveries an endpoint accepted, and how many it had already, in an hour (UTC), counted as they are
    stored. The ledger holds it against the rows: an independent count, since nobody counts rows to write it.

    The shard keeps processes from waiting for one another's row; see tally.py.
    """

    pk = models.CompositePrimaryKey("hour", "endpoint_id", "shard")
    hour = models.DateTimeField()
    # The key begins with the hour, by which it is read.
    endpoint = models.ForeignKey(Endpoint, models.CASCADE, related_name="tallies", db_index=False)
    shard = models.PositiveSmallIntegerField()
    accepted = models.PositiveBigIntegerField(default=0, help_text="New deliveries.")
    repeated = models.PositiveBigIntegerField(default=0, help_text="Deliveries that had been stored before.")

    def __str__(self) -> str:
        return f"{self.endpoint_id} {self.hour:%Y-%m-%d %H} {self.accepted}+{self.repeated}"


class DecisionRequest(models.Model):
    """An event that waits for a decision, and when an endpoint last received it and answered neutrally."""

    endpoint = models.ForeignKey(Endpoint, models.CASCADE, related_name="decision_requests")
    event = models.CharField(max_length=100, help_text="As the event table names it.")
    last_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["endpoint", "event"], name="decision_request_once")]

    def __str__(self) -> str:
        return f"{self.endpoint_id} {self.event}"
