from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("providers", "0006_collections_and_estimates")]

    operations = [
        migrations.AlterModelOptions(
            name="endpoint",
            options={
                "ordering": ["provider__name", "slug"],
                "permissions": [("switch_endpoint", "Can switch endpoint on and off")],
            },
        ),
        migrations.AddField(
            model_name="provider",
            name="gaps",
            field=models.JSONField(blank=True, default=list, help_text="What of the provider is known not to be read."),
        ),
        migrations.AddField(
            model_name="provider",
            name="stricter",
            field=models.JSONField(
                blank=True, default=list, help_text="Where we refuse what the provider's own code accepts, and why."
            ),
        ),
    ]
