"""The description of the API, and its pages for people."""

import json
import re

import pytest
import yaml
from django.core.management import call_command
from django.urls import URLPattern

from apps.ingest.tasks import drain
from tests.api.asking import JSON, deliver
from voicelens import api as front

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]


@pytest.fixture
def description(tmp_path):
    """What `manage.py spectacular` writes; it fails on the first warning."""
    file = tmp_path / "schema.yaml"
    options = {"validate": True, "fail_on_warn": True}
    call_command("spectacular", file=str(file), **options)
    return yaml.safe_load(file.read_text())


def test_the_description_is_clean_and_the_same_as_the_served_one(api, description):
    served = api.get("/api/schema", headers={"accept": "application/vnd.oai.openapi+json"}).json()
    assert served == description
    assert served["openapi"] == "3.1.1"


def test_every_address_is_described(description):
    undescribed = {"", "session/", "schema", "docs"}
    routes = {str(entry.pattern) for entry in front.urlpatterns if isinstance(entry, URLPattern)}
    described = {path.removeprefix("/api/") for path in description["paths"]}
    plain = {re.sub(r"<\w+:(\w+)>", "{}", route) for route in routes if not route.startswith("^")}
    assert plain - undescribed == {re.sub(r"\{\w+\}", "{}", path) for path in described}


def test_every_operation_describes_its_errors_and_its_login(description):
    without_login = ("/api/token", "/api/webhook/")
    for path, operations in description["paths"].items():
        for operation in operations.values():
            errors = [status for status in operation["responses"] if status >= "400"]
            for status in errors:
                content = operation["responses"][status]["content"][JSON]
                assert content["schema"] == {"$ref": "#/components/schemas/Error"}
            assert errors
            assert operation["summary"]
            needs_login = not path.startswith(without_login)
            assert ("401" in errors) or not needs_login
            assert ({} in operation.get("security", [{}])) is not needs_login


@pytest.mark.parametrize(
    "address",
    ["/api/", "/api/messages", "/api/deliveries", "/api/providers", "/api/providers/retell", "/api/analytics/daily"],
)
def test_a_browser_gets_a_page(api, calls, address):
    answer = api.get(address, headers={"accept": "text/html"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("address", ["/api/webhook-test", "/api/webhook-signature-test", "/api/webhook/retell"])
def test_a_browser_gets_a_form_for_what_is_posted(api, providers, address):
    answer = api.get(address, headers={"accept": "text/html"})
    assert answer.status_code == 405
    assert "<form" in answer.content.decode()


def test_foreign_text_is_escaped_on_pages(api, providers):
    body = json.dumps({"event": "<script>alert(1)</script>"}).encode()
    deliver(api, body)
    drain()
    page = api.get("/api/deliveries", headers={"accept": "text/html"}).content.decode()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_page_to_try_the_api_loads_nothing_from_elsewhere(api):
    page = api.get("/api/docs", headers={"accept": "text/html"}).content.decode()
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sources
    assert not [source for source in sources if source.startswith(("http:", "https:", "//"))]


def test_the_root_leads_everywhere(api):
    for name, address in api.get("/api/").json().items():
        status = api.get(address, headers={"accept": "*/*"}).status_code
        posted = name.startswith("vcp-") or name in ("token", "webhook-test", "webhook-signature-test")
        assert status == (405 if posted else 200)
