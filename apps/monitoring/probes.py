"""One look at one page, by kind: what is asked for, and what the answer says of the provider.

Asks through the door it is given and judges nothing over time: that is for `verdict`. Nothing is stored here.
"""

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from apps.monitoring import content, http_statuses, statuspages
from apps.monitoring.fetch import Answer, Door, FetchError, Request
from apps.monitoring.outcome import Outcome, Standing

_TEXT = "text/markdown, text/plain;q=0.9, text/html;q=0.8, application/xhtml+xml;q=0.8, */*;q=0.5"
_JSON = "application/json, */*;q=0.5"
_ACCEPT: Mapping[str, str] = {
    "health": "*/*",
    "status": _JSON,
    "docs": _TEXT,
    "changelog": _TEXT,
    "openapi": f"application/vnd.oai.openapi+json, {_JSON}",
    "feed": "application/atom+xml, application/rss+xml, application/xml;q=0.9, text/xml;q=0.9, */*;q=0.5",
}
# Failures of ours, not of the page: a target we may not ask, an answer larger than we take or that we cannot unpack.
_OUR_FAULTS = {"blocked", "too_large", "encoding"}
# The page refuses us, as a bot or for asking too often. Nobody else is the worse for it.
_REFUSALS = {401, 403, 429}
# What the columns of a monitor and of an observation hold.
_LONGEST_ERROR = 300
_LONGEST_ETAG = 300
_LONGEST_DATE = 100


@dataclass(frozen=True)
class Look:
    """What a look needs to know of a check; fields as in models.Monitor.

    `etag` and `last_modified` belong to the text that later looks are compared with: empty them when the selectors
    change, or an unchanged page is never read by the new ones.
    """

    kind: str
    url: str
    selector: str = ""
    ignored: Sequence[str] = ()
    ok_statuses: str = "200-299"
    latency_budget_ms: int | None = None
    timeout_sec: float = 30
    etag: str = ""
    last_modified: str = ""


def look(view: Look, door: Door) -> Outcome:
    """Look once. Never raises: whatever goes wrong on our side is a FAULT with a sentence.

    DOWN: no answer, and 5xx; of pages that are read any other answer than 2xx, too. DEGRADED: a health check's answer
    that is neither 5xx nor among `ok_statuses`, and any answer slower than the budget. FAULT: a target that is not
    allowed, an answer too large or not to be unpacked, a page that refuses us (401, 403 and 429, unless they are among
    a health check's `ok_statuses`), text that cannot be read, and a status page that does not answer: it is not the
    service.

    An unexpected exception is a FAULT of the kind "unexpected" that names its type and place, for the caller's log.
    """
    try:
        return _KINDS[view.kind](view, door)
    except FetchError as error:
        return _not_fetched(view, error)
    except Exception as error:  # noqa: BLE001 - one page must never stop the others
        return _fault("unexpected", f"Reading the page failed: {_named(error)}. This is a mistake in VoiceLens.")


def _health(view: Look, door: Door) -> Outcome:
    return _in_budget(view, _of_status(view, _asked(view, door)))


def _status(view: Look, door: Door) -> Outcome:
    # Never conditional: what an unchanged page said is not kept.
    answer = _asked(view, door)
    if not 200 <= answer.status < 300:
        return _answered(answer, Standing.FAULT, "status", f"The status page answers {answer.status}.")
    page = statuspages.read(answer.body)
    told = _answered(answer, page.standing, "format" if page.error else "", page.error)
    return replace(
        told, incidents=None if page.error else page.incidents, components=page.components,
        in_maintenance=page.in_maintenance,
    )  # fmt: skip


def _page(view: Look, door: Door) -> Outcome:
    return _read(view, door, _with_text)


def _feed(view: Look, door: Door) -> Outcome:
    return _read(view, door, _with_entries)


def _with_text(view: Look, answer: Answer, told: Outcome) -> Outcome:
    text = content.read(
        view.kind, answer.body, _media_type(answer), answer.url, selector=view.selector, ignored=view.ignored
    )
    return replace(told, content=text)


def _with_entries(view: Look, answer: Answer, told: Outcome) -> Outcome:
    return replace(told, entries=content.read_feed(answer.body, _media_type(answer), answer.url))


def _media_type(answer: Answer) -> str:
    return answer.headers.get("content-type", "")


_KINDS: Mapping[str, Callable[[Look, Door], Outcome]] = {
    "health": _health,
    "status": _status,
    "docs": _page,
    "openapi": _page,
    "changelog": _page,
    "feed": _feed,
}


def _asked(view: Look, door: Door, etag: str = "", last_modified: str = "") -> Answer:
    accept = _ACCEPT[view.kind]
    return door.fetch(
        Request(view.url, etag=etag, last_modified=last_modified, timeout_sec=view.timeout_sec, accept=accept)
    )


def _read(view: Look, door: Door, read: Callable[[Look, Answer, Outcome], Outcome]) -> Outcome:
    """A page whose text matters, asked for only if it changed."""
    answer = _asked(view, door, view.etag, view.last_modified)
    if answer.not_modified:
        same = _answered(answer, Standing.UP)
        return _in_budget(view, replace(same, not_modified=True, etag=view.etag, last_modified=view.last_modified))
    if not 200 <= answer.status < 300:
        standing = Standing.FAULT if answer.status in _REFUSALS else Standing.DOWN
        return _answered(answer, standing, "status", f"The page answers {answer.status}.")
    try:
        told = read(view, answer, _answered(answer, Standing.UP))
    except content.ContentError as error:
        return _answered(answer, Standing.FAULT, error.kind, str(error))
    etag, last_modified = _validators(answer)
    return _in_budget(view, replace(told, etag=etag, last_modified=last_modified))


def _validators(answer: Answer) -> tuple[str, str]:
    """What the next conditional request sends. One too long to keep is not sent: cut, it would be another."""
    etag, date = answer.headers.get("etag", ""), answer.headers.get("last-modified", "")
    return etag if len(etag) <= _LONGEST_ETAG else "", date if len(date) <= _LONGEST_DATE else ""


def _of_status(view: Look, answer: Answer) -> Outcome:
    if http_statuses.includes(view.ok_statuses, answer.status):
        return _answered(answer, Standing.UP)
    if answer.status in _REFUSALS:
        return _answered(answer, Standing.FAULT, "status", f"It refuses us: it answers {answer.status}.")
    standing = Standing.DOWN if answer.status >= 500 else Standing.DEGRADED
    return _answered(answer, standing, "status", f"It answers {answer.status}.")


def _in_budget(view: Look, outcome: Outcome) -> Outcome:
    budget, latency = view.latency_budget_ms, outcome.latency_ms
    if outcome.standing != Standing.UP or budget is None or latency is None or latency <= budget:
        return outcome
    error = f"It answered after {latency} ms; the budget is {budget} ms."
    return replace(outcome, standing=Standing.DEGRADED, error_kind="slow", error=error)


def _not_fetched(view: Look, error: FetchError) -> Outcome:
    if error.kind in _OUR_FAULTS:
        return replace(_fault(error.kind, str(error)), latency_ms=error.latency_ms)
    if view.kind == "status":
        told = _fault(error.kind, f"The status page does not answer: {error}")
        return replace(told, latency_ms=error.latency_ms)
    return Outcome(Standing.DOWN, latency_ms=error.latency_ms, error_kind=error.kind, error=str(error)[:_LONGEST_ERROR])


def _answered(answer: Answer, standing: Standing, error_kind: str = "", error: str = "") -> Outcome:
    return Outcome(standing, answer.status, answer.latency_ms, error_kind, error[:_LONGEST_ERROR])


def _fault(kind: str, error: str) -> Outcome:
    return Outcome(Standing.FAULT, error_kind=kind, error=error[:_LONGEST_ERROR])


def _named(error: Exception) -> str:
    """The type and the place: a message may hold parts of the page."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename.rpartition('apps/')[2]}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
