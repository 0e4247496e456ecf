"""The Celery application; its settings are the `CELERY_…` names of voicelens.settings."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voicelens.settings")

app = Celery("voicelens")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
