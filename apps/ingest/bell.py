"""Tells the worker that something waits: at most five times a second a process, off the answer's path, allowed to fail.

A lost ring costs latency only: the sweeper finds what is left.
"""

import logging
import os
import threading
import time

from celery import current_app
from django.conf import settings

log = logging.getLogger(__name__)

DRAIN_TASK = "ingest.drain"
# Each ring costs a look into the inbox; what comes meanwhile is worked off together.
PAUSE_SEC = 0.2


class _Bell:
    """A flag and one background thread that sends a drain task for it. Made anew in a forked process."""

    def __init__(self) -> None:
        self.rung = threading.Event()
        self.pid = os.getpid()
        self.working = True
        threading.Thread(target=self._send_for_ever, name="bell", daemon=True).start()

    def _send_for_ever(self) -> None:
        while True:
            self.rung.wait()
            self.rung.clear()
            self._send()
            time.sleep(PAUSE_SEC)

    def _send(self) -> None:
        if not settings.REDIS_URL:
            return  # no broker: the sweep, or whoever drains by hand, finds the row
        try:
            # One try without waiting in between: a dead broker must not pile up rings.
            current_app.send_task(
                DRAIN_TASK,
                retry=False,
                ignore_result=True,
                expires=60,
                queue=settings.CELERY_TASK_DEFAULT_QUEUE,
            )
        except Exception as error:  # noqa: BLE001 - any broker error: the sweeper is the answer to all of them
            if self.working:
                log.warning("the broker cannot be reached (%s); deliveries are kept and worked off later", error)
            self.working = False
        else:
            self.working = True


_lock = threading.Lock()
_bell: _Bell | None = None


def ring() -> None:
    """Ask for a drain soon; returns at once."""
    global _bell
    with _lock:
        if _bell is None or _bell.pid != os.getpid():
            _bell = _Bell()
    _bell.rung.set()
