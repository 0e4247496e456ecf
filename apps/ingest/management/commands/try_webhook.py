"""Says what VoiceLens would make of a captured delivery: authentic or not and why, its event, the message, the report.

Writes nothing. docs/try-webhook.md explains the file and the output.
"""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.utils import timezone
from pydantic import ValidationError

from apps.ingest import trial
from apps.providers import catalog, registry
from apps.providers.engine.mapping import Mapping
from apps.providers.engine.signatures import Scheme, Secret, parse_scheme
from apps.providers.engine.spec import first_problem


class Command(BaseCommand):
    help = "Say what would become of a captured delivery; exit status 0 when it is authentic and makes a message."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("provider", help="slug of the provider, for example retell")
        parser.add_argument(
            "--case",
            required=True,
            metavar="FILE",
            help='JSON, - for standard input: {"headers": {…}, "body": "raw text", "received_at": ISO time, "secret", '
            '"auth", "url" optional}, or {"cases": […]} for several deliveries of one call',
        )

        parser.add_argument(
            "--unproven",
            action="store_true",
            help="show the message also of a delivery that is not authentic, such as a stored body without its headers",
        )

    def handle(self, *args: Any, provider: str, case: str, unproven: bool, **options: Any) -> None:
        given = _load(case)
        subject = _subject(provider, timezone.now())
        cases = [
            _case(item, provider, f"cases[{n}]." if "cases" in given else "") for n, item in enumerate(_items(given))
        ]
        result = trial.run(cases, subject)
        authentic = all(one.verdict.authentic for one in result.cases)
        if not authentic and not unproven:
            result.refuse()
        self.stdout.write(json.dumps(_output(result, subject), indent=2, ensure_ascii=False))
        if not authentic or result.message is None:
            sys.exit(1)


def _load(name: str) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text()
        given = json.loads(text)
    except OSError as error:
        raise CommandError(f"--case: {error}", returncode=2) from error
    except ValueError as error:
        raise CommandError(f"--case: {name} is not JSON: {error}", returncode=2) from error
    if not isinstance(given, dict):
        raise CommandError("--case: the file must hold a JSON object", returncode=2)
    return given


def _items(given: dict[str, Any]) -> list[dict[str, Any]]:
    common = {name: value for name, value in given.items() if name != "cases"}
    items = given.get("cases", [given])
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise CommandError("cases: must be a list of at least one object", returncode=2)
    # What stands beside `cases` (a secret, an auth config) holds for each of them.
    return [{**common, **item} for item in items]


def _subject(slug: str, moment: datetime) -> trial.Subject:
    """The provider as the database has it, with the secrets valid at that moment; else (nothing is set up yet) as the
    catalogue has it."""
    try:
        runtime = registry.provider(slug)
        endpoints = registry.endpoints_of(slug)
    except DatabaseError:
        runtime = None
    if runtime is not None:
        ways = [
            trial.Candidate(auth.scheme, tuple(auth.valid_secrets(moment)))
            for point in endpoints
            for auth in point.auths
        ]
        return trial.Subject(runtime.slug, runtime.name, runtime.mapping, tuple(ways))
    if slug.lower() not in catalog.slugs():
        raise CommandError(f"unknown provider {slug!r}; known: {', '.join(catalog.slugs())}", returncode=2)
    spec = catalog.load(slug.lower())
    return trial.Subject(spec.slug, spec.name, Mapping(spec.mapping), (trial.Candidate(spec.auth, ()),))


def _case(item: dict[str, Any], slug: str, place: str) -> trial.Case:
    headers, body = item.get("headers", {}), item.get("body")
    if not isinstance(headers, dict):
        raise CommandError(f"{place}headers: must be an object of header names and values", returncode=2)
    if not isinstance(body, str):
        raise CommandError(f"{place}body: must be the raw body as one text, exactly as it was received", returncode=2)
    received_at = _time(item.get("received_at"), place)
    return trial.Case(
        body=_bytes(body),
        received_at=received_at,
        headers={str(name).lower(): str(value) for name, value in headers.items()},
        url=str(item.get("url") or ""),
        candidates=_candidates(item, _subject(slug, received_at), place),
    )


def _bytes(body: str) -> bytes:
    try:
        # A captured byte that is no UTF-8 stands in JSON as a lone surrogate \udc80…\udcff.
        return body.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return body.encode("utf-8", "surrogatepass")


def _time(value: Any, place: str) -> datetime:
    if value is None:
        return timezone.now()
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise CommandError(f"{place}received_at: must be an ISO 8601 time, not {value!r}", returncode=2) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _candidates(item: dict[str, Any], subject: trial.Subject, place: str) -> tuple[trial.Candidate, ...]:
    """The ways of the file where it names any: its secret or auth override the stored ones."""
    secret, auth = item.get("secret"), item.get("auth")
    if secret is None and auth is None:
        return subject.candidates
    secrets = _secrets(secret, subject)
    if auth is not None:
        return (trial.Candidate(_scheme(auth, place), secrets),)
    return tuple(trial.Candidate(way.scheme, secrets) for way in subject.candidates)


def _secrets(secret: Any, subject: trial.Subject) -> tuple[Secret, ...]:
    if secret is None:
        return tuple({held for way in subject.candidates for held in way.secrets})
    values: Sequence[Any] = secret if isinstance(secret, list) else [secret]
    return tuple(Secret(f"file-{number}", str(value)) for number, value in enumerate(values))


def _scheme(auth: Any, place: str) -> Scheme:
    try:
        return parse_scheme(auth)
    except ValidationError as error:
        raise CommandError(f"{place}auth: {first_problem(error)}", returncode=2) from error


def _output(result: trial.Trial, subject: trial.Subject) -> dict[str, Any]:
    refused = next((one for one in result.cases if not one.verdict.authentic), result.cases[-1])
    report = trial.merge_reports(result, subject.mapping)
    output = {
        "authentic": refused.verdict.authentic,
        "reason": refused.verdict.reason.value,
        "detail": refused.verdict.detail,
        "event": result.cases[-1].reading.event,
        "disposition": result.cases[-1].reading.disposition,
        "message": result.message,
        "cost_usd": None if result.cost_usd is None else float(result.cost_usd),
        "report": report,
        "errors": [error.to_dict() for error in result.errors],
        "warnings": [warning.to_dict() for warning in result.warnings],
    }
    if len(result.cases) > 1:
        output["cases"] = [
            {
                "authentic": one.verdict.authentic,
                "reason": one.verdict.reason.value,
                "event": one.reading.event,
                "disposition": one.reading.disposition,
                "call_id": one.reading.call_id,
            }
            for one in result.cases
        ]
    return output
