"""Admin pages of deliveries, messages and calls, of endpoints with their traffic, of versions with trials."""

from apps.ingest.admin import (  # noqa: F401 - registers the pages
    calls,
    deliveries,
    endpoints,
    messages,
    refused,
    versions,
)
