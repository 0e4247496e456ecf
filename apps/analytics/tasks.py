"""The periodic jobs over the numbers: the nightly proof, the watch over the traffic, the check of VoiceLens itself."""

import logging

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from apps.analytics import self_check, traffic
from apps.analytics.rollups import audit
from apps.ingest import ledger

log = logging.getLogger(__name__)


@shared_task(name="analytics.audit")
def audit_numbers() -> int:
    """The number of differences, in the daily numbers and in the ledger; each is logged."""
    differences = audit()
    for difference in differences:
        log.error("daily numbers differ: %s", difference)
    wrong = ledger.differing(ledger.lines(by="day"))
    for line in wrong:
        log.error("the ledger does not add up: %s", ledger.explained(line))
    return len(differences) + len(wrong)


@shared_task(name="analytics.watch_traffic")
def watch_traffic() -> int:
    """The number of changes that the traffic told of."""
    return len(traffic.watch(timezone.now())) if settings.MONITORING_ENABLED else 0


@shared_task(name="analytics.self_check")
def check_self() -> int:
    """The number of changes that were found in VoiceLens itself."""
    return len(self_check.check(timezone.now())) if settings.MONITORING_ENABLED else 0
