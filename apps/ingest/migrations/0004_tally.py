from datetime import UTC

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Count
from django.db.models.functions import TruncHour


def count_what_is_stored(apps, schema_editor):
    """From here on the door counts; what was stored before is counted once, so that the ledger adds up."""
    InboundEvent, Tally = apps.get_model("ingest", "InboundEvent"), apps.get_model("ingest", "Tally")
    stored = (
        InboundEvent.objects.order_by()
        .values("endpoint_id", hour=TruncHour("received_at", tzinfo=UTC))
        .annotate(accepted=Count("id"))
    )
    Tally.objects.bulk_create([Tally(shard=0, **line) for line in stored], batch_size=500)


class Migration(migrations.Migration):

    dependencies = [
        ("ingest", "0003_files_names_and_refusals"),
        ("providers", "0002_six_providers"),
    ]

    operations = [
        migrations.CreateModel(
            name="Tally",
            fields=[
                ("pk", models.CompositePrimaryKey("hour", "endpoint_id", "shard", blank=True, editable=False, primary_key=True, serialize=False)),
                ("hour", models.DateTimeField()),
                ("shard", models.PositiveSmallIntegerField()),
                ("accepted", models.PositiveBigIntegerField(default=0, help_text="New deliveries.")),
                ("repeated", models.PositiveBigIntegerField(default=0, help_text="Deliveries that had been stored before.")),
                ("endpoint", models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="tallies", to="providers.endpoint")),
            ],
        ),
        migrations.RunPython(count_what_is_stored, migrations.RunPython.noop),
    ]
