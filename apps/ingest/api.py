"""Calls, deliveries and artifacts as the API shows them, and the webhook's second door. Trials are in trial_api.py."""

import mimetypes
from datetime import UTC
from typing import Any, get_args

import django_filters  # type: ignore[import-untyped]
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import FileResponse, HttpResponseBase
from django_filters.fields import IsoDateTimeField  # type: ignore[import-untyped]
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import MethodNotAllowed, NotFound
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.ingest import door, files, selectors, views
from apps.ingest.models import Artifact, InboundEvent, Message, StoredFile
from apps.providers.engine.payload import as_text
from apps.providers.models import DEFAULT_ENDPOINT
from apps.providers.wire import ErrorSerializer, JSONBody, Keyset, error_answers
from vcp.errors import ErrorObject
from vcp.models import CallDirection

# --- filters ------------------------------------------------------------------------------------------------


class SlugFilter(django_filters.CharFilter):  # type: ignore[misc]  # it has no types
    """A provider's slug, in whatever case it is written."""

    def filter(self, qs: QuerySet[Any], value: str) -> QuerySet[Any]:
        found: QuerySet[Any] = super().filter(qs, value.lower() if value else value)
        return found


class TimeField(IsoDateTimeField):  # type: ignore[misc]
    default_error_messages = {
        "invalid": "an ISO 8601 time such as 2026-08-01T12:00:00Z is needed (in a URL a plus sign must be escaped)"
    }

    def clean(self, value: Any) -> Any:
        moment = super().clean(value)
        try:
            return moment and moment.astimezone(UTC)
        except OverflowError as error:  # the year 1 or 9999, moved over the edge by its zone
            raise ValidationError(self.error_messages["invalid"], code="invalid") from error


class TimeFilter(django_filters.IsoDateTimeFilter):  # type: ignore[misc]
    field_class = TimeField


def time_range(column: str) -> tuple[TimeFilter, TimeFilter]:
    """From (included) and to (not included), so that ranges can follow each other without a gap."""
    return TimeFilter(column, "gte", help_text="ISO time, included."), TimeFilter(
        column, "lt", help_text="ISO time, not included."
    )


class MessageFilter(django_filters.FilterSet):  # type: ignore[misc]
    provider = SlugFilter()
    direction = django_filters.ChoiceFilter(choices=[(word, word) for word in get_args(CallDirection)])
    start_from, start_to = time_range("start_time")

    class Meta:
        model = Message
        fields = ["provider", "account", "environment", "status", "direction", "stage", "call_id"]


class DeliveryFilter(django_filters.FilterSet):  # type: ignore[misc]
    provider = SlugFilter()
    received_from, received_to = time_range("received_at")

    class Meta:
        model = InboundEvent
        fields = ["state", "provider", "environment", "event", "call_id"]


# --- how answers look ---------------------------------------------------------------------------------------


class MessageSerializer(serializers.ModelSerializer[Message]):
    class Meta:
        model = Message
        fields: tuple[str, ...] = selectors.MESSAGE_COLUMNS
        read_only_fields = fields
        extra_kwargs = {
            "cost_usd": {"help_text": "Total cost in USD, a JSON number with up to 9 places; null: not told."},
            "user_satisfaction_score": {"help_text": "0 to 1; null: not told."},
            "stage": {"help_text": "How far the call is known: in progress, ended, analysed."},
        }


class DeliveryOfCallSerializer(serializers.ModelSerializer[InboundEvent]):
    mapping_version = serializers.IntegerField(source="mapping_version.number", allow_null=True)
    error = serializers.SerializerMethodField()

    class Meta:
        model = InboundEvent
        fields: tuple[str, ...] = (
            "delivery_id", "event", "kind", "state", "received_at", "occurred_at", "mapping_version", "report", "error",
        )  # fmt: skip
        read_only_fields = fields
        extra_kwargs = {
            "report": {
                "help_text": "How the rules fared: defaulted, failed, unseen words, warnings; "
                "`migrations`, what a ready-made message of 0.3 or 0.4 was and what its upgrade made up and lost."
            }
        }

    @extend_schema_field(ErrorSerializer(allow_null=True))
    def get_error(self, row: InboundEvent) -> dict[str, Any] | None:
        """Why the delivery failed, as an error object."""
        if not row.error_code:
            return None
        context = {"trace_id": row.trace_id, **({"rule": row.error_rule} if row.error_rule else {})}
        error = ErrorObject(row.error_code, row.error_detail, row.error_path or None, row.provider, context=context)
        return error.to_dict()


class FieldSourceSerializer(serializers.Serializer[Any]):
    target = serializers.CharField(help_text="Below vcp_payload.")
    event = serializers.CharField(
        source="row.event", default=None, allow_null=True, help_text="Null: a rule over the whole call."
    )
    delivery_id = serializers.UUIDField(source="row.delivery_id", default=None, allow_null=True)
    basis = serializers.ChoiceField(["observed", "derived", "default"])
    rule = serializers.IntegerField(allow_null=True, help_text="Its place in the mapping version, from 0.")
    source = serializers.CharField(  # type: ignore[assignment]  # a field of that name
        source="spec.source",
        default=None,
        allow_null=True,
        help_text="The rule's path into the payload, or into what events collected.",
    )


class MessageDetailSerializer(MessageSerializer):
    mapping_version = serializers.IntegerField(source="mapping_version.number", allow_null=True)
    vcp = serializers.DictField(help_text="The whole message of the Voice Context Protocol.")
    corrections = serializers.ListField(
        child=serializers.DictField(), help_text="What people changed: path, value, author, at."
    )
    events = DeliveryOfCallSerializer(source="call_key.events", many=True)
    fields = serializers.SerializerMethodField(method_name="sources_of_fields")  # type: ignore[assignment]

    class Meta(MessageSerializer.Meta):
        fields = (*selectors.MESSAGE_COLUMNS, "mapping_version", "vcp", "corrections", "events", "fields")
        read_only_fields = fields

    @extend_schema_field(FieldSourceSerializer(many=True))
    def sources_of_fields(self, row: Message) -> Any:
        """For each target that a rule gave, the delivery, if it was a single one, and the rule."""
        return FieldSourceSerializer(
            selectors.field_sources(selectors.folded(row.call_key.events.all())), many=True
        ).data


class DeliverySerializer(DeliveryOfCallSerializer):
    endpoint = serializers.CharField(source="endpoint.slug")
    ref = serializers.CharField(source="payload_ref", help_text="How messages refer to this delivery.")

    class Meta(DeliveryOfCallSerializer.Meta):
        fields: tuple[str, ...] = (
            "delivery_id", "ref", "provider", "endpoint", "account", "environment", "event", "kind", "state",
            "call_id", "received_at", "occurred_at", "processed_at", "attempts", "body_size", "mapping_version",
            "trace_id", "error",
        )  # fmt: skip
        read_only_fields = fields


class DeliveryBodySerializer(serializers.Serializer[Any]):
    encoding = serializers.ChoiceField(["utf-8", "base64"])
    text = serializers.CharField()


class DeliveryDetailSerializer(DeliverySerializer):
    headers = serializers.DictField(child=serializers.CharField(), help_text="Those that are kept; none with a secret.")
    body = serializers.SerializerMethodField()

    class Meta(DeliverySerializer.Meta):
        fields: tuple[str, ...] = (
            *DeliverySerializer.Meta.fields,
            "content_type", "headers", "body", "body_sha256", "body_emptied_at", "report",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(DeliveryBodySerializer)
    def get_body(self, row: InboundEvent) -> dict[str, str]:
        return as_text(bytes(row.body))


class ArtifactSerializer(serializers.ModelSerializer[Artifact]):
    ref = serializers.CharField(help_text="How messages refer to this artifact.")
    provider = serializers.CharField(source="call_key.provider")
    call_id = serializers.CharField(source="call_key.call_id")

    class Meta:
        model = Artifact
        fields = ("id", "ref", "kind", "provider", "call_id", "created_at", "content")
        read_only_fields = fields
        extra_kwargs = {"content": {"help_text": "Of a transcript: its turns in order."}}


class AcceptedSerializer(serializers.Serializer[Any]):
    success = serializers.BooleanField()
    delivery_id = serializers.UUIDField()
    duplicate = serializers.BooleanField(help_text="The same delivery had been stored before; nothing is new.")
    trace_id = serializers.CharField()


# --- calls --------------------------------------------------------------------------------------------------


class NewestCalls(Keyset):
    ordering = ("-start_time", "-id")


class MessageList(ListAPIView[Message]):
    queryset = selectors.light_messages()
    serializer_class = MessageSerializer
    filterset_class = MessageFilter
    pagination_class = NewestCalls

    @extend_schema(
        operation_id="messages_list",
        summary="Calls, newest first",
        description="One row a call, without the message itself. Calls of every environment are listed unless "
        "`environment` says otherwise (totals, in contrast, count live calls by default).",
        responses={200: MessageSerializer(many=True), **error_answers(400, 401, 403)},
        tags=["calls"],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class MessageDetail(RetrieveAPIView[Message]):
    queryset = selectors.messages_with_events()
    serializer_class = MessageDetailSerializer

    @extend_schema(
        operation_id="messages_retrieve",
        summary="One call",
        description="The message (`vcp`), the deliveries it was folded from (`events`), what people corrected, and "
        "for each mapped target the delivery and rule that gave it (`fields`). References in the message lead on: "
        "`internal://deliveries/<id>` is `/api/deliveries/<id>`, `internal://artifacts/<id>` is `/api/artifacts/<id>`.",
        responses={200: MessageDetailSerializer, **error_answers(401, 403, 404)},
        tags=["calls"],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class MessageVCP(RetrieveAPIView[Message]):
    queryset = Message.objects.only("vcp")

    @extend_schema(
        operation_id="messages_vcp_retrieve",
        summary="The VCP message of one call",
        description="The message of the Voice Context Protocol and nothing else.",
        responses={200: OpenApiTypes.OBJECT, **error_answers(401, 403, 404)},
        tags=["calls"],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(self.get_object().vcp)


def _sent_as_it_is(artifact: Artifact, file: StoredFile) -> HttpResponseBase:
    """The file itself. Its type was chosen by whoever wrote the mapping, never by who sent the file."""
    try:
        content = files.storage().open(file.name)
    except FileNotFoundError as error:
        raise NotFound("the file of this artifact is gone from the storage") from error
    name = f"{artifact.kind}-{artifact.pk}{mimetypes.guess_extension(file.media_type) or ''}"
    headers = {"Cache-Control": "private, no-store", "X-Content-SHA256": file.sha256}
    return FileResponse(content, content_type=file.media_type, filename=name, headers=headers)


class ArtifactDetail(RetrieveAPIView[Artifact]):
    queryset = selectors.artifacts()
    serializer_class = ArtifactSerializer

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        # A player asks for audio/*: it must not be refused before it is known what the artifact is.
        return super().perform_content_negotiation(request, force=True)

    @extend_schema(
        operation_id="artifacts_retrieve",
        summary="A large part of a call",
        description="What a message refers to as `internal://artifacts/<id>`: a transcript, turn by turn, as JSON; a "
        "recording as the file itself, under its own media type.",
        responses={
            200: ArtifactSerializer,
            (200, "audio/*"): OpenApiResponse(OpenApiTypes.BINARY, description="A recording."),
            **error_answers(401, 403, 404),
        },
        tags=["calls"],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        artifact = self.get_object()
        if artifact.file is not None:
            return _sent_as_it_is(artifact, artifact.file)
        return Response(self.get_serializer(artifact).data)


# --- deliveries ---------------------------------------------------------------------------------------------


class NewestDeliveries(Keyset):
    ordering = ("-id",)


class DeliveryList(ListAPIView[InboundEvent]):
    queryset = selectors.light_deliveries()
    serializer_class = DeliverySerializer
    filterset_class = DeliveryFilter
    pagination_class = NewestDeliveries

    @extend_schema(
        operation_id="deliveries_list",
        summary="Deliveries, newest first",
        description="Every authentic webhook that was taken in, and what became of it.",
        responses={200: DeliverySerializer(many=True), **error_answers(400, 401, 403)},
        tags=["deliveries"],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class DeliveryDetail(RetrieveAPIView[InboundEvent]):
    queryset = selectors.deliveries()
    serializer_class = DeliveryDetailSerializer
    lookup_field = "delivery_id"

    @extend_schema(
        operation_id="deliveries_retrieve",
        summary="One delivery",
        description="With its headers and its body as received (but for redacted secrets); what messages refer to as "
        "`internal://deliveries/<id>`. The body is empty once retention has emptied it.",
        responses={200: DeliveryDetailSerializer, **error_answers(401, 403, 404)},
        tags=["deliveries"],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


# --- the webhook's second door ------------------------------------------------------------------------------


class WebhookDoor(APIView):
    """The webhook of apps.ingest.views, described and browsable. The body is left unread for it: bytes are signed."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    parser_classes = (JSONBody,)

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        # A sender may ask for any type; it must not be refused for that.
        return super().perform_content_negotiation(request, force=True)

    def http_method_not_allowed(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        raise MethodNotAllowed(request.method or "", door.WORDS[405])


_webhook_description: dict[str, Any] = {
    "description": "The same door as `/webhook/…`: the raw body with the provider's own signature, no login. Answers "
    "200 once the delivery is stored. A request that waits for a decision gets its neutral answer instead of this "
    "object; the id is in the header `X-Delivery-Id` in any case.",
    "request": {"application/json": OpenApiTypes.OBJECT},
    "responses": {
        200: OpenApiResponse(AcceptedSerializer, description="Stored."),
        401: OpenApiResponse(ErrorSerializer, description="The signature does not prove the request."),
        404: OpenApiResponse(ErrorSerializer, description="No such provider or endpoint, or it is closed."),
        **error_answers(413, 503),
    },
    "tags": ["webhooks"],
}


class Webhook(WebhookDoor):
    @extend_schema(operation_id="webhook_post", summary="Deliver to the default endpoint", **_webhook_description)
    def post(self, request: Request, provider_slug: str) -> HttpResponseBase:
        return views.webhook(request._request, provider_slug, DEFAULT_ENDPOINT)


class EndpointWebhook(WebhookDoor):
    @extend_schema(operation_id="webhook_endpoint_post", summary="Deliver to a named endpoint", **_webhook_description)
    def post(self, request: Request, provider_slug: str, endpoint_slug: str) -> HttpResponseBase:
        return views.webhook(request._request, provider_slug, endpoint_slug)
