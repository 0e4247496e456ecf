"""What every serving process makes sure of before it serves."""

import logging

from django.db import DatabaseError

from apps.providers import registry

log = logging.getLogger(__name__)


def require_field_keys() -> None:
    """Decrypt every stored secret. Raises vault.MissingKey, naming the key id: better no start than calls refused."""
    try:
        registry.verify_stored_secrets()
    except DatabaseError as error:
        # The database may come up after us; the registry then leaves out what it cannot decrypt.
        log.warning("stored secrets could not be checked at start: %s", error)
