"""The registry as a sync of the catalogue leaves it, from memory: reading files and checking them, as a sync does,
takes as long as many a test."""

from collections.abc import Iterator

from django.apps import apps as django_apps
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model

from apps.history.models import Change
from apps.providers import registry
from apps.providers.models import AuthConfig, Secret
from apps.providers.sync import sync_catalog

# What a sync of these providers wrote, by model, in an order in which it can be written again.
_written: dict[frozenset[tuple[str, str | None]], list[list[Model]]] = {}


def synced(**secrets: str | None) -> None:
    """Bring these providers of the catalogue into an empty registry; a secret is made known to the default endpoint."""
    wanted = frozenset(secrets.items())
    if wanted in _written:
        for rows in _written[wanted]:
            _write(rows)
    else:
        _sync(secrets)
        _written[wanted] = [rows for rows in _rows_of_the_registry() if rows]
    registry.forget()


def _sync(secrets: dict[str, str | None]) -> None:
    sync_catalog(tuple(secrets))
    for way in AuthConfig.objects.filter(endpoint__slug="default").select_related("endpoint__provider"):
        value = secrets[way.endpoint.provider.slug]
        if value is not None:
            secret = Secret(auth_config=way, label="of the tests")
            secret.set_value(value)
            secret.save()


def _rows_of_the_registry() -> Iterator[list[Model]]:
    for label in ("providers", "django_celery_beat", "monitoring", "history"):
        # In the order of their definition: none refers to a later one.
        for model in django_apps.get_app_config(label).get_models():
            rows = model._default_manager.all()
            yield list(rows.select_related("content_type") if model is Change else rows)


def _write(rows: list[Model]) -> None:
    for row in rows:
        if isinstance(row, Change):
            # The history has entries of the test's own by now; nothing refers to one by its number.
            row.pk = None
            # A test that flushes the database makes content types anew, with other numbers.
            row.content_type = ContentType.objects.get_by_natural_key(*row.content_type.natural_key())
    type(rows[0])._default_manager.bulk_create(rows)
