"""The registry as the API shows it: who the providers are, how they prove themselves and how they are read. No secrets.

A provider's document is kept in the cache as long as the registry's stamp stays the same; a cache that is down costs
time, never the answer.
"""

import logging
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db.models import Count, Exists, OuterRef, Prefetch, Q, QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from redis.exceptions import RedisError
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.providers import catalog, registry
from apps.providers.engine.signatures import HmacScheme, TokenScheme, UrlTokenScheme, parse_scheme
from apps.providers.models import (
    DEFAULT_ENDPOINT,
    Endpoint,
    Environment,
    MappingVersion,
    Price,
    Provider,
    RegistryStamp,
    Secret,
    WebhookSchema,
)
from apps.providers.wire import Keyset, error_answers, unknown_provider

log = logging.getLogger(__name__)

CACHE_SEC = 3600
# Kinds of the event table that name no event of a call.
NOT_SUPPORTED = ("ignored", "unknown")


# --- how answers look ---------------------------------------------------------------------------------------


class WebhookAuthSerializer(serializers.Serializer[Any]):
    method = serializers.ChoiceField(
        ["hmac_sha256", "signature_header", "bearer_token", "api_key_header", "url_token", "ip_whitelist", "none"],
        help_text="`signature_header` is a keyed hash other than HMAC-SHA256.",
    )
    header_name = serializers.CharField(allow_null=True)
    secret_key_required = serializers.BooleanField()
    ip_addresses = serializers.ListField(
        child=serializers.CharField(), help_text="Where the provider says it sends from; endpoints may insist on it."
    )
    example = serializers.CharField(allow_null=True, help_text="What the header looks like.")


class ProviderSerializer(serializers.Serializer[Any]):
    slug = serializers.CharField(help_text="The provider's name in URLs and messages.")
    name = serializers.CharField()
    company = serializers.CharField()
    website = serializers.CharField()
    docs_url = serializers.CharField()
    api_base_url = serializers.CharField()
    status_page = serializers.CharField(allow_null=True)
    changelog_url = serializers.CharField(allow_null=True)
    rss_feed = serializers.CharField(allow_null=True)
    webhook_auth = WebhookAuthSerializer()
    supported_events = serializers.ListField(
        child=serializers.CharField(), help_text="Kinds of events, in the words of VoiceLens."
    )
    mapping_rules_count = serializers.IntegerField()
    enabled = serializers.BooleanField()
    last_updated = serializers.DateTimeField(help_text="Of the facts or of the published mapping.")


# The published tags of an event's place in its call, by the stage that it proves.
ORDER = {"in_progress": "1_pre_call", "ended": "2_post_call", "analysed": "3_post_call_analysis"}


class WebhookSchemaSerializer(serializers.Serializer[Any]):
    event = serializers.CharField(help_text="The provider's word, or a glob over several.")
    kind = serializers.CharField(help_text="The word of VoiceLens.")
    disposition = serializers.ChoiceField(["map", "store", "ignore"])
    rank = serializers.IntegerField(help_text="Higher ranks lie over lower ones when a call is folded.")
    order = serializers.ChoiceField(
        [*ORDER.values()],
        allow_null=True,
        help_text="Where in a call's life it comes; null for what proves nothing of it.",
    )
    required = serializers.ListField(  # type: ignore[assignment]  # a field of that name, as published
        child=serializers.CharField(), help_text="Paths without which the event fails."
    )
    optional = serializers.ListField(child=serializers.CharField())
    description = serializers.CharField()
    example = serializers.JSONField(
        help_text="Of the event table, else of the catalogue's samples; null: there is none."
    )


class VCPMappingRulesSerializer(serializers.Serializer[Any]):
    rules = serializers.ListField(
        child=serializers.DictField(),
        help_text="In the order in which they are tried: source, target (below vcp_payload), transform, args, event, …",
    )
    decisions = serializers.ListField(
        child=serializers.DictField(),
        help_text="Ordered tables over the merged call; the first row that holds decides.",
    )


class PublishedMappingSerializer(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    origin = serializers.CharField()
    published_at = serializers.DateTimeField(allow_null=True)


class PriceSerializer(serializers.Serializer[Any]):
    model = serializers.CharField(help_text="As the provider's events name it.")
    rate = serializers.CharField(help_text="What is counted: text_in, audio_cached, …")
    usd = serializers.FloatField(help_text="US dollars.")
    per = serializers.ChoiceField(Price.Per.choices)
    valid_from = serializers.DateField(help_text="The first day with this price (UTC).")
    valid_until = serializers.DateField(allow_null=True, help_text="The first day without it; null: none is known.")
    source = serializers.CharField(help_text="Where it was read.")  # type: ignore[assignment]  # a field of that name


class EndpointSerializer(serializers.Serializer[Any]):
    url = serializers.CharField(help_text="The address to paste at the provider.")
    environment = serializers.ChoiceField(Environment.choices)
    account = serializers.CharField()
    enabled = serializers.BooleanField()
    has_secret = serializers.BooleanField(help_text="A secret has been entered; it is never shown.")


class ProviderDetailSerializer(ProviderSerializer):
    webhook_schemas = WebhookSchemaSerializer(many=True)
    vcp_mapping_rules = VCPMappingRulesSerializer()
    mapping_version = PublishedMappingSerializer(allow_null=True)
    prices = PriceSerializer(many=True, help_text="From which costs are estimated that the provider does not tell.")
    endpoints = EndpointSerializer(many=True)


# --- from rows to documents ---------------------------------------------------------------------------------


def providers() -> QuerySet[Provider]:
    """Every provider with its published version, that version's event table and the number of its rules."""
    published = MappingVersion.objects.filter(state=MappingVersion.State.PUBLISHED).annotate(rule_count=Count("rules"))
    return Provider.objects.prefetch_related(
        Prefetch("versions", published.prefetch_related("webhook_schemas"), to_attr="live")
    )


def summary(row: Provider) -> dict[str, Any]:
    """The short document of a provider that came from `providers()`."""
    version = published_version(row)
    pages = {page["kind"]: page["url"] for page in reversed(row.pages)}
    return {
        "slug": row.slug,
        "name": row.name,
        "company": row.company,
        "website": row.website,
        "docs_url": row.docs_url,
        "api_base_url": row.api_base_url,
        "status_page": pages.get("status"),
        "changelog_url": pages.get("changelog"),
        "rss_feed": pages.get("feed"),
        "webhook_auth": auth_summary(row),
        "supported_events": _supported(version.webhook_schemas.all() if version else ()),
        "mapping_rules_count": version.rule_count if version else 0,  # type: ignore[attr-defined]
        "enabled": row.enabled,
        "last_updated": max(row.last_updated, (version and version.published_at) or row.last_updated),
    }


def published_version(row: Provider) -> MappingVersion | None:
    """That of a provider which came from `providers()`."""
    live: list[MappingVersion] = row.live  # type: ignore[attr-defined]
    return live[0] if live else None


def _supported(events: Iterable[WebhookSchema]) -> list[str]:
    return list(dict.fromkeys(event.kind for event in events if event.kind not in NOT_SUPPORTED))


def auth_summary(row: Provider) -> dict[str, Any]:
    """How the provider proves itself, in the words of the published registry."""
    scheme = parse_scheme(row.auth)
    told = {"header_name": None, "secret_key_required": True, "ip_addresses": row.source_addresses, "example": None}
    if isinstance(scheme, HmacScheme):
        looks = (scheme.separator or "").join(scheme.items).replace("{", "<").replace("}", ">")
        method = "hmac_sha256" if scheme.algorithm == "sha256" else "signature_header"
        return {**told, "method": method, "header_name": scheme.header, "example": looks}
    if isinstance(scheme, TokenScheme):
        method = "bearer_token" if scheme.header.lower() == "authorization" else "api_key_header"
        looks = f"{scheme.prefix} <secret>" if scheme.prefix else "<secret>"
        return {**told, "method": method, "header_name": scheme.header, "example": looks}
    if isinstance(scheme, UrlTokenScheme):
        return {**told, "method": "url_token", "example": "<URL of the endpoint>/<token>"}
    return {**told, "method": "ip_whitelist" if row.source_addresses else "none", "secret_key_required": False}


def detail(row: Provider) -> dict[str, Any]:
    """The whole document of a provider that came from `providers()`, but for its endpoints."""
    version = published_version(row)
    return {
        **summary(row),
        "webhook_schemas": _webhook_schemas(row, version) if version else [],
        "vcp_mapping_rules": {
            "rules": [rule.as_data() for rule in version.rules.all()] if version else [],
            "decisions": version.decisions if version else [],
        },
        "mapping_version": version
        and {"number": version.number, "origin": version.origin, "published_at": version.published_at},
        "prices": list(row.prices.values("model", "rate", "usd", "per", "valid_from", "valid_until", "source")),
    }


def _webhook_schemas(row: Provider, version: MappingVersion) -> list[dict[str, Any]]:
    samples = _samples(row.slug, version)
    names = ("event", "kind", "disposition", "rank", "required", "optional", "description")
    return [
        {
            **{name: getattr(event, name) for name in names},
            "order": ORDER.get(event.proves),
            "example": samples.get(event.event) if event.example is None else event.example,
        }
        for event in version.webhook_schemas.all()
    ]


def _samples(slug: str, version: MappingVersion) -> dict[str, Any]:
    """For each row of the event table the first sample of the catalogue that is such an event."""
    mapping = registry.mapping_of_version(version.pk)
    samples: dict[str, Any] = {}
    for sample in catalog.samples(slug).values():
        samples.setdefault(mapping.identify(sample).spec.name, sample)
    return samples


def endpoints(provider_slug: str) -> list[dict[str, Any]]:
    """Where the provider may post. Of the secrets only whether there is one."""
    entered = Secret.objects.filter(auth_config__endpoint=OuterRef("pk"), auth_config__enabled=True)
    rows = Endpoint.objects.filter(provider__slug=provider_slug).select_related("provider")
    in_environment = bool(settings.WEBHOOK_SECRETS.get(provider_slug))
    return [
        {
            "url": row.url,
            "environment": row.environment,
            "account": row.account,
            "enabled": row.enabled,
            "has_secret": row.secret_entered or (row.slug == DEFAULT_ENDPOINT and in_environment),
        }
        for row in rows.annotate(secret_entered=Exists(entered))
    ]


# --- the cache ----------------------------------------------------------------------------------------------


def document(slug: str) -> dict[str, Any] | None:
    """The whole document but for the endpoints, from the cache while nothing in the registry has changed."""
    # The stamp first: what changes while the document is made is then missing from the stamp, not from the document.
    stamp = RegistryStamp.objects.filter(pk=1).values_list("value", flat=True).first() or 0
    key = f"provider:{slug}"
    try:
        held = cache.get(key)
        if held is not None and held["stamp"] == stamp:
            return held["document"]  # type: ignore[no-any-return]
        made = _make(slug)
        if made is not None:
            cache.set(key, {"stamp": stamp, "document": made}, CACHE_SEC)
    except RedisError as error:
        log.warning("provider %s is served without the cache: %s", slug, type(error).__name__)
        made = _make(slug)
    return made


def _make(slug: str) -> dict[str, Any] | None:
    row = providers().filter(slug=slug).first()
    return None if row is None else detail(row)


# --- views --------------------------------------------------------------------------------------------------


class BySlug(Keyset):
    ordering = ("slug",)


class ProviderList(ListAPIView[Provider]):
    needs = "providers.view_provider"
    serializer_class = ProviderSerializer
    pagination_class = BySlug

    @extend_schema(
        operation_id="providers_list",
        summary="The providers",
        description="Who can send, how they prove themselves, and which events are understood.",
        parameters=[
            OpenApiParameter(
                "event", str, description="Only providers with this event, in their word or that of VoiceLens."
            )
        ],
        responses={200: ProviderSerializer(many=True), **error_answers(400, 401, 403)},
        tags=["providers"],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[Provider]:
        event = self.request.query_params.get("event")
        return providers().filter(_has_event(event)) if event else providers()

    def get_serializer(self, *args: Any, **kwargs: Any) -> Any:
        rows, *rest = args
        return super().get_serializer([summary(row) for row in rows], *rest, **kwargs)


def _has_event(event: str) -> Q:
    rows = WebhookSchema.objects.filter(version__state=MappingVersion.State.PUBLISHED).exclude(kind__in=NOT_SUPPORTED)
    table = rows.values_list("version__provider_id", "event", "kind")
    return Q(pk__in={pk for pk, name, kind in table if event == kind or fnmatchcase(event, name)})


class ProviderDetail(APIView):
    needs = "providers.view_provider"

    @extend_schema(
        operation_id="providers_retrieve",
        summary="One provider",
        description="With its events, an example of each, the published mapping and its endpoints. Capitals do not "
        "matter in the name.",
        parameters=[OpenApiParameter("slug", OpenApiTypes.STR, OpenApiParameter.PATH)],
        responses={200: ProviderDetailSerializer, **error_answers(401, 403, 404)},
        tags=["providers"],
    )
    def get(self, request: Request, slug: str) -> Response:
        found = document(slug.lower())
        if found is None:
            raise unknown_provider()
        return Response(ProviderDetailSerializer({**found, "endpoints": endpoints(found["slug"])}).data)
