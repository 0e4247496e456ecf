"""The protocol's own operations over HTTP: check, migrate, sum and export a message that is sent along.

The body is the message itself, options stand in the query. Nothing is stored and nothing is counted.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from apps.ingest.trial_api import SafeTimeField
from apps.providers.wire import ErrorSerializer, MessageRefused, bounded_body, error_answers
from vcp import VCPMessage, checksum, migrate, to_spans, to_vcon, validate
from vcp.errors import SchemaError, VCPError
from vcp.structure import read_json
from vcp.versions.forms import SUPPORTED_VERSIONS
from vcp.versions.reading import read_current

EXPORTS: dict[str, Callable[[VCPMessage], dict[str, Any]]] = {"vcon": to_vcon, "otel": to_spans}


@contextmanager
def _refusing() -> Iterator[None]:
    """What the protocol raises becomes the answer 400."""
    try:
        yield
    except SchemaError as error:
        raise MessageRefused(error.errors) from error
    except VCPError as error:
        raise MessageRefused([error.to_error()]) from error


class MessageBody(BaseParser):
    """JSON as the protocol itself reads it, so that an answer here is that of the library; bounded in size."""

    media_type = "application/json"

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None) -> Any:
        with _refusing():
            return read_json(bounded_body(stream))


class Operation(APIView):
    """What the four have in common. They read nothing that is stored here: whoever sees the registry may use them."""

    needs = "providers.view_provider"
    parser_classes = (MessageBody,)


def _message(request: Request) -> Any:
    """The message as parsed JSON; for an empty body DRF asks no parser."""
    with _refusing():
        return request.data if request.stream is not None else read_json(b"")


def _options(form: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    """The query; a name that is none is refused, for a slip of the pen must not pass for the default."""
    asked = form(data=request.query_params.dict())  # no form of a page, where an empty field is none
    unknown = set(request.query_params) - {*asked.fields, api_settings.URL_FORMAT_OVERRIDE}
    if unknown:
        known = f"there are: {', '.join(asked.fields)}" if asked.fields else "there are none"
        raise ValidationError(dict.fromkeys(sorted(unknown), f"there is no such option; {known}"), code="invalid")
    asked.is_valid(raise_exception=True)
    return asked.validated_data  # type: ignore[no-any-return]


class OneOf(serializers.ChoiceField):
    """A choice that names what is possible; DRF's own words repeat what was sent."""

    def to_internal_value(self, data: Any) -> Any:
        if data not in self.choices:
            raise ValidationError(f"this must be one of: {', '.join(self.choices)}", code="invalid")
        return super().to_internal_value(data)


# --- validate -----------------------------------------------------------------------------------------------


class ValidateOptions(serializers.Serializer[Any]):
    now = SafeTimeField(required=False, help_text="When consents are looked at. Now.")


class ValidateResponse(serializers.Serializer[Any]):
    valid = serializers.BooleanField(help_text="No errors; warnings do not count.")
    version = serializers.ChoiceField(SUPPORTED_VERSIONS, allow_null=True, help_text="Null: it cannot be told.")
    shape = serializers.CharField(allow_null=True, help_text="published, lineage; complete, incomplete; current.")
    errors = ErrorSerializer(many=True)  # type: ignore[assignment]  # a field of that name, as published
    warnings = ErrorSerializer(many=True)


class Validate(Operation):
    @extend_schema(
        operation_id="vcp_validate",
        summary="What is wrong or odd about a message",
        description="Checks a message by every rule of its own version; findings come in document order. A message "
        "with findings is an answer like any other: 400 is for a body that is no JSON.",
        parameters=[ValidateOptions],
        request=OpenApiTypes.ANY,
        responses={200: ValidateResponse, **error_answers(400, 401, 403, 413)},
        tags=["vcp"],
    )
    def post(self, request: Request) -> Response:
        now = _options(ValidateOptions, request).get("now") or timezone.now()
        report = validate(_message(request), now=now)
        version, shape = report.form or (None, None)
        return Response({"valid": report.ok, "version": version, "shape": shape, **report.to_dict()})


# --- migrate ------------------------------------------------------------------------------------------------


class MigrateOptions(serializers.Serializer[Any]):
    to = OneOf(["0.5", "0.3"], default="0.5", help_text="The version to make of it.")
    shape = OneOf(
        ["published", "lineage"], required=False, help_text="Of 0.3; published where the message came from it."
    )
    force = serializers.BooleanField(
        default=False, help_text="Also give out without its consent a message whose consent was denied or revoked."
    )


class MigrateResponse(serializers.Serializer[Any]):
    message = serializers.DictField()
    source = serializers.DictField(  # type: ignore[assignment]  # a field of that name, as in the library
        help_text="`version` and `shape` of what was sent."
    )
    target = serializers.DictField(help_text="`version` and `shape` of the message.")
    report = serializers.DictField(help_text="`synthesized`, `lost`, `warnings`: each a list of `path` and `reason`.")


class Migrate(Operation):
    @extend_schema(
        operation_id="vcp_migrate",
        summary="A message in another version",
        description="0.3 and 0.4 to 0.5, or down to 0.3, with what was made up and what was lost on the way.",
        parameters=[MigrateOptions],
        request=OpenApiTypes.OBJECT,
        responses={200: MigrateResponse, **error_answers(400, 401, 403, 413)},
        tags=["vcp"],
    )
    def post(self, request: Request) -> Response:
        asked = _options(MigrateOptions, request)
        with _refusing():
            done = migrate(_message(request), asked["to"], asked.get("shape"), force=asked["force"])
        return Response(done.to_dict())


# --- checksum and export ------------------------------------------------------------------------------------


class NoOptions(serializers.Serializer[Any]):
    pass


class ChecksumResponse(serializers.Serializer[Any]):
    checksum = serializers.CharField(help_text="SHA-256 of the canonical JSON, lower-case hex.")


class Checksum(Operation):
    @extend_schema(
        operation_id="vcp_checksum",
        summary="The checksum of a 0.5 message",
        description="Equal for equal messages, in whatever order and form they are written. Upgrade older ones first.",
        request=OpenApiTypes.OBJECT,
        responses={200: ChecksumResponse, **error_answers(400, 401, 403, 413)},
        tags=["vcp"],
    )
    def post(self, request: Request) -> Response:
        _options(NoOptions, request)
        with _refusing():
            return Response({"checksum": checksum(read_current(_message(request)))})


class ExportOptions(serializers.Serializer[Any]):
    # Not `format`: by that name the API's own answers are chosen (JSON or page).
    to = OneOf(list(EXPORTS), help_text="An IETF vCon, or OpenTelemetry spans as OTLP/JSON.")


class Export(Operation):
    @extend_schema(
        operation_id="vcp_export",
        summary="A 0.5 message as a vCon or as OpenTelemetry spans",
        description="Both are of calls that have ended. Spans hold no personal data. Upgrade older ones first.",
        parameters=[ExportOptions],
        request=OpenApiTypes.OBJECT,
        responses={
            200: OpenApiResponse(OpenApiTypes.OBJECT, description="The vCon, or the spans."),
            **error_answers(400, 401, 403, 413),
        },
        tags=["vcp"],
    )
    def post(self, request: Request) -> Response:
        export = EXPORTS[_options(ExportOptions, request)["to"]]
        with _refusing():
            return Response(export(read_current(_message(request))))
