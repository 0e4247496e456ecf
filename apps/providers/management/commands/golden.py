"""Compares what the catalogue's samples come to with the results stored beside them, or stores them anew."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.providers.golden import expected_files


class Command(BaseCommand):
    help = "Name the samples whose stored result is no longer what the mapping gives; --write stores it. Read the diff."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--write", action="store_true")

    def handle(self, *args: Any, write: bool, **options: Any) -> None:
        differing = [(path, text) for path, text in expected_files() if not path.exists() or path.read_text() != text]
        for path, text in differing:
            self.stdout.write(f"{'written' if write else 'differs'}: {path}")
            if write:
                path.write_text(text)
        if differing and not write:
            raise CommandError("run `manage.py golden --write` and read the difference")
