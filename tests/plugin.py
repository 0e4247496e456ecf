"""Pytest plugin (`-p tests.plugin`): gives a run its keys, its database and its Redis.

All of it goes into the environment before Django's settings are read. PostgreSQL and Redis are started
privately, or used as they are where DATABASE_URL and REDIS_URL are given; without them nothing is skipped,
the run fails and says what to install.
"""

import atexit
import base64
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from voicelens.leash import leashed
from voicelens.services import ServiceError, Services

ROOT = Path(__file__).resolve().parent.parent
XDIST_WORKER = "PYTEST_XDIST_WORKER"
# The floors that know no Django: reading their tests is a third of reading all.
WITHOUT_DATABASE = (ROOT / "vcp", ROOT / "apps" / "providers" / "engine")
KEYS = {
    "SERVICE_ENV": "test",
    "SECRET_KEY": "secret key of the tests",
    "FIELD_ENCRYPTION_KEYS": "t1:" + base64.urlsafe_b64encode(b"32 bytes, known to every reader.").decode(),
    "PSEUDONYM_KEY": "t1:pseudonym key of the tests",
    "MONITORING_ENABLED": "false",  # no process of a test looks at a provider's real pages
}
origins: dict[str, str] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--db", choices=["sqlite", "postgres"], default="sqlite", help="database of the run")
    parser.addoption("--database-only", action="store_true", help="only what may differ between databases")


# This hook, and first: pytest-django reads the settings before any conftest.py is loaded.
@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    if XDIST_WORKER not in os.environ:
        try:
            _prepare_environment(early_config.known_args_namespace.db)
        except ServiceError as error:
            raise pytest.UsageError(str(error)) from None
    os.environ["REDIS_URL"] = _with_path(os.environ["REDIS_URL"], _redis_database())
    _empty_redis(os.environ["REDIS_URL"])


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "any_database: pages, forms, servers: one database is enough for them")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if config.getoption("--database-only") and collection_path in WITHOUT_DATABASE else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--database-only"):
        chosen = [item for item in items if uses_database(item) and not item.get_closest_marker("any_database")]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
        items[:] = chosen


def uses_database(item: pytest.Item) -> bool:
    """Whether the test asks for a database, by a fixture, a mark, or what a fixture of its asks for."""
    wanted = {"db", "transactional_db"} & set(getattr(item, "fixturenames", ()))
    return bool(wanted) or item.get_closest_marker("django_db") is not None


def pytest_report_header() -> list[str]:
    return [f"{name}: {origin}" for name, origin in origins.items()]


def _prepare_environment(db: str) -> None:
    """What every process of the run shares; the servers end with this process."""
    services = Services()
    atexit.register(services.stop)
    data = services.folder / "data"
    data.mkdir(mode=0o700)
    os.environ |= KEYS | {"DATA_DIR": str(data)}
    if db == "sqlite":
        os.environ["DATABASE_URL"] = f"sqlite:///{data / 'voicelens.sqlite3'}"
        origins["database"] = "SQLite"
    elif os.environ.get("DATABASE_URL", "").startswith("postgres"):
        origins["database"] = "PostgreSQL, given by DATABASE_URL"
    else:
        os.environ["DATABASE_URL"] = services.postgres()
        origins["database"] = services.descriptions["postgres"]
    if os.environ.get("REDIS_URL"):
        origins["redis"] = "given by REDIS_URL"
    else:
        os.environ["REDIS_URL"] = services.redis()
        origins["redis"] = services.descriptions["redis"]


def _redis_database() -> int:
    """A numbered database for each test process; 0, where a given server keeps its data, is spared."""
    return int(os.environ.get(XDIST_WORKER, "gw0").removeprefix("gw")) + 1


def _empty_redis(url: str) -> None:
    """A given server may hold tasks and counters of an earlier run."""
    import redis

    try:
        with redis.Redis.from_url(url) as client:
            client.flushdb()
    except redis.RedisError as error:
        raise pytest.UsageError(f"REDIS_URL cannot be used: {error}") from None


def _with_path(url: str, path: object) -> str:
    return urlsplit(url)._replace(path=f"/{path}").geturl()


@pytest.fixture(autouse=True, scope="session")
def _only_pages_tell_their_context(django_test_environment: None) -> Iterator[None]:
    """`response.context` is that of the page; a page's hundreds of parts and widgets, each telling its own, would
    take a quarter of the time of every page."""
    from django.template.base import Template
    from django.template.context import Context, RequestContext

    tell_and_render = Template._render  # type: ignore[attr-defined]  # Django's tests replace it, too

    def render(template: Template, context: Context) -> str:
        is_page = isinstance(context, RequestContext) and context.template is template
        return tell_and_render(template, context) if is_page else template.nodelist.render(context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Template, "_render", render)
        yield


@pytest.fixture
def celery_worker_process(transactional_db: None) -> Iterator[subprocess.Popen[bytes]]:
    """A real Celery worker in a process of its own, on the test database and the test Redis."""
    celery = [sys.executable, "-m", "celery", "-A", "voicelens"]
    options = ["-P", "threads", "-c", "2", "-l", "INFO", "--without-gossip", "--without-mingle"]
    process = subprocess.Popen(
        leashed([*celery, "worker", *options]),
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": _test_database_url()},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_for_pong(process)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


def _test_database_url() -> str:
    """The database Django made for this test process, as a URL for another process."""
    from django.db import connection

    name = connection.settings_dict["NAME"]
    return f"sqlite:///{name}" if connection.vendor == "sqlite" else _with_path(os.environ["DATABASE_URL"], name)


def _wait_for_pong(process: "subprocess.Popen[bytes]") -> None:
    from voicelens.celery import app

    deadline = time.monotonic() + 60
    while not app.control.ping(timeout=0.2):
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail("the Celery worker did not come up; its output is above")
