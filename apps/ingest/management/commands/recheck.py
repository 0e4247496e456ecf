"""Checks refused deliveries again with today's secrets, and lets in what passes."""

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from apps.ingest import operations
from apps.ingest.models import RefusedDelivery
from apps.providers.models import Endpoint


class Command(BaseCommand):
    help = "Check all refused deliveries that are still kept again, or those that match every option given."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--provider", help="slug of the provider that delivered")
        parser.add_argument("--endpoint", help="slug of the endpoint, for example default")
        parser.add_argument("--since", type=_time, metavar="TIME", help="received then or later; ISO 8601, UTC")
        parser.add_argument("--dry-run", action="store_true", help="only say what would become of them")

    def handle(
        self, *args: Any, provider: str | None, endpoint: str | None, since: datetime | None, **options: Any
    ) -> None:
        rows = RefusedDelivery.objects.all()
        if provider or endpoint:
            rows = rows.filter(endpoint__in=_endpoints(provider, endpoint))
        if since:
            rows = rows.filter(received_at__gte=since)
        report = operations.recheck(rows, timezone.now(), dry_run=options["dry_run"])
        if options["dry_run"]:
            self.stdout.write("nothing was changed; a recheck would say:")
        for line in report.lines():
            self.stdout.write(line)


def _endpoints(provider: str | None, endpoint: str | None) -> list[int]:
    """The ids of the endpoints that are meant. Raises CommandError when there is none."""
    found = Endpoint.objects.all()
    if provider:
        found = found.filter(provider__slug__iexact=provider)
    if endpoint:
        found = found.filter(slug__iexact=endpoint)
    ids = list(found.values_list("pk", flat=True))
    if not ids:
        names = {"--provider": provider, "--endpoint": endpoint}
        asked = " ".join(f"{option} {name}" for option, name in names.items() if name)
        raise CommandError(f"there is no endpoint with {asked}", returncode=2)
    return ids


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
