"""Admin pages of the registry. Endpoints and versions are registered by ingest, which adds what was delivered."""

from apps.providers.admin import prices, providers, secrets  # noqa: F401 - registers the pages
