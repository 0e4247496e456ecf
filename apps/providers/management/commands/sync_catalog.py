"""Brings the catalogue files into the database; says what it changed and what it left alone."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.providers.catalog import CatalogError
from apps.providers.publishing import SamplesFail
from apps.providers.sync import sync_catalog


class Command(BaseCommand):
    help = "Load apps/providers/catalog/*.toml: new mappings are published over unedited ones, else left as drafts."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            report = sync_catalog()
        except (CatalogError, SamplesFail) as error:
            raise CommandError(str(error)) from error
        for line in report.lines() or ["the catalogue is unchanged"]:
            self.stdout.write(line)
