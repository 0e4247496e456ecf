"""How the providers compare, from the published registry: what each tells, how it proves itself, what it fills."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.providers.api import ProviderSerializer, providers, published_version, summary
from apps.providers.engine.spec import ARTIFACT_TARGETS
from apps.providers.models import MappingRule, MappingVersion
from apps.providers.wire import error_answers

# The provider's own data, which every one of them has in another form.
OWN_DATA = "custom."


def filled_fields(targets: Iterable[str]) -> list[str]:
    """The fields below vcp_payload among the targets of a mapping's rules and decisions, sorted.

    What folding adds by itself (headline, gap, …) is not listed, nor the provider's own data.
    """
    return sorted({ARTIFACT_TARGETS.get(target, target) for target in targets if not target.startswith(OWN_DATA)})


def comparison() -> dict[str, Any]:
    """{providers: […], features: {auth_methods, events, vcp_fields: {name: [slug, …]}}}, in the order of the slugs."""
    targets = _targets_of_rules()
    rows = [_row(row, targets) for row in providers().order_by("slug")]
    features: dict[str, Callable[[Any], list[str]]] = {
        "auth_methods": lambda row: [row["webhook_auth"]["method"]],
        "events": lambda row: row["supported_events"],
        "vcp_fields": lambda row: row["vcp_fields"],
    }
    return {"providers": rows, "features": {name: _who(rows, named) for name, named in features.items()}}


def _targets_of_rules() -> dict[int, list[str]]:
    published = MappingRule.objects.filter(version__state=MappingVersion.State.PUBLISHED)
    targets: dict[int, list[str]] = defaultdict(list)
    for version, target in published.values_list("version", "target").order_by():
        targets[version].append(target)
    return targets


def _row(row: Any, targets: dict[int, list[str]]) -> dict[str, Any]:
    version = published_version(row)
    decided = [decision["target"] for decision in version.decisions] if version else []
    return {
        **summary(row),
        "vcp_fields": filled_fields([*targets[version.pk], *decided]) if version else [],
        "ready_made": version is not None and version.format == "vcp",
        "gaps": row.gaps,
        "stricter": row.stricter,
    }


def _who(rows: list[dict[str, Any]], named: Callable[[Any], list[str]]) -> dict[str, list[str]]:
    names = sorted({name for row in rows for name in named(row)})
    return {name: [row["slug"] for row in rows if name in named(row)] for name in names}


# --- the API ------------------------------------------------------------------------------------------------


class ComparedProviderSerializer(ProviderSerializer):
    vcp_fields = serializers.ListField(
        child=serializers.CharField(), help_text="Fields below vcp_payload that the published mapping fills."
    )
    ready_made = serializers.BooleanField(help_text="It sends whole messages, so any field can be there.")
    gaps = serializers.ListField(child=serializers.CharField(), help_text="What is known not to be read.")
    stricter = serializers.ListField(
        child=serializers.CharField(), help_text="Where we refuse what the provider's own code accepts, and why."
    )


class FeaturesSerializer(serializers.Serializer[Any]):
    """For each feature the slugs of the providers that have it."""

    auth_methods = serializers.DictField(child=serializers.ListField(child=serializers.CharField()))
    events = serializers.DictField(child=serializers.ListField(child=serializers.CharField()))
    vcp_fields = serializers.DictField(child=serializers.ListField(child=serializers.CharField()))


class ComparisonSerializer(serializers.Serializer[Any]):
    providers = ComparedProviderSerializer(many=True)
    features = FeaturesSerializer()


class ComparisonMatrix(APIView):
    needs = "providers.view_provider"

    @extend_schema(
        operation_id="comparison_matrix",
        summary="How the providers compare",
        description="Each provider with its proof, events, fields, gaps and pages; then each feature with those that "
        "have it. From the published registry as it is now.",
        responses={200: ComparisonSerializer, **error_answers(401, 403)},
        tags=["providers"],
    )
    def get(self, request: Request) -> Response:
        return Response(ComparisonSerializer(comparison()).data)
