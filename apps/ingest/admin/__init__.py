"""Admin pages of deliveries, messages and calls, of endpoints with their traffic, of versions with trials."""

from apps.ingest.admin import calls, deliveries, endpoints, messages, versions  # noqa: F401 - registers the pages
