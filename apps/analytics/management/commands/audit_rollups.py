"""Counts the daily numbers again from the messages and reports every difference."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.analytics import rollups
from apps.analytics.models import DailyProviderStats


class Command(BaseCommand):
    help = "Compare the daily numbers with the messages; exit status 1 when they differ."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--rebuild", action="store_true", help="write all days anew from the messages first")

    def handle(self, *args: Any, rebuild: bool, **options: Any) -> None:
        if rebuild:
            rollups.rebuild()
            self.stdout.write("rebuilt from the messages")
        differences = rollups.audit()
        for difference in differences:
            self.stderr.write(str(difference))
        if differences:
            raise CommandError(
                f"{len(differences)} numbers differ; --rebuild writes them anew from the messages",
                returncode=1,
            )
        self.stdout.write(f"{DailyProviderStats.objects.count()} provider-days, no difference")
