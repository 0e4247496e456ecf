"""POST /api/deliveries/replay: work deliveries off again, by their ids or all that match."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.ingest import operations
from apps.ingest.models import InboundEvent
from apps.ingest.trial_api import SafeTimeField
from apps.providers.wire import JSONBody, error_answers

State = InboundEvent.State
MAX_IDS = 1000
# Each field of the selection and the condition it stands for.
CONDITIONS = {
    "delivery_ids": "delivery_id__in",
    "provider": "provider__iexact",
    "state": "state",
    "event": "event__iexact",
    "error_code": "error_code__iexact",
    "received_from": "received_at__gte",
    "received_to": "received_at__lt",
}


class ReplayRequest(serializers.Serializer[Any]):
    delivery_ids = serializers.ListField(
        child=serializers.UUIDField(), required=False, allow_empty=False, max_length=MAX_IDS
    )
    provider = serializers.CharField(required=False, help_text="Slug; capitals do not matter.")
    state = serializers.ChoiceField([state.value for state in State if state != State.ERASED], required=False)
    event = serializers.CharField(required=False, help_text="The provider's word.")
    error_code = serializers.CharField(required=False, help_text="For example VCP_E002.")
    received_from = SafeTimeField(required=False, help_text="Included.")
    received_to = SafeTimeField(required=False, help_text="Not included.")
    dry_run = serializers.BooleanField(default=False, help_text="Only count.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not CONDITIONS.keys() & attrs.keys():
            raise serializers.ValidationError(
                f"name what to replay, by at least one of {', '.join(CONDITIONS)}", code="required"
            )
        return attrs


class ReplayResponse(serializers.Serializer[Any]):
    count = serializers.IntegerField(help_text="Deliveries that are, or with `dry_run` would be, worked off again.")
    dry_run = serializers.BooleanField()


class DeliveryReplay(APIView):
    needs = "ingest.change_inboundevent"
    parser_classes = (JSONBody,)

    @extend_schema(
        operation_id="deliveries_replay",
        summary="Work deliveries off again",
        description="With today's mapping: those that match everything given. The worker does it after the answer; the "
        "same deliveries any number of times give the same messages and numbers. Erased ones are left out.",
        request=ReplayRequest,
        responses={200: ReplayResponse, **error_answers(400, 401, 403, 413)},
        tags=["deliveries"],
    )
    def post(self, request: Request) -> Response:
        form = ReplayRequest(data=request.data)
        form.is_valid(raise_exception=True)
        asked = form.validated_data
        chosen = {CONDITIONS[name]: asked[name] for name in CONDITIONS if name in asked}
        events = InboundEvent.objects.filter(**chosen)
        count = operations.replayable(events).count() if asked["dry_run"] else operations.replay(events)
        return Response({"count": count, "dry_run": asked["dry_run"]})
