"""What every serving process makes sure of before it serves."""

import gc
import logging

from django.db import DatabaseError

from apps.providers import registry

log = logging.getLogger(__name__)
# New objects, less those that have gone, before Python looks for cycles among them: some tens of MB at most.
COLLECT_AFTER = 100_000


def require_field_keys() -> None:
    """Decrypt every stored secret. Raises vault.MissingKey, naming the key id: better no start than calls refused."""
    try:
        registry.verify_stored_secrets()
    except DatabaseError as error:
        # The database may come up after us; the registry then leaves out what it cannot decrypt.
        log.warning("stored secrets could not be checked at start: %s", error)


def calm_collector() -> None:
    """Let the garbage collector run seldom, and never again over what start-up has made.

    A payload is hundreds of small objects without cycles, gone when they are no longer needed. Looking for cycles after
    every 700 of them takes a fifth of a worker's time (`make bench-normalise`) and finds nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 20)
