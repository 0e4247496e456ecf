"""Sends signed deliveries of several providers while faults strike: several events a call, repeated, in disorder.

Most senders try again until they are answered 200, as some providers do; a part sends each delivery once. What no
answer came to may have been stored: it is sent again or never spoken of, as with real providers.
"""

import http.client
import json
import random
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from apps.providers import catalog
from apps.providers.engine.signatures import sign
from bench.payloads import payload_of
from bench.stack import SECRET, call_id_in
from faults.judge import Sent

ANSWER_WITHIN_SEC = 20
AGAIN_AFTER_SEC = 0.5
# Of all deliveries so many: are sent again though acknowledged, are sent once only, are not signed rightly.
REPEATED, SENT_ONCE, FORGED = 0.15, 0.15, 0.03
# A recording waits for its transcript: both are sent until they are taken.
RECORDING = ("elevenlabs", "post_call_audio", "post_call_transcription.inbound_success_tools")
# Kinds of calls: the provider, and the samples that are one call's events; without names its richest sample.
KINDS = (
    ("retell", "call_started.inbound", "call_ended.inbound_success_tools", "call_analyzed.inbound_success_tools"),
    RECORDING,
    ("vapi",),
    ("bland",),
    ("elevenlabs",),
)
BODY_BYTES = 2048


@dataclass
class Parcel:
    """A delivery to be sent, and what came of it."""

    sent: Sent
    body: bytes = field(repr=False)
    once: bool = False
    repeats: int = 0


@dataclass(frozen=True)
class Kind:
    """The events of a call, and its id as it stands in them."""

    slug: str
    bodies: Sequence[bytes]
    call_id: bytes
    surely: bool


def kind_of(slug: str, *names: str) -> Kind:
    samples = catalog.samples(slug)
    bodies = [json.dumps(samples[name]).encode() for name in names] or [payload_of(slug, BODY_BYTES)[1]]
    return Kind(slug, bodies, call_id_in(slug, bodies[0]), (slug, *names) == RECORDING)


class Mix:
    """Deliveries without end, from a seed: the calls' events shuffled among those of other calls."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - to be repeated
        self._seed = seed
        self._kinds = [kind_of(*told) for told in KINDS]
        self._calls, self._parcels = count(1), count(1)
        self.left = 0  # of the window in hand: with none left every call has all its events

    def __iter__(self) -> Iterator[Parcel]:
        while True:
            window = [parcel for _ in range(8) for parcel in self._call()]
            self._chance.shuffle(window)
            for self.left, parcel in zip(reversed(range(len(window))), window, strict=True):
                yield parcel

    def _call(self) -> list[Parcel]:
        call_id = f"faults_{self._seed}_{next(self._calls):07d}"
        kind = self._chance.choice(self._kinds)
        return [self._parcel(kind, call_id, body.replace(kind.call_id, call_id.encode())) for body in kind.bodies]

    def _parcel(self, kind: Kind, call_id: str, body: bytes) -> Parcel:
        forged, once = (self._chance.random() < share and not kind.surely for share in (FORGED, SENT_ONCE))
        repeats = self._chance.randint(1, 3) if self._chance.random() < REPEATED else 0
        return Parcel(Sent(next(self._parcels), kind.slug, call_id, forged=forged), body, once, repeats)


class Senders:
    """Threads that take parcels in turn, and send each until it is acknowledged or need not be."""

    def __init__(self, address: tuple[str, int], mix: Mix, threads: int, pause_sec: float) -> None:
        self.address, self.pause_sec = address, pause_sec
        self.parcels: list[Parcel] = []
        self.clock_shift_sec = 0.0
        self.cutting = threading.Event()
        self.refused_after_sec: list[float] = []
        self._mix, self._source = mix, iter(mix)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._send_for_ever, daemon=True) for _ in range(threads)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self, within_sec: float) -> bool:
        """No new calls; those in hand are sent to their end. False where that takes too long."""
        self._over.set()
        deadline = time.monotonic() + within_sec
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _send_for_ever(self) -> None:
        while True:
            with self._lock:
                if self._over.is_set() and not self._mix.left:
                    return
                parcel = next(self._source)
                self.parcels.append(parcel)
            self._deliver(parcel)
            time.sleep(self.pause_sec)

    def _deliver(self, parcel: Parcel) -> None:
        if self.cutting.is_set():
            self._cut(parcel)
        while True:
            self._post(parcel)
            if parcel.sent.acknowledged or parcel.once or (parcel.sent.forged and 401 in parcel.sent.answers):
                break
            time.sleep(AGAIN_AFTER_SEC)
        for _ in range(parcel.repeats if parcel.sent.acknowledged else 0):
            self._post(parcel)

    def _headers(self, parcel: Parcel) -> dict[str, str]:
        secret = "nobody's" if parcel.sent.forged else SECRET
        at = datetime.now(UTC) + timedelta(seconds=self.clock_shift_sec)
        signed = sign(catalog.load(parcel.sent.provider).auth, secret, parcel.body, at, id=f"msg_{parcel.sent.number}")
        return {"Content-Type": "application/json", **signed}

    def _post(self, parcel: Parcel) -> None:
        line = http.client.HTTPConnection(*self.address, timeout=ANSWER_WITHIN_SEC)
        started = time.monotonic()
        try:
            line.request("POST", f"/webhook/{parcel.sent.provider}", parcel.body, self._headers(parcel))
            answer = line.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            parcel.sent.answers.append(0)
            return
        finally:
            line.close()
        parcel.sent.answers.append(answer.status)
        if answer.status == 200:
            parcel.sent.delivery_ids.add(str(answer.headers["X-Delivery-Id"]))
        elif answer.status == 503:
            self.refused_after_sec.append(time.monotonic() - started)
            if answer.headers["Retry-After"] is None:
                parcel.sent.answers.append(-503)  # the judge knows no such answer

    def _cut(self, parcel: Parcel) -> None:
        """Half of it, and the connection is gone."""
        head = "".join(f"{name}: {value}\r\n" for name, value in self._headers(parcel).items())
        first = f"POST /webhook/{parcel.sent.provider} HTTP/1.1\r\nHost: x\r\n"
        text = f"{first}Content-Length: {len(parcel.body)}\r\n{head}\r\n"
        try:
            with socket.create_connection(self.address, timeout=5) as line:
                line.sendall(text.encode() + parcel.body[: len(parcel.body) // 2])
        except OSError:
            pass
