from django.core.validators import MinValueValidator
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('providers', '0003_monitoring'),
    ]

    operations = [
        migrations.AddField(
            model_name='provider',
            name='allowed_addresses',
            field=models.JSONField(blank=True, default=list, help_text='Only these may post to any of its endpoints: ["203.0.113.7", "2001:db8::/32"]. Empty: everyone.'),
        ),
        migrations.AddField(
            model_name='provider',
            name='rate_per_min',
            field=models.PositiveIntegerField(blank=True, help_text='More are answered 429 once the burst is used up. Empty: WEBHOOKS_PER_MIN; 0: no limit.', null=True, verbose_name='deliveries per minute'),
        ),
        migrations.AddField(
            model_name='provider',
            name='rate_burst',
            field=models.PositiveIntegerField(blank=True, help_text='So many may come at once after a pause. Empty: WEBHOOKS_BURST.', null=True, validators=[MinValueValidator(1)], verbose_name='burst'),
        ),
    ]
