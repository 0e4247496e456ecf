"""The API's addresses, its login and its error answers; the resources themselves are in the apps' `api.py`."""

from collections.abc import Iterator
from typing import Any

from django.http import Http404, HttpRequest, HttpResponseBase, JsonResponse
from django.urls import Resolver404, URLPattern, URLResolver, include, path, re_path, resolve
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework import serializers
from rest_framework.authtoken.serializers import AuthTokenSerializer
from rest_framework.authtoken.views import ObtainAuthToken
from rest_framework.exceptions import AuthenticationFailed, ErrorDetail, NotAuthenticated, Throttled
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.settings import api_settings
from rest_framework.views import APIView
from rest_framework.views import exception_handler as default_exception_handler

from apps.analytics.api import DailyNumbers, Standing
from apps.ingest import api as ingest
from apps.ingest import trial_api, vcp_api
from apps.ingest.metrics import Metrics
from apps.ingest.replay_api import DeliveryReplay
from apps.ingest.views import trace_id_of
from apps.monitoring import api as monitoring
from apps.providers.api import ProviderDetail, ProviderList
from apps.providers.matrix import ComparisonMatrix
from apps.providers.wire import JSONBody, MessageRefused, error_answers
from vcp.errors import FIELD_TYPE_MISMATCH, REQUIRED_FIELD_MISSING, ErrorObject
from vcp.findings import jsonpath
from vcp.scalars import Path
from voicelens.limits import TokenThrottle, count_stranger

NOTHING_HERE = "there is nothing at this address"

# --- errors -------------------------------------------------------------------------------------------------

# DRF's and Django's words for what is wrong with a field, where the protocol has a code for it.
_CODES = {
    "required": REQUIRED_FIELD_MISSING,
    "null": REQUIRED_FIELD_MISSING,
    "blank": REQUIRED_FIELD_MISSING,
    "invalid": FIELD_TYPE_MISMATCH,
    "not_a_dict": FIELD_TYPE_MISMATCH,
    "not_a_list": FIELD_TYPE_MISMATCH,
}


def exception_handler(exception: Exception, context: dict[str, Any]) -> Response | None:
    """Every error of the API as the error object of the protocol, with all findings where there are several."""
    if isinstance(exception, NotAuthenticated | AuthenticationFailed):
        # The throttles of a view come after its login.
        wait_sec = count_stranger(context["request"])
        if wait_sec is not None:
            exception = Throttled(wait=wait_sec)
    if isinstance(exception, NotAuthenticated | AuthenticationFailed):
        # DRF says 403 when sessions come first among the logins; there is a login that would help, so it is 401.
        exception.status_code = 401
        exception.auth_header = "Token"  # type: ignore[union-attr]
    if isinstance(exception, Http404):
        exception = Http404(NOTHING_HERE)  # Django's own words name the model
    response = default_exception_handler(exception, context)
    if response is not None:
        if isinstance(exception, MessageRefused):
            errors = exception.errors
        else:
            errors = [_error(path, detail, response.status_code) for path, detail in _walk(response.data)]
        response.data = _error_object(errors, context["request"])
    return response


def _walk(detail: Any, path: Path = ()) -> Iterator[tuple[Path, ErrorDetail]]:
    """Each finding of an exception's detail with its place."""
    if isinstance(detail, ErrorDetail):
        yield path, detail
    elif isinstance(detail, dict):
        for name, inner in detail.items():
            whole = name in ("detail", api_settings.NON_FIELD_ERRORS_KEY)
            yield from _walk(inner, path if whole else (*path, name))
    else:
        for number, inner in enumerate(detail):
            yield from _walk(inner, path if isinstance(inner, ErrorDetail) else (*path, number))


def _error(path: Path, detail: ErrorDetail, status: int) -> ErrorObject:
    code = detail.code or ""
    if not code.startswith("VCP_"):
        code = _CODES.get(code, "") if status == 400 else ""
    # Their words for a wrong choice repeat what was sent.
    message = "this is none of the values allowed here" if detail.code == "invalid_choice" else str(detail)
    return ErrorObject(code or f"HTTP_{status}", message, jsonpath(path) if status == 400 else None)


def _error_object(errors: list[ErrorObject], request: Request | HttpRequest) -> dict[str, Any]:
    first = errors[0].to_dict()
    several = {"errors": [error.to_dict() for error in errors]} if len(errors) > 1 else {}
    return {**first, "context": {**first["context"], **several, "trace_id": trace_id_of(request)}}


def _plain_error(request: HttpRequest, status: int, message: str) -> JsonResponse:
    return JsonResponse(_error_object([ErrorObject(f"HTTP_{status}", message)], request), status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """What Django refuses before a view has it."""
    if not request.path.startswith(("/api/", "/webhook/")):
        return defaults.bad_request(request, exception)
    return _plain_error(request, 400, "the request cannot be read")


def server_error(request: HttpRequest) -> HttpResponseBase:
    """A fault of ours; the log has it under the trace id."""
    if not request.path.startswith(("/api/", "/webhook/")):
        return defaults.server_error(request)
    return _plain_error(request, 500, "something went wrong here; the log has it under the trace id")


@csrf_exempt
def any_other_address(request: HttpRequest, rest: str) -> HttpResponseBase:
    """With a slash at its end an address is the one without it (a redirect loses a POST's body); all else is 404."""
    if rest.endswith("/"):
        try:
            found = resolve(request.path_info.rstrip("/"))
        except Resolver404:
            found = None
        if found is not None and found.func is not any_other_address:
            return found.func(request, *found.args, **found.kwargs)  # type: ignore[no-any-return]
    return _plain_error(request, 404, NOTHING_HERE)


# --- login, root and description ----------------------------------------------------------------------------


class TokenResponse(serializers.Serializer[Any]):
    token = serializers.CharField(help_text="Send it as the header `Authorization: Token <token>`.")


class ObtainToken(ObtainAuthToken):
    authentication_classes = ()  # an old token in the header must not keep anyone from a new one
    throttle_classes = (TokenThrottle,)
    parser_classes = (JSONBody,)

    @extend_schema(
        operation_id="token_obtain",
        summary="A token for a user",
        description="The same token at each request; an operator can delete it in the admin.",
        auth=[],
        request=AuthTokenSerializer,
        responses={200: TokenResponse, **error_answers(400, 429)},
        tags=["login"],
    )
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().post(request, *args, **kwargs)


class Root(APIView):
    """Where everything is. The webhooks' addresses stand with each provider."""

    permission_classes = (IsAuthenticated,)

    NAMES = (
        "messages", "deliveries", "metrics", "providers", "comparison-matrix", "analytics-daily",
        "monitoring-changes", "monitoring-incidents", "monitoring-health", "monitoring-standing",
        "webhook-test", "webhook-signature-test", "vcp-validate", "vcp-migrate", "vcp-checksum", "vcp-export",
    )  # fmt: skip

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        return Response({name: reverse(name, request=request) for name in (*self.NAMES, "token", "schema", "docs")})


def with_empty_filters(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Say in the description that an empty filter is none, as forms send those that nobody filled in."""
    for operations in result["paths"].values():
        for parameter in operations.get("get", {}).get("parameters", ()):
            if parameter["in"] == "query" and parameter["name"] != "page_size":
                parameter["allowEmptyValue"] = True
    return result


urlpatterns: list[URLPattern | URLResolver] = [
    path("", Root.as_view(), name="api-root"),
    path("token", ObtainToken.as_view(), name="token"),
    path("session/", include("rest_framework.urls")),
    path("messages", ingest.MessageList.as_view(), name="messages"),
    path("messages/<uuid:pk>", ingest.MessageDetail.as_view(), name="message"),
    path("messages/<uuid:pk>/vcp", ingest.MessageVCP.as_view(), name="message-vcp"),
    path("deliveries", ingest.DeliveryList.as_view(), name="deliveries"),
    path("deliveries/replay", DeliveryReplay.as_view(), name="deliveries-replay"),
    path("deliveries/<uuid:delivery_id>", ingest.DeliveryDetail.as_view(), name="delivery"),
    path("metrics", Metrics.as_view(), name="metrics"),
    path("artifacts/<uuid:pk>", ingest.ArtifactDetail.as_view(), name="artifact"),
    path("providers", ProviderList.as_view(), name="providers"),
    path("providers/<slug:slug>", ProviderDetail.as_view(), name="provider"),
    path("comparison-matrix", ComparisonMatrix.as_view(), name="comparison-matrix"),
    path("analytics/daily", DailyNumbers.as_view(), name="analytics-daily"),
    path("monitoring/standing", Standing.as_view(), name="monitoring-standing"),
    path("monitoring/changes", monitoring.ChangeList.as_view(), name="monitoring-changes"),
    path("monitoring/changes/<int:pk>", monitoring.ChangeDetail.as_view(), name="monitoring-change"),
    path("monitoring/changes.rss", monitoring.ChangesAsRss.as_view()),
    path("monitoring/changes.atom", monitoring.ChangesAsAtom.as_view()),
    path("monitoring/incidents", monitoring.IncidentList.as_view(), name="monitoring-incidents"),
    path("monitoring/health", monitoring.Health.as_view(), name="monitoring-health"),
    path("webhook-test", trial_api.WebhookTest.as_view(), name="webhook-test"),
    path("webhook-signature-test", trial_api.SignatureTest.as_view(), name="webhook-signature-test"),
    path("vcp-example/<slug:slug>", trial_api.VCPExample.as_view(), name="vcp-example"),
    path("vcp/validate", vcp_api.Validate.as_view(), name="vcp-validate"),
    path("vcp/migrate", vcp_api.Migrate.as_view(), name="vcp-migrate"),
    path("vcp/checksum", vcp_api.Checksum.as_view(), name="vcp-checksum"),
    path("vcp/export", vcp_api.Export.as_view(), name="vcp-export"),
    path("webhook/<str:provider_slug>", ingest.Webhook.as_view()),
    path("webhook/<str:provider_slug>/<str:endpoint_slug>", ingest.EndpointWebhook.as_view()),
    # The description is no secret: whoever wants to write a client may read it before they have a login.
    path("schema", SpectacularAPIView.as_view(permission_classes=[AllowAny], authentication_classes=[]), name="schema"),
    path(
        "docs",
        SpectacularSwaggerView.as_view(url_name="schema", permission_classes=[AllowAny], authentication_classes=[]),
        name="docs",
    ),
    re_path(r"^(?P<rest>[\s\S]*)$", any_other_address),
]
