"""A stack of child processes: starts them in order, shows their output, restarts the fallen, stops them all.

Knows nothing of VoiceLens; `voicelens.supervisor` says which children there are. One thread and no
locks: a child's output is read between two looks at who is still alive.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from voicelens.leash import leashed

TURN_SEC = 0.2
LAST_LINES = 15


class Failure(Exception):
    """The stack cannot run on; the text tells the operator why."""


class StopRequested(Exception):
    """Somebody asked for the end by a signal."""


@dataclass(frozen=True)
class Spec:
    """One child: its name in the output, its command, the signal that ends it in peace."""

    name: str
    argv: Sequence[str | Path]
    stop_signal: signal.Signals = signal.SIGTERM


@dataclass(frozen=True)
class Stack:
    """What runs: servers (each with its readiness test), then the preparation to its end, then services.

    Services are told to stop in the order given, servers when all services have ended. `health` returns an
    empty text when all is well, else what is wrong; `welcome` is shown when it first is.
    """

    servers: Sequence[tuple[Spec, Callable[[], bool]]]
    preparation: Spec | None
    services: Sequence[Spec]
    health: Callable[[], str]
    welcome: str
    environment: Mapping[str, str]
    ready_within_sec: float = 60
    first_pause_sec: float = 0.5
    stop_within_sec: float = 30


@dataclass
class RestartPolicy:
    """How long to wait before a fallen child is started again, and when to stop trying."""

    first_pause_sec: float = 0.5
    max_deaths: int = 5
    window_sec: float = 60
    _deaths: deque[float] = field(default_factory=deque)

    def pause_after_death(self, now_sec: float) -> float | None:
        """Seconds to wait, doubling with each recent death; None after `max_deaths` in the window."""
        self._deaths.append(now_sec)
        while self._deaths[0] <= now_sec - self.window_sec:
            self._deaths.popleft()
        if len(self._deaths) > self.max_deaths:
            return None
        return self.first_pause_sec * 2.0 ** (len(self._deaths) - 1)


class Child:
    """A running process in a session of its own: a terminal's Ctrl-C reaches it only through us, once."""

    def __init__(self, spec: Spec, environment: Mapping[str, str]) -> None:
        self.spec = spec
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self.output_ended = False
        self._half_line = b""
        self._process = subprocess.Popen(
            leashed(spec.argv, stop_signal=spec.stop_signal),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )
        assert self._process.stdout is not None  # noqa: S101 - for the type checker: PIPE was asked for
        self.output = self._process.stdout
        os.set_blocking(self.output.fileno(), False)

    def new_lines(self) -> list[str]:
        """Complete lines written since the last call; never waits."""
        data = self._half_line
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self.output.fileno(), 65536):
                data += chunk
            self.output_ended = True
        *lines, self._half_line = data.split(b"\n")
        return self._remember(lines)

    def rest(self) -> list[str]:
        """What is left once the process has ended."""
        lines = self.new_lines()
        rest, self._half_line = self._half_line, b""
        return lines + (self._remember([rest]) if rest else [])

    def _remember(self, lines: list[bytes]) -> list[str]:
        texts = [line.decode(errors="replace").rstrip("\r") for line in lines]
        self.last_lines.extend(texts)
        return texts

    def exit_code(self) -> int | None:
        """None while it runs. What a dead leader leaves behind is killed: it may still hold the port."""
        code = self._process.poll()
        if code is not None:
            self.kill()
        return code

    def ask_to_stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(self.spec.stop_signal)

    def kill(self) -> None:
        """Kill the whole group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says "permission" of zombies
            os.killpg(self._process.pid, signal.SIGKILL)


class Supervisor:
    """Runs one stack until a signal ends it or a child cannot be kept alive."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._stop_asked = False
        self._children: dict[str, Child] = {}  # in the order of starting
        self._policies: dict[str, RestartPolicy] = {}
        self._due: dict[str, tuple[float, Spec]] = {}  # fallen children and when to start them again
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        """Exit code: 0 after an orderly stop that was asked for, 1 otherwise."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Started with nohup, the end of the terminal is to be ignored.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._on_signal)
        failed = False
        try:
            self._bring_up()
            while True:
                self._turn()
        except StopRequested:
            self.say("stopping")
        except Failure as failure:
            failed = True
            self.say(f"{failure}")
        finally:
            in_peace = self._stop_all()
        self.say("stopped")
        return 0 if in_peace and not failed else 1

    def say(self, text: str, name: str = "voicelens") -> None:
        """Show text, each line with the name it comes from."""
        try:
            # Bytes: what a child writes need not fit the terminal's encoding.
            sys.stdout.buffer.write("".join(f"{name:<9} | {line}\n" for line in text.splitlines() or [""]).encode())
            sys.stdout.buffer.flush()
        except OSError:
            # The terminal or the pipe is gone. Nothing can be told any more: stop in order instead.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self._stop_asked = True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop_asked = True

    def _bring_up(self) -> None:
        for spec, is_ready in self.stack.servers:
            self._start(spec, restart=True)
            self._wait_until_well(_answers(spec.name, is_ready))
        if self.stack.preparation:
            self._prepare(self.stack.preparation)
        for spec in self.stack.services:
            self._start(spec, restart=True)
        self._wait_until_well(self.stack.health)
        self.say(self.stack.welcome)

    def _prepare(self, spec: Spec) -> None:
        child = self._start(spec, restart=False)
        while (code := child.exit_code()) is None:
            self._turn()
        self._let_go(child)
        if code:
            raise Failure(f"{spec.name} failed ({_how_it_ended(code)}); what it said is above")

    def _start(self, spec: Spec, *, restart: bool) -> Child:
        child = Child(spec, self.stack.environment)
        self._children[spec.name] = child
        if restart:
            self._policies.setdefault(spec.name, RestartPolicy(self.stack.first_pause_sec))
        self._selector.register(child.output, selectors.EVENT_READ, child)
        return child

    def _let_go(self, child: Child) -> None:
        """Show what an ended child said last and forget it."""
        was_watched = not child.output_ended
        self._show(child, child.rest())
        if was_watched:
            self._selector.unregister(child.output)
        child.output.close()
        del self._children[child.spec.name]

    def _wait_until_well(self, complaint: Callable[[], str]) -> None:
        """Go on turning until `complaint` has nothing to say."""
        deadline = time.monotonic() + self.stack.ready_within_sec
        while text := complaint():
            if time.monotonic() > deadline:
                raise Failure(f"after {self.stack.ready_within_sec:g} s: {text}{self._last_words()}")
            self._turn()

    def _turn(self) -> None:
        """Show output, notice deaths, start what is due. Raises StopRequested, or Failure."""
        if self._stop_asked:
            raise StopRequested
        self._show_output()
        for name in [name for name in self._children if name in self._policies]:
            child = self._children[name]
            if (code := child.exit_code()) is not None:
                self._let_go(child)
                self._plan_restart(child, code)
        now = time.monotonic()
        for name in [name for name, (at, _) in self._due.items() if at <= now]:
            self._start(self._due.pop(name)[1], restart=True)

    def _plan_restart(self, child: Child, code: int) -> None:
        name, now = child.spec.name, time.monotonic()
        policy = self._policies[name]
        pause_sec = policy.pause_after_death(now)
        if pause_sec is None:
            raise Failure(
                f"{name} ended more than {policy.max_deaths} times within {policy.window_sec:g} s, "
                f"the last time with {_how_it_ended(code)}; stopping everything"
            )
        self.say(f"{name} ended ({_how_it_ended(code)}), starting it again in {pause_sec:g} s")
        self._due[name] = (now + pause_sec, child.spec)

    def _show_output(self) -> None:
        for key, _ in self._selector.select(TURN_SEC):
            child: Child = key.data
            self._show(child, child.new_lines())
            if child.output_ended:  # it would count as news for ever
                self._selector.unregister(child.output)

    def _show(self, child: Child, lines: list[str]) -> None:
        for line in lines:
            self.say(line, child.spec.name)

    def _last_words(self) -> str:
        return "".join(
            f"\nlast output of {name}:" + "".join(f"\n  {line}" for line in child.last_lines or ["(none)"])
            for name, child in self._children.items()
        )

    def _stop_all(self) -> bool:
        """End every child, servers last; False where one had to be killed."""
        servers = [spec.name for spec, _ in self.stack.servers]
        services = [spec.name for spec in self.stack.services]
        first = [name for name in services if name in self._children]
        first += [name for name in self._children if name not in servers and name not in services]
        last = [name for name in servers if name in self._children]
        return all([self._stop_group(first), self._stop_group(last)])

    def _stop_group(self, names: list[str]) -> bool:
        group = [self._children[name] for name in names]
        for child in group:
            child.ask_to_stop()
        deadline = time.monotonic() + self.stack.stop_within_sec
        in_peace = True
        while group:
            if time.monotonic() > deadline and in_peace:
                in_peace = False
                for child in group:
                    limit_sec = f"{self.stack.stop_within_sec:g} s"
                    self.say(f"{child.spec.name} does not stop within {limit_sec} and is killed")
                    child.kill()
            self._show_output()
            for child in [child for child in group if child.exit_code() is not None]:
                self._let_go(child)
                group.remove(child)
        return in_peace


def _answers(name: str, is_ready: Callable[[], bool]) -> Callable[[], str]:
    return lambda: "" if is_ready() else f"{name} does not answer"


def _how_it_ended(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
