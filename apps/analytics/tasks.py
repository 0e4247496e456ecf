"""The nightly proof that the daily numbers are what the messages say."""

import logging

from celery import shared_task

from apps.analytics.rollups import audit

log = logging.getLogger(__name__)


@shared_task(name="analytics.audit")
def audit_numbers() -> int:
    """The number of differences; each is logged."""
    differences = audit()
    for difference in differences:
        log.error("daily numbers differ: %s", difference)
    return len(differences)
