"""Admin pages of the registry. Endpoints are registered by ingest, which adds what was delivered to them."""

from apps.providers.admin import prices, providers, secrets, versions  # noqa: F401 - registers the pages
