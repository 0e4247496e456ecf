"""An index of the few deliveries that were claimed before: in a long backlog nobody looks through the fresh ones."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("ingest", "0005_unfinished_calls")]

    operations = [
        migrations.AddIndex(
            model_name="inboundevent",
            index=models.Index(
                condition=models.Q(("attempts__gt", 0), ("state", "received")),
                fields=["-attempts", "id"],
                name="event_tried_before",
            ),
        ),
    ]
