"""The project package: settings, URLs and the processes. Apps never import it."""

from voicelens.celery import app as celery_app

__all__ = ["celery_app"]
