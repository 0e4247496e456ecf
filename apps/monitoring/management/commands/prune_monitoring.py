"""Deletes what checks saw and found longer ago than MONITORING_RETENTION_DAYS, as the daily job does."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.utils import timezone

from apps.monitoring import retention


class Command(BaseCommand):
    help = "Delete old observations, spans, snapshots, feed entries, changes and resolved incidents."

    def add_arguments(self, parser: CommandParser) -> None:
        days = settings.MONITORING_RETENTION_DAYS
        parser.add_argument("--days", type=int, default=days, help=f"older than so many days (default {days})")
        parser.add_argument("--vacuum", action="store_true", help="give the freed space back; locks SQLite meanwhile")

    def handle(self, *args: Any, days: int, vacuum: bool, **options: Any) -> None:
        if days < 1:
            raise CommandError(f"--days is {days}; a number from 1 is needed", returncode=2)
        for name, count in retention.prune(timezone.now(), days).items():
            self.stdout.write(f"{count:>8} {name}")
        if vacuum:
            with connection.cursor() as cursor:
                cursor.execute("VACUUM")
