"""All addresses of the project."""

from django.contrib import admin
from django.urls import include, path

from voicelens.health import health

urlpatterns = [
    path("admin/", admin.site.urls),
    path("health", health),
    path("api/health", health),
    path("", include("apps.ingest.urls")),
]
