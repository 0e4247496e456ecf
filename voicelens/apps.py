from django.apps import AppConfig


class VoiceLensConfig(AppConfig):
    name = "voicelens"
    verbose_name = "VoiceLens"

    def ready(self) -> None:
        # Whatever runs Django can ring the worker: shared tasks belong to this Celery application; and has a history.
        from voicelens import celery, watched  # noqa: F401
