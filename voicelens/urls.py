"""All addresses of the project."""

from typing import Any

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

from apps.monitoring.feeds import feed_by_token
from voicelens.health import health


class Icon(RedirectView):
    """Browsers ask for it on pages that name none. Its own address changes with its content."""

    def get_redirect_url(self, *args: Any, **kwargs: Any) -> str:
        return static("voicelens/icon.svg")


urlpatterns = [
    path("admin/", admin.site.urls),
    path("health", health),
    path("api/health", health),
    path("feeds/monitoring/changes.atom", feed_by_token, {"feed_format": "atom"}),
    path("feeds/monitoring/changes.rss", feed_by_token, {"feed_format": "rss"}),
    path("favicon.ico", Icon.as_view()),
    path("api/", include("voicelens.api")),
    path("", RedirectView.as_view(pattern_name="admin:index"), name="start"),
    path("", include("apps.ingest.urls")),
]

handler400 = "voicelens.api.bad_request"
handler500 = "voicelens.api.server_error"
