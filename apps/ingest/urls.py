"""The webhook's addresses; each with and without the slash, since a redirect loses a POST's body.

A token behind the endpoint never gets here, see url_tokens.
"""

from django.urls import path, re_path

from apps.ingest import views

urlpatterns = [
    path("webhook/<str:provider_slug>", views.webhook),
    path("webhook/<str:provider_slug>/", views.webhook),
    path("webhook/<str:provider_slug>/<str:endpoint_slug>", views.webhook),
    path("webhook/<str:provider_slug>/<str:endpoint_slug>/", views.webhook),
    re_path(r"^webhook(?P<rest>/[\s\S]*)?$", views.nowhere),
]
