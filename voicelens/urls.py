"""All addresses of the project."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from voicelens.health import health

urlpatterns = [
    path("admin/", admin.site.urls),
    path("health", health),
    path("api/health", health),
    path("api/", include("voicelens.api")),
    path("", RedirectView.as_view(pattern_name="admin:index"), name="start"),
    path("", include("apps.ingest.urls")),
]

handler400 = "voicelens.api.bad_request"
handler500 = "voicelens.api.server_error"
