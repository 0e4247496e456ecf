"""Admin pages of deliveries, messages and calls, and of endpoints with what was delivered to them."""

from apps.ingest.admin import calls, deliveries, endpoints, messages, refused  # noqa: F401 - registers the pages
