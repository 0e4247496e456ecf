"""Writes the tables of docs/protocol.md from the protocol's own models and rules, or says that they are out of date."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from vcp.protocol_page import tables, with_tables


class Command(BaseCommand):
    help = "Print the tables; --write puts them into docs/protocol.md, --check fails if the page has others."

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--write", action="store_true")
        what.add_argument("--check", action="store_true")

    def handle(self, *args: Any, write: bool, check: bool, **options: Any) -> None:
        if not write and not check:
            self.stdout.write(tables(), ending="")
            return
        path = settings.BASE_DIR / "docs" / "protocol.md"
        page = path.read_text()
        fresh = with_tables(page)
        if write:
            path.write_text(fresh)
        elif page != fresh:
            raise CommandError("docs/protocol.md is out of date: run `manage.py protocol_docs --write`")
