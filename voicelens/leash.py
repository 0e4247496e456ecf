"""Runs a command that ends when the process that asked for it ends, even after `kill -9`.

Used as a script (`python leash.py PARENT SIGNAL USER:GROUP COMMAND...`): it ties itself to the parent,
drops root where asked, and becomes the command, so the caller's child is the command itself. A script
because the tie must be made in a process with one thread, which a caller cannot always promise.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


class Account(NamedTuple):
    """The user and group a command runs as."""

    uid: int
    gid: int


def leashed(
    argv: Sequence[str | Path],
    *,
    stop_signal: signal.Signals = signal.SIGTERM,
    account: Account | None = None,
) -> list[str]:
    """The command line that runs `argv` so that it gets `stop_signal` when the calling process ends.

    Call it from the main thread: Linux sends the signal when the thread that started the child ends.
    """
    owner = f"{account.uid}:{account.gid}" if account else "-"
    launcher = [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(stop_signal)), owner]
    return [*launcher, *(str(part) for part in argv)]


def tie_to(parent_pid: int, stop_signal: int, platform: str = sys.platform) -> None:
    """Let this process get `stop_signal` when `parent_pid` ends; exits if it has ended already."""
    if platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, stop_signal)
    else:
        _leave_a_guard(parent_pid, stop_signal)
    if os.getppid() != parent_pid:
        sys.exit(f"leash: the parent {parent_pid} is gone")


def _leave_a_guard(parent_pid: int, stop_signal: int) -> None:
    """Where the kernel cannot do it (macOS): a process of its own looks twice a second.

    It is a grandchild given to init, so that the command never meets a child it did not start, and it
    lets go of the output, so that whoever reads it sees the end.
    """
    target_pid = os.getpid()
    child_pid = os.fork()
    if child_pid:
        os.waitpid(child_pid, 0)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    while _lives(parent_pid) and _lives(target_pid):
        time.sleep(0.5)
    if _lives(target_pid):
        os.kill(target_pid, stop_signal)
    os._exit(0)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def main(parent_pid: str, stop_signal: str, owner: str, *argv: str) -> None:
    if owner != "-":
        uid, gid = map(int, owner.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # After the change of user: Linux forgets the wish when the credentials change.
    tie_to(int(parent_pid), int(stop_signal))
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - no shell is meant
    except OSError as error:
        sys.exit(f"cannot start {argv[0]}: {error.strerror}")


if __name__ == "__main__":
    main(*sys.argv[1:])
