"""How the providers compare: from what is published, not from what a file says."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from apps.providers import matrix, publishing
from apps.providers.models import MappingVersion, Provider

pytestmark = pytest.mark.django_db


@pytest.fixture
def compared(catalogue: None, client: Client) -> dict[str, Any]:
    client.force_login(User.objects.create_superuser("olga"))
    answer = client.get("/api/comparison-matrix", headers={"accept": "application/json"})
    assert answer.status_code == 200
    told: dict[str, Any] = answer.json()
    return told


def test_each_provider_is_told_with_its_proof_events_fields_and_pages(compared: dict[str, Any]) -> None:
    retell, vcp = compared["providers"]
    assert (retell["slug"], retell["webhook_auth"]["method"]) == ("retell", "hmac_sha256")
    assert (retell["status_page"], retell["website"]) == ("https://status.retellai.com", "https://www.retellai.com")
    assert {"call_started", "call_ended", "call_analyzed"} <= set(retell["supported_events"])
    assert retell["mapping_rules_count"] == Provider.objects.get(slug="retell").published.rules.count()  # type: ignore[union-attr]
    assert {"call.start_time", "outcomes.objective.status", "artifacts.transcript_ref"} <= set(retell["vcp_fields"])
    assert not [field for field in retell["vcp_fields"] if field.startswith("custom.")]
    assert retell["gaps"]
    assert (vcp["slug"], vcp["ready_made"], vcp["vcp_fields"]) == ("vcp", True, [])


def test_each_feature_names_who_has_it(compared: dict[str, Any]) -> None:
    features = compared["features"]
    assert features["auth_methods"] == {"bearer_token": ["vcp"], "hmac_sha256": ["retell"]}
    assert features["events"]["call_ended"] == ["retell"]
    assert features["vcp_fields"]["call.start_time"] == ["retell"]
    assert list(features["vcp_fields"]) == sorted(features["vcp_fields"])


def test_an_edited_mapping_shows_once_it_is_published(catalogue: None) -> None:
    draft = publishing.draft_of(MappingVersion.objects.get(provider__slug="retell"))
    draft.rules.filter(target="hcr.summary").delete()
    assert "hcr.summary" in matrix.comparison()["features"]["vcp_fields"]
    publishing.publish(draft)
    assert "hcr.summary" not in matrix.comparison()["features"]["vcp_fields"]


def test_a_provider_without_a_published_mapping_fills_nothing(catalogue: None) -> None:
    MappingVersion.objects.filter(provider__slug="retell").update(state="retired")
    row = matrix.comparison()["providers"][0]
    told = [row[name] for name in ("slug", "vcp_fields", "supported_events", "mapping_rules_count")]
    assert told == ["retell", [], [], 0]


def test_the_comparison_takes_few_queries(catalogue: None, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(5):
        matrix.comparison()
