"""The supervisor with real processes that do nothing, and its decisions without processes."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from voicelens.children import Failure, RestartPolicy
from voicelens.supervisor import health_at, hold_lock, options_from, require_free_port, service_specs

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_SEC = 30

# Runs a stack described in JSON; it is well once every child has written its pid.
DRIVER = """
import json, os, sys
from pathlib import Path
from voicelens.children import Spec, Stack, Supervisor

plan = json.loads(sys.argv[1])
folder = Path(plan["folder"])
spec = lambda name: Spec(name, [sys.executable, "-I", "-S", "-c", plan["code"][name], name, plan["folder"]])
well = lambda name: (folder / f"{name}.pids").exists()
stack = Stack(
    servers=[(spec(name), lambda name=name: well(name)) for name in plan["servers"]],
    preparation=spec("prepare") if "prepare" in plan["code"] else None,
    services=[spec(name) for name in plan["services"]],
    health=lambda: "" if all(map(well, plan["services"])) else "503 not yet",
    welcome="go on",
    environment=os.environ,
    **plan["limits"],
)
sys.exit(Supervisor(stack).run())
"""

# Children: argv is name, folder. Each notes its pid, and its name when it is told to stop.
NOTE_PID = """
import os, signal, subprocess, sys
name, folder = sys.argv[1:3]
def note(file, text):
    with open(os.path.join(folder, file), "a") as out:
        out.write(text + "\\n")
def told_to_stop(number, frame):
    note("stopped", name)
    sys.exit(0)
signal.signal(signal.SIGTERM, told_to_stop)
print(f"{name} is up", flush=True)
note(f"{name}.pids", str(os.getpid()))
"""
FAITHFUL = NOTE_PID + "while True: signal.pause()"
DYING = NOTE_PID + "sys.exit(3)"
DEAF = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + NOTE_PID.replace(
    "signal.signal(signal.SIGTERM, told_to_stop)", ""
)
DEAF += "while True: signal.pause()"
SILENT = "import signal\nprint('looking for my database', flush=True)\nwhile True: signal.pause()"
WITH_A_CHILD = NOTE_PID + (
    "note('grandchild.pids', str(subprocess.Popen(['sleep', '600']).pid))\nwhile True: signal.pause()"
)


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE_SEC
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {PATIENCE_SEC} s for: {what}"
        time.sleep(0.02)
    return value


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Run:
    """One supervisor process and what its children left in `folder`."""

    def __init__(self, folder: Path, code: dict[str, str], limits: dict[str, float]) -> None:
        self.folder = folder
        servers = [name for name in code if name == "redis"]
        services = [name for name in code if name not in ("redis", "prepare")]
        plan = {"folder": str(folder), "code": code, "servers": servers, "services": services}
        self.output = folder / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", DRIVER, json.dumps(plan | {"limits": limits})],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def pids(self, name: str) -> list[int]:
        file = self.folder / f"{name}.pids"
        return [int(line) for line in file.read_text().splitlines()] if file.exists() else []

    def all_pids(self) -> list[int]:
        return [pid for file in self.folder.glob("*.pids") for pid in self.pids(file.stem)]

    def said(self) -> str:
        return self.output.read_text()

    def wait_until_well(self) -> None:
        wait_for(lambda: "go on" in self.said(), "the welcome")

    def end(self) -> int:
        return self.process.wait(timeout=PATIENCE_SEC)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def start_run(**code: str) -> Run:
        limits = {"ready_within_sec": 20, "first_pause_sec": 0.01, "stop_within_sec": 10}
        limits |= {name: float(code.pop(name)) for name in list(code) if name in limits}
        runs.append(Run(tmp_path, code, limits))
        return runs[-1]

    yield start_run
    for run in runs:
        run.process.kill()
        run.process.wait()
        for pid in filter(lives, run.all_pids()):
            psutil.Process(pid).kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_services_in_their_order_and_servers_last(start, number):
    run = start(redis=FAITHFUL, web=FAITHFUL, worker=FAITHFUL)
    run.wait_until_well()
    run.process.send_signal(number)
    assert run.end() == 0
    assert not any(map(lives, run.all_pids()))
    stopped = (run.folder / "stopped").read_text().split()
    assert sorted(stopped[:2]) == ["web", "worker"]
    assert stopped[2:] == ["redis"]
    assert run.said().splitlines()[-1].endswith("| stopped")


def test_the_output_of_each_child_carries_its_name(start):
    run = start(redis=FAITHFUL, web=FAITHFUL)
    run.wait_until_well()
    assert "web       | web is up\n" in run.said()
    assert run.said().index("redis is up") < run.said().index("web is up") < run.said().index("go on")


def test_a_fallen_child_is_started_again_and_the_others_are_left_alone(start):
    run = start(redis=FAITHFUL, web=FAITHFUL, worker=FAITHFUL)
    run.wait_until_well()
    psutil.Process(run.pids("worker")[0]).kill()
    wait_for(lambda: len(run.pids("worker")) == 2, "a second worker")
    assert "worker ended (SIGKILL), starting it again" in run.said()
    assert len(run.pids("web")) == len(run.pids("redis")) == 1
    assert lives(run.pids("web")[0])
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 0


def test_what_a_fallen_child_leaves_behind_is_killed_before_its_successor_starts(start):
    run = start(web=WITH_A_CHILD)
    run.wait_until_well()
    wait_for(lambda: run.pids("grandchild"), "the grandchild")
    psutil.Process(run.pids("web")[0]).kill()
    wait_for(lambda: len(run.pids("grandchild")) == 2, "the successor's grandchild")
    assert [lives(pid) for pid in run.pids("grandchild")] == [False, True]


def test_a_child_that_keeps_dying_stops_everything_with_a_clear_word(start):
    run = start(redis=FAITHFUL, web=FAITHFUL, worker=DYING)
    assert run.end() == 1
    assert "worker ended more than 5 times within 60 s, the last time with exit code 3" in run.said()
    assert len(run.pids("worker")) == 6
    assert not any(map(lives, run.all_pids()))


def test_kill_9_of_the_supervisor_leaves_no_child(start):
    run = start(redis=FAITHFUL, web=FAITHFUL, worker=FAITHFUL)
    run.wait_until_well()
    run.process.kill()
    assert run.end() == -signal.SIGKILL
    wait_for(lambda: not any(map(lives, run.all_pids())), "the children's end")
    assert len(run.all_pids()) == 3


def test_without_health_it_tells_the_last_output_and_stops_everything(start):
    run = start(redis=FAITHFUL, web=SILENT, ready_within_sec="1")
    assert run.end() == 1
    assert "after 1 s: 503 not yet\n" in run.said()
    assert "last output of web:\nvoicelens |   looking for my database\n" in run.said()
    assert "go on" not in run.said()
    assert not any(map(lives, run.all_pids()))


def test_a_failed_preparation_stops_everything_before_any_service_starts(start):
    run = start(redis=FAITHFUL, prepare=DYING, web=FAITHFUL)
    assert run.end() == 1
    assert "prepare failed (exit code 3)" in run.said()
    assert run.pids("prepare")
    assert not run.pids("web")
    assert not any(map(lives, run.all_pids()))


def test_a_successful_preparation_ends_before_the_services_start(start):
    run = start(prepare=NOTE_PID, web=FAITHFUL)
    run.wait_until_well()
    assert len(run.pids("prepare")) == 1
    assert not lives(run.pids("prepare")[0])


def test_a_child_that_will_not_stop_is_killed_and_the_exit_code_tells(start):
    run = start(web=DEAF, worker=FAITHFUL, stop_within_sec="0.5")
    run.wait_until_well()
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 1
    assert "web does not stop within 0.5 s and is killed" in run.said()
    assert (run.folder / "stopped").read_text().split() == ["worker"]
    assert not any(map(lives, run.all_pids()))


def test_a_stop_asked_for_during_the_start_is_obeyed(start):
    run = start(redis=FAITHFUL, web=SILENT)
    wait_for(lambda: "looking for my database" in run.said(), "the first output")
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 0
    assert not any(map(lives, run.all_pids()))


@pytest.mark.parametrize(
    ("deaths_at_sec", "pause_sec"),
    [
        ([0], 0.5),
        ([0, 1], 1),
        ([0, 1, 3, 7, 15], 8),
        ([0, 1, 3, 7, 15, 31], None),
        ([0, 1, 3, 7, 15, 60], 8),  # the first one has left the window
        ([0, 100, 200, 300, 400, 500, 600], 0.5),
    ],
)
def test_restarts_wait_longer_each_time_and_are_given_up_after_five_in_a_minute(deaths_at_sec, pause_sec):
    policy = RestartPolicy()
    assert [policy.pause_after_death(at) for at in deaths_at_sec][-1] == pause_sec


def test_the_defaults_are_a_private_stack_on_port_8080():
    options = options_from({})
    assert (options.host, options.port, options.data_dir) == ("127.0.0.1", 8080, ROOT / "data")
    assert (options.redis_url, options.on_postgres) == ("", False)


@pytest.mark.parametrize("port", ["0", "65536", "-1", "eighty"])
def test_an_impossible_port_is_refused_by_name(port):
    with pytest.raises(Failure, match="PORT"):
        options_from({"PORT": port})


@pytest.mark.parametrize(
    ("host", "reachable"),
    [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("192.0.2.7", "192.0.2.7")],  # noqa: S104 - never bound to
)
def test_health_is_asked_at_an_address_that_can_be_reached(host, reachable):
    assert options_from({"SERVICE_HOST": host}).reachable_host == reachable


@pytest.mark.parametrize(
    ("database_url", "processes"),
    [("", 1), ("sqlite:///x", 1), ("postgres://x", 2), ("postgresql://x", 2)],
)
def test_second_processes_run_only_where_the_database_can_use_them(database_url, processes):
    web, beat, *workers = service_specs(options_from({"DATABASE_URL": database_url}))
    assert web.argv[web.argv.index("--workers") + 1] == str(processes)
    assert beat.name == "beat"
    assert [worker.name for worker in workers] == ["worker", "worker2"][:processes]
    assert len({worker.argv[worker.argv.index("--hostname") + 1] for worker in workers}) == processes


def test_a_second_supervisor_on_the_same_data_is_refused(tmp_path):
    with hold_lock(tmp_path), pytest.raises(Failure, match=r"already runs on .* \(process \d+\)"):
        hold_lock(tmp_path)
    hold_lock(tmp_path).close()


def test_a_port_in_use_is_named_before_anything_starts():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Failure, match=f"port {port}.*Set PORT"):
            require_free_port("127.0.0.1", port)
    require_free_port("127.0.0.1", port)


def test_health_tells_that_nobody_answers():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert health_at("127.0.0.1", closed.getsockname()[1]).startswith("no answer (")
