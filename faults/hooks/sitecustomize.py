"""Loaded by Python at the start of each process of a fault run: moves its clock, and lets its storage of files be full.

`FAULTS_FOLDER` holds the switches: `clock` with the seconds to shift by, `disk_full` while files cannot be written.
"""

import errno
import os
import threading
import time
from pathlib import Path

_folder = os.environ.get("FAULTS_FOLDER", "")
_artifacts = os.environ.get("ARTIFACTS_DIR", "?")
_open = os.open


def _open_unless_full(path, flags, *args, **kwargs):  # type: ignore[no-untyped-def]
    if flags & os.O_CREAT and str(path).startswith(_artifacts) and Path(_folder, "disk_full").exists():
        raise OSError(errno.ENOSPC, "No space left on device")
    return _open(path, flags, *args, **kwargs)


def _shift() -> float:
    try:
        return float(Path(_folder, "clock").read_text() or 0)
    except (OSError, ValueError):
        return 0.0


def _follow_the_clock() -> None:
    """time-machine patches the clock of the whole process; what waits goes by the monotonic one, which it leaves."""
    traveller, shift = None, 0.0
    while True:
        time.sleep(0.1)
        wanted = _shift()
        if wanted == shift:
            continue
        if traveller is not None:
            traveller.stop()
            traveller = None
        if wanted:
            now = datetime.datetime.now(datetime.UTC)
            traveller = time_machine.travel(now + datetime.timedelta(seconds=wanted), tick=True)
            traveller.start()
        shift = wanted


if _folder:
    # Here, not in the thread: a process that forks while another of its threads imports leaves its child a locked door.
    import datetime

    import time_machine

    os.open = _open_unless_full
    threading.Thread(target=_follow_the_clock, name="faults clock", daemon=True).start()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            after_in_child=lambda: threading.Thread(target=_follow_the_clock, name="faults clock", daemon=True).start()
        )
