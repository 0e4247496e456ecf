"""Makes an installation ready to serve: tables, static files, catalogue, jobs, groups, a first admin user."""

import hashlib
import secrets
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.monitoring import channels, monitors, rules, schedules
from apps.providers import registry, vault
from apps.providers.catalog import CatalogError
from apps.providers.models import Provider
from apps.providers.publishing import SamplesFail
from apps.providers.sync import sync_catalog
from voicelens.groups import ensure_groups
from voicelens.schedule import ensure_schedule


class Command(BaseCommand):
    help = (
        "Migrate, collect static files, load the catalogue, create missing jobs, the groups and the first admin user."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--static-only", action="store_true", help="only collect static files, as an image's build does"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["static_only"]:
            _collect_static()
            return
        call_command("migrate", verbosity=0)
        self._check_secrets()
        _collect_static()
        self._load_catalogue()
        _ensure_checks()
        for name in [*ensure_schedule(), *schedules.ensure_schedules()]:
            self.stdout.write(f"scheduled: {name}")
        for name in channels.ensure_channels():
            self.stdout.write(f"alert channel made: {name}")
        for name in ensure_groups():
            self.stdout.write(f"group {name}: rights set")
        self._create_admin()

    def _check_secrets(self) -> None:
        try:
            registry.verify_stored_secrets()
        except vault.MissingKey as error:
            raise CommandError(str(error)) from error

    def _load_catalogue(self) -> None:
        try:
            report = sync_catalog()
        except (CatalogError, SamplesFail) as error:
            raise CommandError(str(error)) from error
        for line in report.lines():
            self.stdout.write(line)

    def _create_admin(self) -> None:
        users = get_user_model().objects
        if users.filter(is_superuser=True).exists():
            return
        password = secrets.token_urlsafe(12)
        users.create_superuser("admin", "", password)
        self.stdout.write(
            f"\n  Admin user created; shown only this once:\n\n      user      admin\n      password  {password}\n"
        )


def _ensure_checks() -> None:
    """Also of providers that were there before they were watched."""
    for provider in Provider.objects.all():
        monitors.ensure_monitors(provider)
    rules.ensure_rules()


def _collect_static() -> None:
    """Collect and compress static files if any of them has changed; unchanged, that would be most of a start's time."""
    fingerprint = hashlib.sha256()
    for finder in get_finders():
        for path, storage in finder.list([]):
            fingerprint.update(f"{path} {storage.size(path)} {storage.get_modified_time(path)}\n".encode())
    stamp = Path(settings.STATIC_ROOT) / ".collected"
    if stamp.exists() and stamp.read_text() == fingerprint.hexdigest():
        return
    call_command("collectstatic", verbosity=0, interactive=False)
    stamp.write_text(fingerprint.hexdigest())
