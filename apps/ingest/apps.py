from django.apps import AppConfig


class IngestConfig(AppConfig):
    name = "apps.ingest"
    label = "ingest"
    verbose_name = "Calls"

    def ready(self) -> None:
        from apps.history.record import belongs_to
        from apps.ingest.models import Message

        # A message comes and goes; its call stays until it is erased.
        belongs_to(Message, lambda message: (message.call_key, ""))
