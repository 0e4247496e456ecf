"""What of a page is compared, and how. Pure: bytes in, text and differences out; no clock, no network, no database.

Fetching is left to `fetch`, what a difference means for people to `severity`.
"""

from apps.monitoring.content.differ import Difference, compare
from apps.monitoring.content.errors import ContentError
from apps.monitoring.content.feed import read_feed
from apps.monitoring.content.openapi import SchemaChange
from apps.monitoring.content.page import read

__all__ = ["ContentError", "Difference", "SchemaChange", "compare", "read", "read_feed"]
