"""`python -m voicelens.supervisor`: the whole service with one command; Ctrl-C stops all of it.

Says which processes there are: Redis where none is given, the preparation, web server, worker and
scheduler. With the name of one of them (`… supervisor web`) it becomes that process and watches nothing: so
containers run. How processes are kept alive is `voicelens.children`'s business. Loads no Django itself.
"""

import fcntl
import http.client
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

import environ

from voicelens.children import Failure, Spec, Stack, Supervisor
from voicelens.services import ServiceError, usable_redis

ROOT = Path(__file__).resolve().parent.parent
WORKER_THREADS = 4
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared with, not bound to


@dataclass(frozen=True)
class Options:
    """What the environment says about this machine."""

    host: str
    port: int
    data_dir: Path
    redis_url: str
    on_postgres: bool
    log_level: str

    @property
    def reachable_host(self) -> str:
        """An address of this machine at which the web server answers."""
        return ANY_ADDRESS.get(self.host, self.host)


def options_from(environment: Mapping[str, str]) -> Options:
    """Raises Failure, naming the variable, for a value that cannot be meant."""
    port = environment.get("PORT") or environment.get("SERVICE_PORT") or "8080"
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise Failure(f"PORT is {port!r}; a number from 1 to 65535 is needed")
    return Options(
        host=environment.get("SERVICE_HOST") or "127.0.0.1",
        port=int(port),
        data_dir=Path(environment.get("DATA_DIR") or ROOT / "data").absolute(),
        redis_url=environment.get("REDIS_URL", ""),
        on_postgres=environment.get("DATABASE_URL", "").startswith(("postgres", "pgsql")),
        log_level=environment.get("LOG_LEVEL") or "INFO",
    )


def hold_lock(data_dir: Path) -> IO[str]:
    """The lock of a data folder, held while the file is open. Raises Failure where it is taken."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = (data_dir / "supervisor.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        owner = lock.read().strip()
        lock.close()
        raise Failure(f"VoiceLens already runs on {data_dir} (process {owner}); stop it first") from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def require_free_port(host: str, port: int) -> None:
    """Raises Failure, naming PORT and SERVICE_HOST, where the web server could not listen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Failure(
                f"cannot listen on {host} port {port}: {error.strerror}. "
                f"Set PORT (and SERVICE_HOST) to something else, for example PORT={port + 1} make run"
            ) from None


def health_at(host: str, port: int) -> str:
    """Empty where /health answers 200, else what came instead."""
    line = http.client.HTTPConnection(host, port, timeout=2)
    try:
        line.request("GET", "/health")
        answer = line.getresponse()
        body = answer.read(500).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"no answer ({error})"
    finally:
        line.close()
    return "" if answer.status == 200 else f"{answer.status} {body}"


PREPARATION = Spec("prepare", [sys.executable, str(ROOT / "manage.py"), "prepare"])


def service_specs(options: Options) -> list[Spec]:
    """Web server, scheduler and workers, in the order in which they stop: first what brings new work."""
    python = [sys.executable, "-m"]
    # SQLite has one writer at a time: a second process would only wait for the first.
    processes = 2 if options.on_postgres else 1
    web = ["--host", options.host, "--port", str(options.port), "--workers", str(processes)]
    # Without respawning, one dead web process ends the whole server.
    web += ["--respawn-failed-workers", "--no-ws", "--no-access-log"]
    # voicelens/crowd.py knows connections with one request at a time.
    web += ["--http1-header-read-timeout", "10000", "--http", "1"]
    web += ["--log-level", "error", "voicelens.rsgi:application"]
    celery = [*python, "celery", "--quiet", "--app", "voicelens"]
    worker = ["--pool", "threads", "--concurrency", str(WORKER_THREADS)]
    # Talk between workers, of use only where somebody listens.
    worker += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    beat = ["--scheduler", "django_celery_beat.schedulers:DatabaseScheduler", "--max-interval", "10"]
    beat += ["--pidfile="]
    log_level = ["--loglevel", options.log_level]  # Celery would set its own default on our loggers
    return [
        Spec("web", [*python, "granian", "--interface", "rsgi", *web]),
        Spec("beat", [*celery, "beat", *beat, *log_level]),
        *[
            Spec(name, [*celery, "worker", "--hostname", f"{name}@%h", *worker, *log_level])
            for name in ("worker", "worker2")[:processes]
        ],
    ]


def stack_for(options: Options, environment: Mapping[str, str]) -> Stack:
    """The whole stack. Raises ServiceError where a Redis is needed and the machine has none."""
    environment = {**environment, "PYTHONUNBUFFERED": "1"}
    servers = []
    if not options.redis_url:
        redis = usable_redis(options.data_dir / "redis")
        servers.append((Spec("redis", redis.argv, redis.stop_signal), redis.is_ready))
        environment["REDIS_URL"] = redis.url
    return Stack(
        servers=servers,
        preparation=PREPARATION,
        services=service_specs(options),
        health=lambda: health_at(options.reachable_host, options.port),
        welcome=welcome(options),
        environment=environment,
    )


def welcome(options: Options) -> str:
    """Where to go next."""
    host = f"[{options.reachable_host}]" if ":" in options.reachable_host else options.reachable_host
    base = f"http://{host}:{options.port}"
    return "\n".join(
        [
            f"VoiceLens runs on {base}",
            f"  admin       {base}/admin/",
            f"  API         {base}/api/docs/",
            "  first call  make demo   (in another terminal)",
            "Ctrl-C stops everything.",
        ]
    )


def become(role: str, options: Options) -> NoReturn:
    """Turn this process into one part of the service. Raises Failure, naming the roles, for one there is not."""
    specs = {spec.name: spec for spec in [PREPARATION, *service_specs(options)]}
    if role not in specs:
        raise Failure(f"there is no role {role!r}; there are {', '.join(specs)}, health, and none for all of them")
    argv = [str(part) for part in specs[role].argv]
    os.execv(argv[0], argv)  # noqa: S606 - its own interpreter with arguments of its own


def tell_health(options: Options) -> int:
    """0 where the web server of this machine answers that all is well, else 1 and what is wrong."""
    problem = health_at(options.reachable_host, options.port)
    sys.stderr.write(f"{problem}\n" if problem else "")
    return 1 if problem else 0


def main(arguments: Sequence[str] = ()) -> int:
    """Exit code of the command: 0 after an orderly stop, 1 where something could not start or go on."""
    environ.Env.read_env(ROOT / ".env")
    try:
        options = options_from(os.environ)
        if list(arguments) == ["health"]:
            return tell_health(options)
        if arguments:
            become(arguments[0], options)
        with hold_lock(options.data_dir):
            require_free_port(options.host, options.port)
            return Supervisor(stack_for(options, os.environ)).run()
    except (Failure, ServiceError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
