"""Daily numbers of each provider: integer addends with their own counts, so that they can be kept exact by
differences. When what they and the deliveries say is worth telling; how long processing took each day."""

from decimal import Decimal
from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from apps.providers.models import Environment, Provider


class DailyProviderStats(models.Model):
    """One provider, UTC day and environment. Averages and decimals are worked out at reading, never stored.

    Sums: seconds, nano-USD, satisfaction in 1/10,000. Each has the count of the calls that told it: a null is no zero.
    """

    provider = models.CharField(max_length=50)
    date = models.DateField()
    environment = models.CharField(max_length=10, choices=Environment)
    total = models.BigIntegerField(default=0)
    success_count = models.BigIntegerField(default=0)
    failure_count = models.BigIntegerField(default=0)
    partial_count = models.BigIntegerField(default=0)
    timeout_count = models.BigIntegerField(default=0)
    error_count = models.BigIntegerField(default=0)
    unknown_count = models.BigIntegerField(default=0)
    duration_sum_sec = models.BigIntegerField(default=0)
    duration_count = models.BigIntegerField(default=0)
    cost_sum_nano_usd = models.BigIntegerField(default=0)
    cost_count = models.BigIntegerField(default=0)
    satisfaction_sum_e4 = models.BigIntegerField(default=0)
    satisfaction_count = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    ADDENDS: ClassVar[tuple[str, ...]] = (
        "total", "success_count", "failure_count", "partial_count", "timeout_count", "error_count", "unknown_count",
        "duration_sum_sec", "duration_count",
        "cost_sum_nano_usd", "cost_count", "satisfaction_sum_e4", "satisfaction_count",
    )  # fmt: skip

    class Meta:
        db_table = "provider_analytics"
        verbose_name = verbose_name_plural = "daily numbers"
        ordering = ["-date", "provider"]
        constraints = [models.UniqueConstraint(fields=["provider", "date", "environment"], name="stats_once_a_day")]
        indexes = [models.Index(fields=["environment", "date"], name="stats_environment_date")]

    def __str__(self) -> str:
        return f"{self.provider} {self.date} {self.environment}"

    @property
    def successful(self) -> int:
        return self.success_count

    @property
    def failed(self) -> int:
        """Failures and errors; unknown is neither failed nor successful."""
        return self.failure_count + self.error_count

    @property
    def avg_duration_sec(self) -> float | None:
        return self.duration_sum_sec / self.duration_count if self.duration_count else None

    @property
    def total_cost_usd(self) -> Decimal | None:
        return Decimal(self.cost_sum_nano_usd).scaleb(-9) if self.cost_count else None

    @property
    def avg_satisfaction_score(self) -> float | None:
        return self.satisfaction_sum_e4 / self.satisfaction_count / 10_000 if self.satisfaction_count else None


class TrafficCondition(models.Model):
    """When our own traffic says that something is wrong with a provider. Whether it is so now stands in its incident.

    A row of a provider goes before the row of all.
    """

    class Metric(models.TextChoices):
        FAILURE_RATE = "failure_rate", "failed calls"
        REFUSED = "refused", "refused deliveries"
        SILENCE = "silence", "silence"
        LAG = "lag", "late deliveries"
        PROCESSING = "processing", "deliveries that cannot be mapped"
        VOLUME = "volume", "far fewer deliveries"
        NO_END = "no_end", "calls without an end"
        NO_ANALYSIS = "no_analysis", "calls without their analysis"

    metric = models.CharField(max_length=20, choices=Metric)
    provider = models.ForeignKey(
        Provider, models.CASCADE, null=True, blank=True, related_name="+", help_text="Empty: all providers."
    )
    enabled = models.BooleanField(default=True)
    window_min = models.PositiveIntegerField(
        "window (min)",
        default=60,
        validators=[MinValueValidator(5), MaxValueValidator(24 * 60)],
        help_text="The last so many minutes are compared with the usual. Silence: so long nothing is told. "
        "Calls without an end or their analysis: so long it is waited for.",
    )
    min_sample = models.PositiveIntegerField(
        "least sample",
        default=20,
        validators=[MinValueValidator(1)],
        help_text="Fewer calls or deliveries in the window tell nothing. Silence, volume: so many would be usual by "
        "now. Calls without an end or their analysis: so many are told.",
    )
    factor = models.FloatField(
        default=2,
        validators=[MinValueValidator(1.1)],
        help_text="So many times the usual share, and at least 10 points above it; volume: the usual divided by it. "
        "Silence, and calls without an end or their analysis, do not use it.",
    )

    class Meta:
        db_table = "analytics_traffic_conditions"
        ordering = ["metric", "provider__name"]
        constraints = [
            models.UniqueConstraint(fields=["metric", "provider"], name="traffic_once_a_provider"),
            models.UniqueConstraint(
                fields=["metric"],
                condition=Q(provider__isnull=True),
                name="traffic_once_for_all",
                violation_error_message="There is a row of this metric for all providers already.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_metric_display()} of {self.provider or 'all providers'}"


class ProcessingTimes(models.Model):
    """How long it took to make the messages of one UTC day, from a sample of them."""

    date = models.DateField(unique=True)
    messages = models.PositiveIntegerField(help_text="Written on that day.")
    sampled = models.PositiveIntegerField()
    p50_ms = models.FloatField()
    p95_ms = models.FloatField()
    p99_ms = models.FloatField()

    class Meta:
        db_table = "analytics_processing_times"
        verbose_name = verbose_name_plural = "processing times"
        ordering = ["-date"]

    def __str__(self) -> str:
        return f"{self.date}"
