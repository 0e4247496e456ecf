"""Writes a provider of the database as a catalogue file to standard output."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.providers.catalog import CatalogError
from apps.providers.exporting import export
from apps.providers.models import MappingVersion, Provider


class Command(BaseCommand):
    help = "Write a provider as its TOML file, with the published mapping version or another one. Holds no secret."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        # Django's own --version, which prints its version, gives way to ours.
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="slug of the provider, for example retell")
        parser.add_argument("--version", type=int, dest="number", metavar="N", help="default: the published one")

    def handle(self, *args: Any, slug: str, number: int | None, **options: Any) -> None:
        try:
            self.stdout.write(export(_version(slug, number)), ending="")
        except CatalogError as error:
            raise CommandError(str(error)) from error


def _version(slug: str, number: int | None) -> MappingVersion:
    provider = Provider.objects.filter(slug=slug).first()
    if provider is None:
        known = ", ".join(Provider.objects.order_by("slug").values_list("slug", flat=True))
        raise CommandError(f"unknown provider {slug!r}; known: {known or 'none'}")
    if number is None:
        if provider.published is None:
            raise CommandError(f"{slug} has no published version: name one with --version")
        return provider.published
    found = provider.versions.filter(number=number).first()
    if found is None:
        numbers = ", ".join(str(one) for one in provider.versions.order_by("number").values_list("number", flat=True))
        raise CommandError(f"{slug} has no version {number}; there are: {numbers or 'none'}")
    return found
