"""All addresses of the project."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from voicelens.health import health

urlpatterns = [
    path("admin/", admin.site.urls),
    path("health", health),
    path("api/health", health),
    path("", RedirectView.as_view(pattern_name="admin:index"), name="start"),
    path("", include("apps.ingest.urls")),
]
