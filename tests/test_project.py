"""The roof: trace ids, chunked bodies, local keys and the periodic jobs."""

import gc
import importlib
import io
import json
import logging
import sys
import weakref

import pytest
from celery import current_app
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpResponse
from django.test import RequestFactory
from django_celery_beat.models import PeriodicTask

from apps.ingest import committing
from apps.providers import registry
from apps.providers.models import Provider
from voicelens.collector import COLLECT_AFTER, calm_collector
from voicelens.local_keys import ensure_local_keys
from voicelens.schedule import JOBS, ensure_schedule
from voicelens.tracing import JsonFormatter, TraceFilter, TraceMiddleware, current_trace_id

# --- trace ids ------------------------------------------------------------------------------------------------------


def test_a_request_has_one_trace_id_in_its_logs_and_its_answer():
    seen = []

    def view(request):
        record = logging.LogRecord("x", logging.INFO, "x", 1, "text", (), None)
        TraceFilter().filter(record)
        seen.append((request.trace_id, current_trace_id.get(), record.trace_id))
        return HttpResponse()

    middleware = TraceMiddleware(view)
    answers = [middleware(RequestFactory().get("/")) for _ in range(2)]
    assert [set(ids) for ids in seen] == [{answer.headers["X-Trace-Id"]} for answer in answers]
    assert seen[0] != seen[1]
    assert len(seen[0][0]) == 32
    assert current_trace_id.get() == "-"


def test_the_trace_id_is_let_go_when_a_view_raises():
    def view(request):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        TraceMiddleware(view)(RequestFactory().get("/"))
    assert current_trace_id.get() == "-"


def test_a_trace_id_given_with_a_log_line_is_kept():
    record = logging.makeLogRecord({"msg": "failed", "trace_id": "of the delivery"})
    assert TraceFilter().filter(record)
    assert record.trace_id == "of the delivery"


def test_a_log_line_as_json_holds_all_that_was_told():
    try:
        raise ValueError("näh")
    except ValueError:
        record = logging.LogRecord("apps.x", logging.ERROR, "x", 1, "%s\nfailed", ("it",), sys.exc_info())
    record.created = 1773677101.25
    line = JsonFormatter().format(record)
    assert "\n" not in line
    entry = json.loads(line)
    assert entry.pop("exception").endswith("ValueError: näh")
    assert entry == {
        "time": "2026-03-16T16:05:01.250+00:00",
        "level": "ERROR",
        "logger": "apps.x",
        "trace_id": "-",
        "message": "it\nfailed",
    }


# --- chunked bodies -------------------------------------------------------------------------------------------------


@pytest.fixture
def wsgi(db):
    """The module, which looks at the stored secrets when it is imported."""
    module = importlib.import_module("voicelens.wsgi")
    committing.stop()  # tests run in transactions of their own
    return module


def through_wrapper(wsgi, body, limit=10, **environ):
    """What the application sees of a request: (its body as far as it may read, its Content-Length)."""
    seen = []

    def app(environ, start_response):
        seen.append((environ["wsgi.input"].read(), environ.get("CONTENT_LENGTH")))
        return []

    wsgi.with_content_length(app, lambda path: limit)({"wsgi.input": io.BytesIO(body), **environ}, lambda *args: None)
    return seen[0]


@pytest.mark.parametrize(
    ("body", "environ", "seen"),
    [
        (b"abc", {"HTTP_TRANSFER_ENCODING": "chunked"}, (b"abc", "3")),
        (b"abc", {"HTTP_TRANSFER_ENCODING": "gzip, Chunked"}, (b"abc", "3")),
        (b"", {"HTTP_TRANSFER_ENCODING": "chunked"}, (b"", "0")),
        (b"abc", {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""}, (b"abc", "3")),
        (b"0123456789", {"HTTP_TRANSFER_ENCODING": "chunked"}, (b"0123456789", "10")),
        (b"0123456789+", {"HTTP_TRANSFER_ENCODING": "chunked"}, (b"0123456789+", "11")),
        # One byte above the limit is enough to refuse it; no more is held.
        (b"0123456789+++", {"HTTP_TRANSFER_ENCODING": "chunked"}, (b"0123456789+", "11")),
        (b"abc", {"CONTENT_LENGTH": "3"}, (b"abc", "3")),
        (b"", {}, (b"", None)),
    ],
)
def test_a_chunked_body_gets_its_length_and_every_other_stays(wsgi, body, environ, seen):
    assert through_wrapper(wsgi, body, **environ) == seen


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/webhook/retell", 5),
        ("/webhook/RETELL/default/a_token", 5),
        ("/api/webhook/retell/demo", 5),
        ("/webhook/vcp", 0),
        ("/webhook/nobody", 0),
        ("/admin/", 0),
        ("", 0),
    ],
)
def test_the_wrapper_s_limit_is_that_of_the_provider_in_the_path(catalogue, wsgi, path, more):
    provider = Provider.objects.get(slug="retell")
    provider.body_limit_bytes = settings.WEBHOOK_BODY_LIMIT_BYTES + 5
    provider.save()
    registry.forget()
    assert wsgi.limit_of(path) == settings.WEBHOOK_BODY_LIMIT_BYTES + more


@pytest.mark.parametrize("error", [OperationalError("down"), InterfaceError("connection already closed")])
def test_without_a_database_the_wrapper_leaves_the_answer_to_the_view(wsgi, monkeypatch, error):
    def down(slug):
        raise error

    monkeypatch.setattr(registry, "body_limit_bytes", down)
    assert wsgi.limit_of("/webhook/retell") == settings.WEBHOOK_BODY_LIMIT_BYTES


# --- local keys -----------------------------------------------------------------------------------------------------

KEYS = ["FIELD_ENCRYPTION_KEYS", "PSEUDONYM_KEY", "SECRET_KEY"]


@pytest.fixture
def env_file(monkeypatch, tmp_path):
    for name in [*KEYS, "SERVICE_ENV"]:
        monkeypatch.delenv(name, raising=False)
    return tmp_path / ".env"


def lines(env_file):
    return dict(line.split("=", 1) for line in env_file.read_text().splitlines() if line and line[0] != "#")


def test_a_fresh_machine_gets_three_different_keys_that_only_its_owner_reads(env_file):
    assert ensure_local_keys(env_file) == KEYS
    assert env_file.stat().st_mode & 0o777 == 0o600
    values = lines(env_file)
    assert sorted(values) == KEYS
    assert len(set(values.values())) == 3


def test_keys_that_exist_are_left_alone(env_file):
    ensure_local_keys(env_file)
    before = env_file.read_text()
    assert ensure_local_keys(env_file) == []
    assert env_file.read_text() == before


def test_only_what_is_missing_is_added_and_the_rest_of_the_file_stays(env_file, monkeypatch):
    env_file.write_text("# mine\nPORT=8090\nSECRET_KEY=given\nPSEUDONYM_KEY=")
    monkeypatch.setenv("FIELD_ENCRYPTION_KEYS", "k1:given")
    assert ensure_local_keys(env_file) == ["PSEUDONYM_KEY"]
    text = env_file.read_text()
    assert text.startswith("# mine\nPORT=8090\nSECRET_KEY=given\n")
    assert text.count("PSEUDONYM_KEY") == 1
    assert lines(env_file)["PSEUDONYM_KEY"].startswith("p1:")
    assert env_file.stat().st_mode & 0o777 == 0o600


def test_in_production_no_key_is_made_up(env_file, monkeypatch):
    monkeypatch.setenv("SERVICE_ENV", "production")
    assert ensure_local_keys(env_file) == []
    assert not env_file.exists()


# --- periodic jobs --------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_missing_jobs_are_created_once_and_then_belong_to_the_operator():
    PeriodicTask.objects.exclude(name="celery.backend_cleanup").delete()
    assert ensure_schedule() == [job.name for job in JOBS]
    sweep = PeriodicTask.objects.get(task="ingest.sweep")
    assert (sweep.interval.every, sweep.interval.period, sweep.expire_seconds) == (5, "seconds", 10)
    audit = PeriodicTask.objects.get(task="analytics.audit")
    assert (audit.crontab.hour, audit.crontab.minute, str(audit.crontab.timezone)) == ("3", "10", "UTC")
    PeriodicTask.objects.filter(pk=sweep.pk).update(enabled=False, expire_seconds=99)
    assert ensure_schedule() == []
    kept = PeriodicTask.objects.get(pk=sweep.pk)
    assert (kept.enabled, kept.expire_seconds) == (False, 99)


def test_every_job_names_a_task_that_exists():
    current_app.loader.import_default_modules()
    assert {job.task for job in JOBS} <= set(current_app.tasks)


def test_the_collector_runs_seldom_and_still_finds_what_refers_to_itself():
    before = gc.get_threshold()
    try:
        calm_collector()
        assert gc.get_threshold()[0] == COLLECT_AFTER
        assert gc.get_freeze_count() > 0
        ring = _Ring()
        gone = weakref.ref(ring)
        del ring
        gc.collect()
        assert gone() is None
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


class _Ring:
    def __init__(self) -> None:
        self.itself = self
