"""Raises the registry's stamp with every change of a registry row, in the same transaction as the change."""

from typing import Any

from django.db.models import F
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from apps.providers.models import (
    AuthConfig,
    Endpoint,
    MappingRule,
    MappingVersion,
    Price,
    Provider,
    RegistryStamp,
    Secret,
    WebhookSchema,
)

WATCHED = (Provider, Endpoint, AuthConfig, Secret, MappingVersion, MappingRule, WebhookSchema, Price)


def raise_stamp() -> None:
    if not RegistryStamp.objects.filter(pk=1).update(value=F("value") + 1):
        RegistryStamp.objects.bulk_create([RegistryStamp(pk=1, value=1)], ignore_conflicts=True)


@receiver([post_save, post_delete], dispatch_uid="registry_stamp")
def _on_change(sender: type, **kwargs: Any) -> None:
    if sender in WATCHED and not kwargs.get("raw"):
        raise_stamp()
