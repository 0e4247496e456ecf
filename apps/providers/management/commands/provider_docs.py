"""Writes docs/providers.md from the catalogue, or says that it is not up to date."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.providers.handbook import page


class Command(BaseCommand):
    help = "Print the page on the providers; --write stores it as docs/providers.md, --check fails if that differs."

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--write", action="store_true")
        what.add_argument("--check", action="store_true")

    def handle(self, *args: Any, write: bool, check: bool, **options: Any) -> None:
        path, text = settings.BASE_DIR / "docs" / "providers.md", page()
        if write:
            path.write_text(text)
        elif not check:
            self.stdout.write(text, ending="")
        elif not path.exists() or path.read_text() != text:
            raise CommandError("docs/providers.md is out of date: run `manage.py provider_docs --write`")
