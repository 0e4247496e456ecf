"""Admin pages of monitoring: what is watched, what changed, what lasts, who judges it, who is told."""

from apps.monitoring.admin import (  # noqa: F401 - registers the pages
    alerts,
    changes,
    incidents,
    monitors,
    severity,
    silences,
)
