"""Brings what happens in an OpenAI Realtime session to VoiceLens, from the server that runs the session.

OpenAI sends no webhook when a call ends: everything after the ring is told on the session's own connection only. This
relay listens there, leaves out audio and other noise, and posts the rest in signed batches. A batch is a file in the
spool before it is sent, and the file goes when VoiceLens has confirmed it: an outage delays, it does not lose.

Needs Python 3.11 and, to listen, the package `websockets` (15 or newer). See README.md beside this file.
"""

import base64
import hashlib
import hmac
import json
import logging
import os
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

log = logging.getLogger("voicelens_relay")

REALTIME_URL = "wss://api.openai.com/v1/realtime"
BROKEN = 1006  # the close code of a connection that ended without saying so
BATCH_EVENTS, BATCH_BYTES = 200, 256_000
FIRST_WAIT_SEC, LONGEST_WAIT_SEC = 0.5, 30.0
# Statuses about this one batch: it would be refused for ever and must not hold up the others.
HOPELESS = (400, 413)


def worth_sending(event_type: str) -> bool:
    """False for what comes by the second and is told again as a whole: deltas, audio buffers, rate limits."""
    if event_type == "input_audio_buffer.dtmf_event_received":
        return True
    return not event_type.endswith(".delta") and not event_type.startswith(
        ("input_audio_buffer.", "output_audio_buffer.", "rate_limits.")
    )


def sign(secret: str, webhook_id: str, timestamp_sec: int, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks. `secret` is the endpoint's: `whsec_` and base64. Raises ValueError."""
    if not secret.startswith("whsec_"):
        raise ValueError("the secret must begin with whsec_")
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    signed = f"{webhook_id}.{timestamp_sec}.".encode() + body
    digest = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return {"webhook-id": webhook_id, "webhook-timestamp": str(timestamp_sec), "webhook-signature": f"v1,{digest}"}


def iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _NoRedirect(HTTPRedirectHandler):
    """A POST that is redirected arrives as a GET without its body, and the answer to that would count as success."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class Spool:
    """Batches on disk, one file each, until VoiceLens has confirmed them. Any number of relays may share one."""

    def __init__(self, folder: Path, url: str, secret: str, timeout_sec: float = 10) -> None:
        if urlsplit(url).scheme not in ("https", "http"):
            raise ValueError("the URL of VoiceLens must begin with https:// (or http://)")
        sign(secret, "check", 0, b"")  # a secret that cannot sign is found now, not with the first batch
        self.folder, self.url, self.timeout_sec = folder, url, timeout_sec
        self._secret = secret
        self._opener = build_opener(_NoRedirect)
        self._sending = threading.Lock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, batch: Mapping[str, Any]) -> None:
        """Keep a batch until it is sent; after this call it survives the process. Raises OSError."""
        name = f"{batch['created_at']:012d}-{batch['data']['sequence']:06d}-{batch['id']}.json"
        unfinished = self.folder / f"{name}.part"
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(json.dumps(batch).encode())
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self.folder / name)

    def waiting(self) -> list[Path]:
        """What is not confirmed yet, oldest first."""
        return sorted(self.folder.glob("*.json"))

    def send(self) -> bool:
        """Try what is waiting once, oldest first; True when all is settled. A failure ends the attempt.

        A batch that VoiceLens will never take is put aside as `….refused`.
        """
        with self._sending:
            for file in self.waiting():
                status = self._post(file.stem.split("-", 2)[2], file.read_bytes())
                if status in HOPELESS:
                    log.error("VoiceLens answered %d; put aside: %s", status, file.with_suffix(".refused"))
                    file.rename(file.with_suffix(".refused"))
                elif 200 <= status < 300:
                    file.unlink()
                else:
                    log.warning("VoiceLens was not reached or answered %d; kept in %s", status, self.folder)
                    return False
        return True

    def _post(self, webhook_id: str, body: bytes) -> int:
        """The answer's status; 0 when there was none."""
        # The id stays over all attempts, so that a batch counts once; time and signature are the attempt's own.
        headers = {"Content-Type": "application/json", **sign(self._secret, webhook_id, int(time.time()), body)}
        try:
            request = Request(self.url, body, headers, method="POST")  # noqa: S310 - the scheme was checked
            with self._opener.open(request, timeout=self.timeout_sec) as answer:
                return int(answer.status)
        except HTTPError as error:
            error.close()
            return error.code
        except (OSError, HTTPException):
            return 0


class Relay:
    """The events of one session on their way to VoiceLens. `add` never waits: a thread of its own sends.

    `call_id` (rtc_…) is known for SIP and WebRTC; without it the session's own id, told by its first event, is the
    call's. `facts` are fields of the envelope's data: transport, direction, from, to, started_at, recording_url.
    """

    def __init__(
        self, spool: Spool, *, call_id: str | None = None, facts: Mapping[str, Any] | None = None, batch_sec: float = 5
    ) -> None:
        self.spool, self.call_id, self.facts, self.batch_sec = spool, call_id, dict(facts or {}), batch_sec
        self.session_id: str | None = None
        self._sequence = 0
        self._events: list[dict[str, Any]] = []
        self._bytes = 0
        self._end: dict[str, Any] | None = None
        self._lock = threading.Lock()
        self._wake, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="voicelens-relay", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def add(self, event: dict[str, Any], received_at: datetime | None = None) -> None:
        """Take over one server event as it came."""
        kind = str(event.get("type", ""))
        session = event.get("session")
        with self._lock:
            if isinstance(session, dict) and session.get("id"):
                self.session_id = str(session["id"])
            if not worth_sending(kind):
                return
            self._events.append({"received_at": iso(received_at or datetime.now(UTC)), "event": event})
            self._bytes += len(json.dumps(event))
            if len(self._events) >= BATCH_EVENTS or self._bytes >= BATCH_BYTES:
                self._wake.set()

    def end(self, code: int = 1000, reason: str | None = None, ended_at: datetime | None = None) -> None:
        """The session is over: what is left goes out in the final batch. Call `stop` after it."""
        self._end = {"close": {"code": code, "reason": reason or None}, "ended_at": iso(ended_at or datetime.now(UTC))}

    def stop(self, timeout_sec: float = 30) -> bool:
        """Send what is left, for at most that long; True when all is confirmed. The rest stays in the spool."""
        self._stopped.set()
        self._wake.set()
        self._thread.join(timeout_sec)
        return not self._thread.is_alive() and not self._events and not self.spool.waiting()

    def _work(self) -> None:
        wait_sec = FIRST_WAIT_SEC
        while True:
            last = self._stopped.is_set()
            written = self._flush(final=last and self._end is not None)
            settled = self.spool.send() and written
            if last and settled:
                break
            wait_sec = FIRST_WAIT_SEC if settled else min(wait_sec * 2, LONGEST_WAIT_SEC)
            self._wake.wait(self.batch_sec if settled else wait_sec)
            self._wake.clear()
        if self._events:
            log.error("%d events were not kept: no call_id was given and no session told its id", len(self._events))

    def _flush(self, final: bool) -> bool:
        """Put what has gathered into the spool, but nothing while it is not known whose it is; False if that failed."""
        with self._lock:
            if not (self.call_id or self.session_id) or not (self._events or final):
                return True
            events, self._events, self._bytes = self._events, [], 0
            self._sequence += 1
            batch = self._batch(events, final)
        try:
            self.spool.put(batch)
        except OSError:
            log.exception("the spool cannot be written; the events are held in memory")
            with self._lock:
                self._events = events + self._events
            return False
        self._end = None if final else self._end
        return True

    def _batch(self, events: list[dict[str, Any]], final: bool) -> dict[str, Any]:
        blank = dict.fromkeys(("transport", "direction", "from", "to", "started_at", "recording_url"))
        return {
            "object": "voicelens.realtime_relay",
            "type": "realtime.session.relay",
            "id": f"relay_{uuid.uuid4().hex}",
            "created_at": int(time.time()),
            "data": {
                **blank,
                **self.facts,
                "call_id": self.call_id,
                "session_id": self.session_id,
                "sequence": self._sequence,
                "final": final,
                "close": None,
                "ended_at": None,
                **((self._end or {}) if final else {}),
                "events": events,
            },
        }


def listen(relay: Relay, api_key: str, url: str = REALTIME_URL) -> tuple[int, str]:
    """Hear the session of the relay's call to its end on a second (sideband) connection; gives close code and reason.

    Raises websockets' own errors where the connection is refused. May be called again when a connection broke (1006).
    """
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    query = urlencode({"call_id": relay.call_id or ""})
    headers = {"Authorization": f"Bearer {api_key}"}
    with connect(f"{url}?{query}", additional_headers=headers, max_size=None) as socket:
        try:
            while True:
                event = json.loads(socket.recv())
                if isinstance(event, dict):
                    relay.add(event)
        except ConnectionClosed as closed:
            return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (BROKEN, "")


def main() -> int:
    """`python voicelens_relay.py rtc_…`: relay one call, and whatever an earlier run has left in the spool."""
    logging.basicConfig(level=logging.INFO)
    given = os.environ
    missing = [name for name in ("OPENAI_API_KEY", "VOICELENS_URL", "VOICELENS_SECRET") if not given.get(name)]
    if missing or len(sys.argv) != 2:
        sys.exit(
            f"usage: voicelens_relay.py <call id>; still to be set in the environment: {', '.join(missing) or '-'}"
        )
    spool = Spool(
        Path(given.get("VOICELENS_SPOOL", "voicelens-spool")), given["VOICELENS_URL"], given["VOICELENS_SECRET"]
    )
    facts = {"transport": given.get("CALL_TRANSPORT", "sip"), "direction": given.get("CALL_DIRECTION")}
    with Relay(spool, call_id=sys.argv[1], facts=facts) as relay:
        relay.end(*listen(relay, given["OPENAI_API_KEY"], given.get("OPENAI_REALTIME_URL", REALTIME_URL)))
        return 0 if relay.stop() else 1


if __name__ == "__main__":
    sys.exit(main())
