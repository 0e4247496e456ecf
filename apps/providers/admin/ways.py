"""Ways of proof on an endpoint's page: those a provider offers, those there are, and the page that makes a token URL.

A token is made here and told once, in the answer to the click; what an operator enters is stored by the same function.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from apps.providers.admin.base import found_or_404
from apps.providers.engine.hidden import Hidden
from apps.providers.engine.signatures import parse_scheme, url_tail
from apps.providers.models import AuthConfig, Endpoint, Provider, Secret

TOKEN_BYTES = 32
# When the secrets before a new one end: seconds from now.
OLDER_END = (
    ("", "stay valid"),
    ("3600", "end in an hour"),
    ("86400", "end in a day"),
    ("604800", "end in a week"),
    ("0", "end now"),
)
KIND_WORDS = {
    "hmac": "signature: proves sender and content",
    "token": "secret in a header: proves the sender",
    "url_token": "token in the URL: proves the sender",
    "none": "nothing: everyone is let in",
}


@dataclass(frozen=True)
class Way:
    """An auth config as the page shows it; `new_url` is the address that makes its URL, where it has one."""

    row: AuthConfig
    proves: str
    warning: bool
    new_url: str = ""


def ways_of(endpoint: Endpoint) -> list[Way]:
    """The endpoint's auth configs in their order."""
    return [_way(row) for row in endpoint.auth_configs.all()]


def _way(row: AuthConfig) -> Way:
    kind = row.scheme.get("kind", "")
    new_url = ""
    if kind == "url_token":
        new_url = reverse("admin:providers_endpoint_new_url", args=[row.endpoint_id, row.pk])
    return Way(row, KIND_WORDS.get(kind, kind), kind == "none" and row.enabled, new_url)


# --- what a provider offers ---------------------------------------------------------------------------------


def usual(provider: Provider) -> dict[str, Any]:
    """{name, when, scheme} of the way that every new endpoint of the provider starts with."""
    when = f"How {provider} proves itself unless told otherwise."
    return {"name": "signature", "when": when, "scheme": provider.auth}


def offered(endpoint: Endpoint) -> list[dict[str, Any]]:
    """{name, when, scheme} of each way that the endpoint may choose and that has not been added under that name."""
    taken = {way.name for way in endpoint.auth_configs.all()}
    options = [usual(endpoint.provider), *endpoint.provider.auth_options]
    return [option for option in options if option["name"] not in taken]


def add_way(endpoint: Endpoint, option: dict[str, Any]) -> AuthConfig:
    return AuthConfig.objects.create(endpoint=endpoint, name=option["name"], scheme=option["scheme"])


# --- secrets ------------------------------------------------------------------------------------------------


def store_secret(way: AuthConfig, value: str, *, label: str, older_end: str) -> None:
    """Store a secret; those before it end `older_end` seconds from now, or stay where that is empty."""
    if older_end:
        end = timezone.now() + timedelta(seconds=int(older_end))
        # One by one: an update of them all would leave no trace in the history.
        for older in way.secrets.filter(Q(valid_until=None) | Q(valid_until__gt=end)):
            older.valid_until = end
            older.save(update_fields=["valid_until"])
    secret = Secret(auth_config=way, label=label)
    secret.set_value(value)
    secret.save()


def label_field() -> forms.CharField:
    return forms.CharField(
        label="Its label",
        required=False,
        max_length=50,
        widget=UnfoldAdminTextInputWidget,
        help_text="For people: “since March”, “agent 7”.",
    )


def older_end_field(label: str, help_text: str) -> forms.ChoiceField:
    return forms.ChoiceField(
        label=label, required=False, choices=OLDER_END, widget=UnfoldAdminSelectWidget, help_text=help_text
    )


# --- a URL with a token ---------------------------------------------------------------------------------------


class NewUrlForm(forms.Form):
    label = label_field()
    older_end = older_end_field(
        "The URLs before it", "When rotating: let the old ones end once the new one is pasted at the provider."
    )


def new_url_page(admin: ModelAdmin, request: HttpRequest, object_id: str, way_id: int) -> HttpResponse:
    """Asks on GET; on POST makes a token and shows the URL with it, this once."""
    endpoint = found_or_404(admin, request, object_id, "providers.add_secret")
    way = endpoint.auth_configs.filter(pk=way_id).first()
    if way is None:
        raise Http404
    if way.scheme.get("kind") != "url_token":
        messages.error(request, f"“{way.name}” is proved by no token in the URL.")
        return HttpResponseRedirect(reverse("admin:providers_endpoint_change", args=[endpoint.pk]))
    form = NewUrlForm(request.POST if request.method == "POST" else None)
    url = Hidden()
    if form.is_valid():
        url = _make_url(way, form.cleaned_data)
    return _page(admin, request, endpoint, form=form, url=url)


def _make_url(way: AuthConfig, data: dict[str, str]) -> Hidden:
    token = Hidden(secrets.token_urlsafe(TOKEN_BYTES))
    store_secret(way, token, label=data["label"], older_end=data["older_end"])
    return Hidden(way.endpoint.full_url + url_tail(parse_scheme(way.scheme), token))


def _page(admin: ModelAdmin, request: HttpRequest, endpoint: Endpoint, **context: Any) -> HttpResponse:
    return TemplateResponse(
        request,
        "admin/providers/endpoint/new_url.html",
        {
            **admin.admin_site.each_context(request),
            "opts": admin.model._meta,
            "original": endpoint,
            "title": "URL with a new token",
            **context,
        },
    )


def only_url_tokens(ways: Sequence[Way]) -> bool:
    """Whether the endpoint's own URL is of no use without a token."""
    enabled = [way for way in ways if way.row.enabled]
    return bool(enabled) and all(way.new_url for way in enabled)
