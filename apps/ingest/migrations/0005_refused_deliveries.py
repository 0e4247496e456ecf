"""Refused deliveries that are kept, and requests for decisions. The ciphertext stands last: lists do not read past it."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('ingest', '0004_stored_files'),
        ('providers', '0002_rule_when'),
    ]

    operations = [
        migrations.CreateModel(
            name='DecisionRequest',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('endpoint', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='decision_requests', to='providers.endpoint')),
                ('event', models.CharField(help_text='As the event table names it.', max_length=100)),
                ('last_at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='RefusedDelivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('endpoint', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='refused_deliveries', to='providers.endpoint')),
                ('received_at', models.DateTimeField()),
                ('reason', models.CharField(help_text='Why it was refused, when it came or when last checked again.', max_length=40)),
                ('address', models.CharField(blank=True, max_length=45)),
                ('trace_id', models.CharField(max_length=32)),
                ('body_sha256', models.CharField(max_length=64)),
                ('size_bytes', models.PositiveIntegerField(help_text='Of what is kept: headers and body, encrypted.')),
                ('key_id', models.CharField(max_length=50)),
                ('ciphertext', models.BinaryField()),
            ],
            options={
                'verbose_name_plural': 'refused deliveries',
                'ordering': ['-id'],
            },
        ),
        migrations.AddField(
            model_name='refusal',
            name='not_kept',
            field=models.PositiveIntegerField(default=0, help_text='Of these, how many could not be kept.'),
        ),
        migrations.AddIndex(
            model_name='refusal',
            index=models.Index(fields=['hour'], name='refusal_hour'),
        ),
        migrations.AddConstraint(
            model_name='decisionrequest',
            constraint=models.UniqueConstraint(fields=('endpoint', 'event'), name='decision_request_once'),
        ),
        migrations.AddIndex(
            model_name='refuseddelivery',
            index=models.Index(fields=['received_at'], name='refused_received'),
        ),
        migrations.AddConstraint(
            model_name='refuseddelivery',
            constraint=models.UniqueConstraint(fields=('endpoint', 'body_sha256'), name='refused_body_once'),
        ),
    ]
