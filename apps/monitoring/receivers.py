"""Checks follow the provider's pages, and an edited check says so."""

from typing import Any

from django.db.models.signals import post_save, pre_save
from django.dispatch import receiver

from apps.monitoring import monitors, schedules
from apps.monitoring.models import Monitor
from apps.providers.models import Provider


@receiver(post_save, sender=Provider, dispatch_uid="checks_follow_pages")
def _follow_pages(sender: type, instance: Provider, raw: bool, **kwargs: Any) -> None:
    if not raw:
        monitors.ensure_monitors(instance)


@receiver(pre_save, sender=Monitor, dispatch_uid="edited_check_says_so")
def _say_edited(sender: type, instance: Monitor, raw: bool, update_fields: Any, **kwargs: Any) -> None:
    if not raw and update_fields is None and instance.pk and monitors.is_edited(instance):
        instance.origin = Monitor.Origin.ADMIN


@receiver(post_save, sender=Monitor, dispatch_uid="new_check_has_schedule")
def _ensure_schedule(sender: type, instance: Monitor, raw: bool, created: bool, **kwargs: Any) -> None:
    if created and not raw and instance.origin == Monitor.Origin.ADMIN:
        schedules.ensure_schedules(instance.provider)
