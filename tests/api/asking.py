"""How tests of the API ask, and what an answer that is an error must look like."""

import json

from django.utils import timezone

from apps.providers import registry
from apps.providers.engine.signatures import sign
from vcp import IMPLEMENTATION

CALL = "call_b1e4c07a95d24f6f8e2a77d0c31"  # its samples tell everything a call can tell
NOBODY = "00000000-0000-4000-8000-000000000000"
PASSWORD = "correct horse battery"
JSON = "application/json"
READING = [
    "/api/", "/api/messages", f"/api/messages/{NOBODY}", f"/api/messages/{NOBODY}/vcp", "/api/deliveries",
    f"/api/deliveries/{NOBODY}", f"/api/artifacts/{NOBODY}", "/api/providers", "/api/providers/retell",
    "/api/analytics/daily", "/api/comparison-matrix", "/api/vcp-example/retell",
]  # fmt: skip


def demo_secret():
    return registry.endpoint("retell", "demo").auths[0].secrets[0].secret.value


def signed(body, now=None):
    return sign(registry.endpoint("retell", "demo").auths[0].scheme, demo_secret(), body, now or timezone.now())


def deliver(client, body, door="/api/webhook/retell/demo", **extra):
    return client.post(door, data=body, content_type=JSON, headers={**signed(body), **extra})


def post(client, address, body):
    data = body if isinstance(body, bytes | str) else json.dumps(body)
    return client.post(address, data=data, content_type=JSON)


def assert_error(answer, status, code, field_path=None):
    """The answer is the error object with this status, code and place; returns it."""
    told = answer.json()
    assert (answer.status_code, told["code"], told.get("field_path")) == (status, code, field_path)
    assert told["implementation"] == IMPLEMENTATION
    assert told["message"]
    assert told["context"]["trace_id"] == answer.headers["X-Trace-Id"]
    return told


def walk(client, address):
    """All rows of a list, page by page."""
    rows = []
    while address:
        page = client.get(address).json()
        rows += page["results"]
        address = page["next"]
    return rows
