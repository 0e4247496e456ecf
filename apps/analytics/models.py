"""Daily numbers of each provider: integer addends with their own counts, so that they can be kept exact by
differences."""

from decimal import Decimal
from typing import ClassVar

from django.db import models

from apps.providers.models import Environment


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
