"""The Celery application; its settings are the `CELERY_…` names of voicelens.settings."""

import os

from celery import Celery
from celery.signals import worker_init, worker_process_init, worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voicelens.settings")

NICENESS = 10

app = Celery("voicelens")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_init.connect
def _require_field_keys(**kwargs: object) -> None:
    from apps.providers.vault import MissingKey
    from voicelens.startup import require_field_keys

    try:
        require_field_keys()
    except MissingKey as error:
        raise SystemExit(str(error)) from error  # any other exception Celery would log and go on


@worker_init.connect
def _let_the_door_go_first(**kwargs: object) -> None:
    # A webhook has a sender that waits for its answer; what is stored can wait.
    os.nice(NICENESS)


@worker_process_init.connect
@worker_ready.connect
def _calm_collector(**kwargs: object) -> None:
    from voicelens.collector import calm_collector

    calm_collector()
