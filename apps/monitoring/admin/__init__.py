"""Admin pages of monitoring: what is watched, what changed, what lasts, who judges it, when nobody is told."""

from apps.monitoring.admin import changes, incidents, monitors, severity, silences  # noqa: F401 - registers the pages
