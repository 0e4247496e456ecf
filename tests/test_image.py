"""The container image: its files are sound to linters, and its steps work in a plain directory.

No container engine is needed: the Dockerfile's commands run in a shell with the image's folders below a temporary
one. `make image-steps` also runs the installation of the requirements; the suite uses its own environment instead.
"""

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
WHOLE = os.environ.get("IMAGE_STEPS") == "whole"
BIN = Path(sys.executable).parent


def instructions(word):
    """What follows an instruction's word, each with its continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#")))
    return [line.removeprefix(word).strip() for line in joined.splitlines() if line.startswith(f"{word} ")]


def context():
    """The top-level names that .dockerignore lets into the image."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line.removeprefix("!") for line in lines if line.startswith("!")]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The image's file system below a folder: run(command) runs a shell command in it, as the build does."""
    root = tmp_path_factory.mktemp("image")
    app = root / "app"
    app.mkdir()
    (root / "data").mkdir(mode=0o700)
    for name in context():
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, app / name, ignore=shutil.ignore_patterns("__pycache__", "tests"))
        elif source.exists():
            shutil.copy(source, app / name)

    def run(command, **environment):
        placed = re.sub(r"(?<![\w.])/(app|venv|data)\b", rf"{root}/\1", command)
        here = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **environment}
        return subprocess.run(["sh", "-euc", placed], cwd=app, env=here, capture_output=True, text=True, check=False)

    run.root = root
    return run


def build(image):
    """Run the build stage's steps; the first one only when the whole is asked for."""
    install, collect, *_ = instructions("RUN")
    if WHOLE:
        told = image(install)
        assert told.returncode == 0, told.stderr
    elif not (image.root / "venv").exists():
        (image.root / "venv").symlink_to(BIN.parent)
    told = image(collect)
    assert told.returncode == 0, told.stderr


def test_linters_have_nothing_to_say():
    schema = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"]
    for command in ([BIN / "hadolint", "Dockerfile"], schema):
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stdout + told.stderr


def test_what_the_image_copies_is_there_and_nothing_private_is():
    assert [name for name in context() if not (ROOT / name).exists()] == []
    assert not {".env", "data", ".git", "tests", ".venv"} & set(context())


def test_it_runs_as_nobody_in_particular():
    assert instructions("USER") == ["10001"]
    assert instructions("HEALTHCHECK")


def test_compose_names_only_roles_that_there_are(monkeypatch):
    from voicelens import supervisor

    became = []
    monkeypatch.setattr(os, "execv", lambda program, argv: became.append(argv))
    options = supervisor.options_from({"DATABASE_URL": "postgres://x"})
    for name, service in COMPOSE["services"].items():
        if service.get("image") == "voicelens":
            assert service["command"] == [name]
            supervisor.become(name, options)
    assert len(became) == 4
    with pytest.raises(supervisor.Failure, match="prepare, web, beat, worker"):
        supervisor.become("mailer", options)


def test_compose_asks_for_every_key_that_local_keys_creates(tmp_path, monkeypatch):
    from voicelens import local_keys

    for name in ("SECRET_KEY", "FIELD_ENCRYPTION_KEYS", "PSEUDONYM_KEY", "POSTGRES_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    env_file = tmp_path / ".env"
    env_file.write_text("SERVICE_ENV=production\nSECRET_KEY=mine\n")
    created = local_keys.create_keys(env_file)
    needed = set(re.findall(r"\$\{(\w+):\?", (ROOT / "compose.yaml").read_text()))
    assert needed == {*created, "SECRET_KEY"}
    assert "SECRET_KEY=mine" in env_file.read_text()
    assert env_file.stat().st_mode & 0o077 == 0
    assert local_keys.create_keys(env_file) == []


def test_the_steps_of_the_image_give_a_service_that_is_healthy(image, tmp_path):
    build(image)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    keys = {name: os.environ[name] for name in ("SECRET_KEY", "FIELD_ENCRYPTION_KEYS", "PSEUDONYM_KEY")}
    environment = {
        **keys,
        "SERVICE_ENV": "production",
        "SERVICE_HOST": "127.0.0.1",
        "PORT": str(port),
        "STATIC_ROOT": str(image.root / "app/static"),
        "DATA_DIR": str(image.root / "data"),
        "REDIS_URL": os.environ["REDIS_URL"],
    }
    # As in a container: the image's own files cannot be written.
    static = image.root / "app" / "static"
    before = sorted(path.stat().st_mtime_ns for path in static.rglob("*"))
    role = "/venv/bin/python -m voicelens.supervisor"
    told = image(f"{role} prepare", **environment)
    assert told.returncode == 0, told.stderr
    assert "password" in told.stdout
    assert sorted(path.stat().st_mtime_ns for path in static.rglob("*")) == before
    assert image(f"{role} health", **environment).returncode == 1
    argv = [str(image.root / "venv/bin/python"), "-m", "voicelens.supervisor", "web"]
    log = (tmp_path / "web.log").open("wb")
    web = subprocess.Popen(
        argv, cwd=image.root / "app", env={"PATH": os.environ["PATH"], **environment}, stdout=log, stderr=log
    )
    try:
        deadline = time.monotonic() + 60
        while (told := image(f"{role} health", **environment)).returncode and time.monotonic() < deadline:
            assert web.poll() is None, (tmp_path / "web.log").read_text()
        assert told.returncode == 0, told.stderr
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as line:
            line.request("GET", "/health")
            assert json.loads(line.getresponse().read())["status"] == "healthy"
    finally:
        web.terminate()
        web.wait(timeout=30)
        log.close()
