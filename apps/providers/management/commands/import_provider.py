"""Brings a provider's catalogue file into the database: a new provider, or a draft over what is there."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.providers import importing
from apps.providers.catalog import CatalogError
from apps.providers.publishing import SamplesFail


class Command(BaseCommand):
    help = "Import a provider from its TOML file: what changes is named; the mapping becomes a draft."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="the TOML file; - for standard input")
        parser.add_argument("--publish", action="store_true", help="put the mapping in force, if its samples pass")

    def handle(self, *args: Any, file: str, publish: bool, **options: Any) -> None:
        try:
            plan = importing.plan(_text(file), file)
            provider, version = importing.carry_out(plan, publish=publish)
        except (CatalogError, SamplesFail) as error:
            raise CommandError(str(error)) from error
        for line in plan.lines() or ["nothing changes"]:
            self.stdout.write(line)
        if version is not None:
            state = "in force" if publish else "a draft: try and publish it in the admin, or import with --publish"
            self.stdout.write(f"{version} is {state}")
        if plan.provider is None:
            self.stdout.write(f"enter the secret of {provider.endpoints.get()} in the admin: until then it is closed")


def _text(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{name} cannot be read: {error}") from error
