"""The parts of a whole VoiceLens on servers of its own, for benches: durable PostgreSQL or SQLite, Redis, processes."""

import http.client
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any, Self

import psutil

from apps.providers import catalog
from apps.providers.engine.mapping import Mapping as ProviderMapping
from apps.providers.engine.payload import parse
from apps.providers.engine.signatures import sign
from bench.load import post
from bench.payloads import payload_of
from voicelens.children import Spec
from voicelens.leash import leashed
from voicelens.services import HOST, Services, free_port
from voicelens.supervisor import Options, health_at, service_specs

ROOT = Path(__file__).resolve().parent.parent
SECRET = "known to sender and receiver of a bench"  # noqa: S105 - it guards nothing
# They guard nothing either.
KEYS = {
    "SECRET_KEY": "known to every reader",
    "FIELD_ENCRYPTION_KEYS": "t1:MzIgYnl0ZXMsIGtub3duIHRvIGV2ZXJ5IHJlYWRlci4=",
    "PSEUDONYM_KEY": "t1:known-to-every-reader",
}
START_WITHIN_SEC = 60


class Stack:
    """A database of its own and a Redis; `start` and `stop` its processes by name. To be closed."""

    def __init__(self, *, on_postgres: bool) -> None:
        self.services = Services()
        self.folder = Path(tempfile.mkdtemp(prefix="voicelens-bench-"))
        self.on_postgres = on_postgres
        self.database_url = (
            self.services.postgres(durable=True) if on_postgres else f"sqlite:///{self.folder / 'bench.sqlite3'}"
        )
        self.redis_url = self.services.redis()
        self.port = free_port()
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def address(self) -> tuple[str, int]:
        return HOST, self.port

    @property
    def environment(self) -> dict[str, str]:
        secrets = {f"WEBHOOK_SECRET_{slug.upper()}": SECRET for slug in catalog.slugs()}
        return {
            **os.environ,
            **secrets,
            **KEYS,
            "SERVICE_ENV": "test",
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "DATA_DIR": str(self.folder),
            "PORT": str(self.port),
            "LOG_LEVEL": "WARNING",
            "MONITORING_ENABLED": "false",
            # Counted as ever, but one sender offers here what a thousand do not.
            "WEBHOOKS_PER_MIN": "1000000000",
            "WEBHOOKS_BURST": "1000000000",
        }

    @property
    def specs(self) -> dict[str, Spec]:
        options = Options(HOST, self.port, self.folder, self.redis_url, self.on_postgres, "WARNING")
        return {spec.name: spec for spec in service_specs(options)}

    def manage(self, *arguments: str) -> str:
        """Output of a command of manage.py. Raises RuntimeError with what it said where it fails."""
        return self._run([str(ROOT / "manage.py"), *arguments])

    def module(self, *arguments: str) -> str:
        return self._run(["-m", *arguments])

    def _run(self, arguments: Sequence[str]) -> str:
        argv = [sys.executable, *arguments]
        done = subprocess.run(argv, env=self.environment, cwd=ROOT, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: {done.stdout[-1000:]}{done.stderr[-2000:]}")
        return done.stdout

    def start(self, name: str, argv: Sequence[str | Path] = ()) -> None:
        """A part as the supervisor would start it, or this command in its place; a web server is waited for."""
        self.running[name] = subprocess.Popen(
            leashed(argv or self.specs[name].argv),
            env=self.environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_WITHIN_SEC
        while name == "web" and not self._answers():
            if self.running[name].poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the web server did not come up")
            time.sleep(0.05)

    def _answers(self) -> bool:
        line = http.client.HTTPConnection(*self.address, timeout=2)
        try:
            line.request("GET", "/webhook")
            return line.getresponse().status < 500
        except OSError:
            return False
        finally:
            line.close()

    def is_healthy(self) -> bool:
        return health_at(*self.address) == ""

    def stop(self, name: str) -> None:
        process = self.running.pop(name)
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def processes(self) -> list[psutil.Process]:
        """All that run of it, the database's and Redis's among them."""
        roots = [process.pid for process in self.running.values()] + self.services.pids
        found = [psutil.Process(pid) for pid in roots if psutil.pid_exists(pid)]
        return [*found, *(child for process in found for child in process.children(recursive=True))]

    def close(self) -> None:
        for name in list(self.running):
            self.stop(name)
        self.services.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


# --- what is sent ---------------------------------------------------------------------------------------------------


def call_id_in(slug: str, body: bytes) -> bytes:
    """The call that a sample is about, as it stands in it. Raises ValueError where there is none to be replaced."""
    return names_in(slug, body)[0]


def names_in(slug: str, body: bytes) -> list[bytes]:
    """The same, and the call's other names behind it."""
    identity = ProviderMapping(catalog.load(slug).mapping).identify(parse(body))
    names = [name.encode() for name in (identity.call_id or "", *identity.aliases)]
    if not names[0] or any(name not in body for name in names):
        raise ValueError(f"{slug}: its sample names no call that could be replaced")
    return names


class Deliveries:
    """Signed requests of one provider, each of another call, made from its richest sample."""

    def __init__(self, slug: str, size: int) -> None:
        self.slug = slug
        _, self.body = payload_of(slug, size)
        self.scheme = catalog.load(slug).auth
        self._names = names_in(slug, self.body)

    def call_id(self, number: int, run: str) -> str:
        return f"bench_{run}_{number:09d}"

    def body_of(self, number: int, run: str) -> bytes:
        body = self.body
        for place, name in enumerate(self._names):
            body = body.replace(name, self.call_id(number, run).encode() + (b"_%d" % place if place else b""))
        return body

    def request(self, number: int, run: str, at: datetime) -> bytes:
        body = self.body_of(number, run)
        headers = sign(self.scheme, SECRET, body, at, id=f"msg_{run}_{number}")
        return post(f"/webhook/{self.slug}", body, headers)


def requests(kinds: Sequence[Deliveries], many: int, run: str) -> list[bytes]:
    """So many requests, the kinds in turn, signed now. `run` tells one batch of calls from another."""
    at = datetime.now(UTC)
    turn: Iterator[Deliveries] = cycle(kinds)
    return [next(turn).request(number, run, at) for number in range(many)]


def machine() -> Mapping[str, Any]:
    """What a stored result says of where it was measured."""
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "python": sys.version.split()[0],
        "date": datetime.now(UTC).date().isoformat(),
    }
