from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    name = "apps.analytics"
    label = "analytics"
    verbose_name = "Numbers"

    def ready(self) -> None:
        from apps.analytics import receivers, watched  # noqa: F401 - both register listeners
