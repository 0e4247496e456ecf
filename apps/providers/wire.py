"""What the API of every app has in common: JSON bodies in, pages and error objects out, and how they are described.

Errors are raised here and in the apps as DRF's exceptions; `voicelens.api` turns each into the error object.
"""

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import Model, Q
from django.http.request import UnreadablePostError
from drf_spectacular.utils import OpenApiResponse
from rest_framework import serializers
from rest_framework.exceptions import APIException, NotFound, ParseError, ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from apps.providers.engine import payload
from apps.providers.engine.errors import PayloadError
from vcp.errors import PROVIDER_MAPPING_FAILED, ErrorObject

PAGE_SIZE = 50
MAX_PAGE_SIZE = 500


# --- bodies -------------------------------------------------------------------------------------------------


class BodyTooLarge(APIException):
    status_code = 413
    default_detail = "the body is larger than this API accepts"
    default_code = "too_large"


class JSONBody(BaseParser):
    """JSON as a webhook's body is read: bounded in size and depth, free of U+0000."""

    media_type = "application/json"

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            return payload.parse(bounded_body(stream))
        except PayloadError as error:
            raise ParseError(str(error)) from error


def bounded_body(stream: IO[Any]) -> bytes:
    """The whole body. Raises BodyTooLarge, or ParseError when the sender broke off."""
    limit_bytes = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    try:
        body: bytes = stream.read(limit_bytes + 1)
    except UnreadablePostError as error:
        raise ParseError("the body could not be read to its end") from error
    if len(body) > limit_bytes:
        raise BodyTooLarge
    return body


# --- errors -------------------------------------------------------------------------------------------------


class MessageRefused(APIException):
    """A message that was sent along cannot be used; `errors` are the findings of the protocol, never none."""

    status_code = 400

    def __init__(self, errors: Sequence[ErrorObject]) -> None:
        super().__init__(errors[0].message, errors[0].code)
        self.errors = list(errors)


def unknown_provider() -> NotFound:
    return NotFound("there is no provider of that name", code=PROVIDER_MAPPING_FAILED)


class ErrorSerializer(serializers.Serializer[Any]):
    """What is wrong, in one form everywhere."""

    code = serializers.CharField(
        help_text="VCP_E001 to VCP_E005, or HTTP_<status> where the request itself is refused."
    )
    message = serializers.CharField(help_text="For people. Never holds a secret or a value of a payload.")
    field_path = serializers.CharField(required=False, help_text="JSONPath of the place, such as `$.start_from`.")
    provider = serializers.CharField(required=False)
    implementation = serializers.CharField()
    context = serializers.DictField(  # type: ignore[assignment]  # a field of that name, as published
        help_text="`trace_id` of the request; `errors`, all findings, when there are several; else what fits the code."
    )


_MEANINGS = {
    400: "The request cannot be read: `field_path` names the place.",
    401: "No login, or a wrong one.",
    403: "The user lacks the right that `message` names.",
    404: "There is nothing of that name.",
    413: "The body is too large.",
    429: "Too many requests; `Retry-After` tells when to ask again.",
    503: "The delivery could not be stored; send it again.",
}


def error_answers(*statuses: int) -> dict[int, OpenApiResponse]:
    """The description of these error answers, for `extend_schema(responses=…)`. Whoever asks too often gets 429
    everywhere."""
    told = sorted({*statuses, 429})
    return {status: OpenApiResponse(ErrorSerializer, description=_MEANINGS[status]) for status in told}


# --- pages --------------------------------------------------------------------------------------------------


class Keyset(BasePagination):
    """Pages that begin after the last row of the page before: as quick in the depth as at the start, and steady while
    rows are added.

    A list names its `ordering` in a subclass: one or two columns that together are unique, which an index serves.
    """

    ordering: tuple[str, ...] = ("-id",)

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        size = self._page_size(request.query_params.get("page_size"))
        rows = queryset.order_by(*self.ordering)
        cursor = request.query_params.get("cursor")
        if cursor:
            rows = rows.filter(self._after(queryset.model, cursor))
        found = list(rows[: size + 1])
        self._next: str | None = None
        if len(found) > size:
            self._next = replace_query_param(request.build_absolute_uri(), "cursor", self._cursor(found[size - 1]))
        return found[:size]

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"next": self._next, "results": data})

    def _page_size(self, text: str | None) -> int:
        if text is None:
            return PAGE_SIZE
        if not (text.isascii() and text.isdecimal() and len(text) <= 9 and 1 <= int(text) <= MAX_PAGE_SIZE):
            raise ValidationError({"page_size": f"a whole number from 1 to {MAX_PAGE_SIZE} is needed"})
        return int(text)

    def _columns(self) -> list[tuple[str, str]]:
        """Each column with the lookup that leads on from a value of it."""
        return [(name.lstrip("-"), "lt" if name.startswith("-") else "gt") for name in self.ordering]

    def _cursor(self, row: Model) -> str:
        values = [row._meta.get_field(name).value_to_string(row) for name, _ in self._columns()]  # type: ignore[union-attr]
        return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")

    def _after(self, model: type[Model], cursor: str) -> Q:
        columns = self._columns()
        values = _read_cursor(model, [name for name, _ in columns], cursor)
        (first, onward), *more = columns
        condition = Q(**{f"{first}__{onward}": values[0]})
        if more:
            # The bound on the first column, repeated alone, is what the index is entered by.
            second, second_onward = more[0]
            tie = Q(**{first: values[0], f"{second}__{second_onward}": values[1]})
            condition = Q(**{f"{first}__{onward}e": values[0]}) & (condition | tie)
        return condition

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["next", "results"],
            "properties": {
                "next": {
                    "type": ["string", "null"],
                    "format": "uri",
                    "description": "The next page; null on the last one.",
                },
                "results": schema,
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        size = {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": PAGE_SIZE}
        return [
            {"name": "page_size", "in": "query", "required": False, "schema": size, "description": "Rows of a page."},
            {
                "name": "cursor",
                "in": "query",
                "required": False,
                "schema": {"type": "string"},
                "description": "Where the page begins: follow `next`.",
            },
        ]


def _read_cursor(model: type[Model], names: list[str], cursor: str) -> list[Any]:
    """The values of a cursor, of the columns' types. Raises ValidationError for anything that is no cursor of ours."""
    try:
        texts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return [_read_value(model, name, text) for name, text in zip(names, texts, strict=True)]
    except (ValueError, TypeError, OverflowError, RecursionError, DjangoValidationError) as error:
        raise ValidationError({"cursor": "this is no cursor of this list; begin without one"}) from error


def _read_value(model: type[Model], name: str, text: Any) -> Any:
    if not isinstance(text, str) or "\x00" in text:
        raise TypeError("not the text of a value")
    value = model._meta.get_field(name).to_python(text)  # type: ignore[union-attr]
    if isinstance(value, int) and abs(value) >= 2**63:
        raise OverflowError("beyond the column")
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a time without zone")
        return value.astimezone(UTC)  # beyond the calendar: OverflowError here instead of in the query
    return value
