"""An admin in a real Chromium: enters a secret, receives a delivery, breaks a rule in a draft, sees it, mends it,
publishes, undoes."""

import contextlib
import http.client
import json
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from django.contrib.auth import get_user_model
from playwright.sync_api import Browser, Page, expect, sync_playwright

from apps.ingest import tasks
from apps.ingest.models import InboundEvent, Message
from apps.providers import registry
from apps.providers.models import Endpoint, MappingVersion
from apps.providers.sync import sync_catalog
from tests import chromium
from tests.calls import ENDED, sample, signed

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]
SECRET = "entered by hand in a browser"
PASSWORD = "a password of the tests"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Playwright runs an event loop in this thread; Django would take our own queries for those of a coroutine.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        path = chromium.find()
        assert path, "no Chromium: run `make browser`"
        started = playwright.chromium.launch(executable_path=path, args=list(chromium.OPTIONS))
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, live_server, settings) -> Iterator[Page]:
    """The first page of the admin, with somebody logged in who may do everything."""
    settings.PUBLIC_BASE_URL = live_server.url
    sync_catalog(("retell",))
    registry.forget()
    get_user_model().objects.create_superuser("olga", "", PASSWORD)
    context = browser.new_context(base_url=live_server.url)
    context.set_default_timeout(20_000)
    opened = context.new_page()
    opened.goto("/admin/")
    opened.fill("input[name=username]", "olga")
    opened.fill("input[name=password]", PASSWORD)
    opened.click("button[type=submit]")
    yield opened
    context.close()


def post(url: str, payload: object) -> int:
    body = json.dumps(payload).encode()
    headers = {**signed(body, secret=SECRET), "Content-Type": "application/json"}
    place = urlsplit(url)
    with contextlib.closing(http.client.HTTPConnection(place.netloc, timeout=20)) as line:
        line.request("POST", place.path, body, headers)
        return line.getresponse().status


def rule_source(page: Page, now: str, then: str) -> None:
    """Change the source of a rule of the draft that is open, and save."""
    page.get_by_role("link", name="Rules", exact=True).click()
    for field in page.locator("[name^=rules-][name$=-source]").all():
        if field.input_value() == now:
            field.fill(then)
            break
    else:
        pytest.fail(f"no rule reads {now}")
    page.locator("[name=_continue], [name=_save]").first.click()


def test_an_admin_brings_a_provider_to_life_and_mends_what_breaks(page, live_server):
    # The secret, and the address to paste.
    endpoint = Endpoint.objects.get(provider__slug="retell", slug="default")
    page.goto(f"/admin/providers/endpoint/{endpoint.pk}/change/")
    expect(page.get_by_label("Webhook URL to paste")).to_have_value(f"{live_server.url}/webhook/retell")
    page.fill("input[name=new_secret]", SECRET)
    page.locator("[name=_continue]").click()
    expect(page.get_by_text("The secret was stored")).to_be_visible()
    assert SECRET not in page.content()

    # A delivery, and its message.
    registry.forget()
    assert post(f"{live_server.url}/webhook/retell", sample(ENDED)) == 200
    tasks.drain()
    page.goto("/admin/ingest/inboundevent/")
    expect(page.get_by_text("call_ended").first).to_be_visible()
    assert Message.objects.get().vcp["vcp_payload"]["call"]["duration_sec"] == 35

    # A broken rule in a draft, seen on the delivery before anything is published.
    page.goto(f"/admin/providers/mappingversion/{MappingVersion.objects.get(number=1).pk}/change/")
    page.get_by_role("link", name="Edit as draft").click()
    page.get_by_role("button", name="Make the draft").click()
    draft = MappingVersion.objects.get(number=2)
    rule_source(page, "call.from_number", "call.no_such_number")
    delivery = InboundEvent.objects.get()
    page.goto(f"/admin/providers/mappingversion/{draft.pk}/try/?delivery={delivery.delivery_id}")
    expect(page.locator("#against")).to_contain_text("call.from")
    expect(page.locator("#result")).to_contain_text("missing")
    assert Message.objects.get().mapping_version.number == 1

    # Mended, published, undone.
    page.goto(f"/admin/providers/mappingversion/{draft.pk}/change/")
    rule_source(page, "call.no_such_number", "call.from_number")
    page.goto(f"/admin/providers/mappingversion/{draft.pk}/try/?delivery={delivery.delivery_id}")
    expect(page.locator("#against")).to_contain_text("The same message")
    page.goto(f"/admin/providers/mappingversion/{draft.pk}/change/")
    page.get_by_role("link", name=re.compile("Publish$")).click()
    page.get_by_role("button", name="Publish", exact=True).click()
    expect(page.get_by_text("retell v2 is in force")).to_be_visible()
    page.get_by_role("link", name=re.compile("Undo$")).click()
    page.get_by_role("button", name="Undo", exact=True).click()
    expect(page.get_by_text("retell v1 is in force again")).to_be_visible()
    assert MappingVersion.objects.get(state="published").number == 1
