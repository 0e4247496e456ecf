"""The API's trials: what a payload would become, whether a signature would hold, what a message looks like.

Nothing is stored and nothing is counted.
"""

import time
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.ingest import trial
from apps.ingest.inbox import authenticate
from apps.providers import catalog, registry
from apps.providers.engine.signatures import HmacScheme, Reason, Secret, SignedRequest, TokenScheme
from apps.providers.models import DEFAULT_ENDPOINT
from apps.providers.registry import EndpointRuntime, HeldSecret, ProviderRuntime
from apps.providers.wire import ErrorSerializer, JSONBody, error_answers, unknown_provider
from vcp.errors import PROVIDER_MAPPING_FAILED

RAW_TEXT = "An object is written as compact JSON; a text is taken as it is."


class SafeTimeField(serializers.DateTimeField):
    def to_internal_value(self, value: Any) -> datetime:
        try:
            return super().to_internal_value(value).astimezone(UTC)
        except OverflowError:  # the year 1 or 9999, moved over the edge by its zone
            self.fail("overflow", timezone="UTC")


# --- what would become of a payload -------------------------------------------------------------------------


class WebhookTestRequest(serializers.Serializer[Any]):
    provider = serializers.CharField(help_text="Slug; capitals do not matter.")
    payload = serializers.JSONField(help_text=f"The webhook's body. {RAW_TEXT}")
    event_time = SafeTimeField(
        required=False,
        help_text="When it would have been received; decides on consents and stands in the message. Now.",
    )


class ValidationReport(serializers.Serializer[Any]):
    errors = ErrorSerializer(many=True)  # type: ignore[assignment]  # a field of that name, as published
    warnings = ErrorSerializer(many=True)


class WebhookTestResponse(serializers.Serializer[Any]):
    success = serializers.BooleanField(help_text="No errors. Events that are only stored or ignored make no message.")
    provider = serializers.CharField()
    event = serializers.CharField(help_text="The provider's word.")
    disposition = serializers.ChoiceField(["map", "store", "ignore"])
    message = serializers.DictField(allow_null=True, help_text="The VCP message of this payload alone.")
    transformation_time_ms = serializers.FloatField()
    validation = ValidationReport()
    report = serializers.DictField(
        help_text="How the rules fared: used, defaulted, missing, failed, unseen, warnings, migrations."
    )


class WebhookTest(APIView):
    needs = "providers.view_mappingversion"
    parser_classes = (JSONBody,)

    @extend_schema(
        operation_id="webhook_test",
        summary="What would become of a payload",
        description="Maps one payload by the published mapping, as if it were the only delivery of its call. Nothing "
        "is stored and nothing is counted.",
        request=WebhookTestRequest,
        responses={200: WebhookTestResponse, **error_answers(400, 401, 403, 404, 413)},
        tags=["tests"],
    )
    def post(self, request: Request) -> Response:
        asked = _validated(WebhookTestRequest, request)
        provider = _provider(asked["provider"])
        case = trial.Case(_body(asked["payload"]), asked.get("event_time") or timezone.now())
        started = time.perf_counter()
        result = trial.run([case], _subject(provider))
        elapsed_ms = round((time.perf_counter() - started) * 1000, 3)
        return Response(WebhookTestResponse(_told(result, provider, elapsed_ms)).data)


def _told(result: trial.Trial, provider: ProviderRuntime, elapsed_ms: float) -> dict[str, Any]:
    reading = result.cases[0].reading
    return {
        "success": not result.errors,
        "provider": provider.slug,
        "event": reading.event,
        "disposition": reading.disposition,
        "message": result.message,
        "transformation_time_ms": elapsed_ms,
        "validation": {
            "errors": [error.to_dict() for error in result.errors],
            "warnings": [warning.to_dict() for warning in result.warnings],
        },
        "report": trial.merge_reports(result, provider.mapping),
    }


def _validated(form: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    asked = form(data=request.data)
    asked.is_valid(raise_exception=True)
    return asked.validated_data  # type: ignore[no-any-return]


def _provider(slug: str) -> ProviderRuntime:
    found = registry.provider(slug)
    if found is None:
        raise unknown_provider()
    return found


def _subject(provider: ProviderRuntime) -> trial.Subject:
    return trial.Subject(provider.slug, provider.name, provider.mapping)


def _body(payload: Any) -> bytes:
    return payload.encode() if isinstance(payload, str) else orjson.dumps(payload)


# --- whether a signature would hold -------------------------------------------------------------------------


class SignatureTestRequest(serializers.Serializer[Any]):
    provider = serializers.CharField(help_text="Slug; capitals do not matter.")
    payload = serializers.JSONField(
        help_text=f"The body that was signed. {RAW_TEXT} What is signed is bytes, so the raw text is the safe form."
    )
    signature = serializers.JSONField(
        help_text="The value of the signature's header (or the token in the URL), or an object of all headers (for "
        "schemes with several)."
    )
    secret = serializers.CharField(
        required=False, trim_whitespace=False, help_text="Empty: the secrets stored for the endpoint. Never sent back."
    )
    endpoint = serializers.CharField(default=DEFAULT_ENDPOINT, help_text="Whose scheme and secrets are meant.")
    now = SafeTimeField(required=False, help_text="The moment at which the signature's age is judged. Now.")

    def validate_signature(self, value: Any) -> Any:
        texts = value.values() if isinstance(value, dict) else [value]
        if not all(isinstance(text, str) for text in texts):
            raise serializers.ValidationError("a text, or an object of texts is needed", code="invalid")
        return value


class SignatureTestResponse(serializers.Serializer[Any]):
    signature_valid = serializers.BooleanField(help_text="False as well where the endpoint's scheme checks nothing.")
    reason = serializers.ChoiceField([reason.value for reason in Reason])
    detail = serializers.CharField(help_text="What to look at. Never holds a secret.")


class SignatureTest(APIView):
    needs = "providers.view_endpoint"
    parser_classes = (JSONBody,)

    @extend_schema(
        operation_id="webhook_signature_test",
        summary="Whether a signature would hold",
        description="Judges a signature as the webhook's door would, and says why it refuses. Nothing is stored and "
        "nothing is counted.",
        request=SignatureTestRequest,
        responses={200: SignatureTestResponse, **error_answers(400, 401, 403, 404, 413)},
        tags=["tests"],
    )
    def post(self, request: Request) -> Response:
        asked = _validated(SignatureTestRequest, request)
        endpoint = _endpoint(asked["provider"], asked["endpoint"])
        if asked.get("secret"):
            endpoint = _with_secret(endpoint, asked["secret"])
        signature = asked["signature"]
        url_token = signature if isinstance(signature, str) else ""
        signed = SignedRequest(_headers(signature, endpoint), _body(asked["payload"]), url_token=url_token)
        verdict = authenticate(endpoint, signed, asked.get("now") or timezone.now())
        # What is accepted unproven is not valid: a forged signature would pass as well.
        valid = verdict.authentic and verdict.reason is Reason.OK
        told = {"signature_valid": valid, "reason": verdict.reason.value, "detail": verdict.detail}
        return Response(SignatureTestResponse(told).data)


def _endpoint(provider_slug: str, endpoint_slug: str) -> EndpointRuntime:
    provider = _provider(provider_slug)
    found = registry.endpoint(provider.slug, endpoint_slug)
    if found is None:
        raise NotFound("the provider has no endpoint of that name", code=PROVIDER_MAPPING_FAILED)
    return found


def _with_secret(endpoint: EndpointRuntime, value: str) -> EndpointRuntime:
    held = HeldSecret(Secret("given", value), None)
    return replace(endpoint, auths=tuple(replace(auth, secrets=(held,)) for auth in endpoint.auths))


def _headers(signature: str | dict[str, str], endpoint: EndpointRuntime) -> dict[str, str]:
    """Headers with lower-case names; a lone value is that of each scheme's own header."""
    if isinstance(signature, dict):
        return {name.lower(): text for name, text in signature.items()}
    schemes = [auth.scheme for auth in endpoint.auths]
    return {scheme.header.lower(): signature for scheme in schemes if isinstance(scheme, HmacScheme | TokenScheme)}


# --- what a message looks like ------------------------------------------------------------------------------


class VCPExample(APIView):
    needs = "providers.view_mappingversion"

    @extend_schema(
        operation_id="vcp_example",
        summary="A whole message of a provider",
        description="Folded from the catalogue's samples by the published mapping, at a fixed time: always the same.",
        parameters=[OpenApiParameter("slug", OpenApiTypes.STR, OpenApiParameter.PATH)],
        responses={
            200: OpenApiResponse(OpenApiTypes.OBJECT, description="A VCP message."),
            **error_answers(401, 403, 404),
        },
        tags=["tests"],
    )
    def get(self, request: Request, slug: str) -> Response:
        provider = _provider(slug)
        cases = _sample_call(provider)
        message = trial.run(cases, _subject(provider)).message if cases else None
        if message is None:
            raise NotFound("the samples of this provider make no message", code=PROVIDER_MAPPING_FAILED)
        return Response(message)


def _sample_call(provider: ProviderRuntime) -> list[trial.Case]:
    """The sample call that goes furthest: its highest rank, then its number of events, decide."""
    calls: dict[str, list[tuple[int, trial.Case]]] = defaultdict(list)
    for payload in catalog.samples(provider.slug).values():
        identity = provider.mapping.identify(payload)
        if identity.spec.disposition == "map":
            calls[identity.call_id or ""].append((identity.spec.rank, trial.sample_case(payload, provider.mapping)))
    fullest = max(calls.values(), key=lambda call: (max(rank for rank, _ in call), len(call)), default=[])
    return [case for _, case in fullest]
