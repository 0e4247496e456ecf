"""The published view over the last 30 days of live calls, with the averages worked out."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

LAST_30_DAYS = {
    "postgresql": "(CURRENT_TIMESTAMP AT TIME ZONE 'UTC')::date - 30",
    "sqlite": "date('now', '-30 days')",
}
VIEW = """
CREATE VIEW provider_daily_stats AS
SELECT provider,
       date,
       total,
       success_count AS successful,
       failure_count + error_count AS failed,
       CASE WHEN duration_count > 0 THEN duration_sum_sec * 1.0 / duration_count END AS avg_duration_sec,
       CASE WHEN cost_count > 0 THEN cost_sum_nano_usd / 1000000000.0 END AS total_cost_usd,
       CASE WHEN satisfaction_count > 0 THEN satisfaction_sum_e4 / 10000.0 / satisfaction_count END AS avg_satisfaction_score
FROM provider_analytics
WHERE environment = 'live' AND total > 0 AND date >= {first_day}
"""


def create_view(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    schema_editor.execute(VIEW.format(first_day=LAST_30_DAYS[schema_editor.connection.vendor]))


def drop_view(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    schema_editor.execute("DROP VIEW provider_daily_stats")


class Migration(migrations.Migration):
    dependencies = [("analytics", "0001_initial")]
    operations = [migrations.RunPython(create_view, drop_view)]
