"""Files of calls in the storage `artifacts`, each once under the SHA-256 of its content, and the rows that hold them.

A file is written before the row that needs it, and goes when nothing needs it any more. The lock of its StoredFile row
keeps the two from meeting: who needs a file looks for it under the lock, who removes one does so under it.
"""

import logging
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages
from django.db import transaction

from apps.ingest.models import StoredFile
from apps.providers.engine.embedded import EmbeddedFile

log = logging.getLogger(__name__)

# A file without a row belongs to a delivery that is just being stored, or to one that never was.
ORPHAN_AFTER = timedelta(days=1)


class StorageFailed(Exception):
    """The storage of files did not do what it was asked; the log has its reason."""


def storage() -> Storage:
    return storages["artifacts"]


def write(file: EmbeddedFile) -> None:
    """Put the file into the storage unless it is there. Raises StorageFailed; then nothing may be acknowledged."""
    name = StoredFile(sha256=file.sha256).name
    try:
        if not storage().exists(name):
            storage().save(name, ContentFile(file.content))
    except Exception as error:  # a storage's own errors have no common class
        raise StorageFailed(f"file {file.sha256} could not be stored") from error


def hold(file: EmbeddedFile) -> StoredFile:
    """The file's row, locked until the caller's transaction ends, and the file there for certain."""
    row = StoredFile(sha256=file.sha256, size_bytes=len(file.content), media_type=file.media_type)
    StoredFile.objects.bulk_create(
        [row], update_conflicts=True, unique_fields=["sha256"], update_fields=["size_bytes", "media_type"]
    )
    write(file)
    return row


def remove_unused(names: Iterable[str]) -> int:
    """Remove those files that no delivery and no artifact needs, each in a transaction of its own; their number."""
    return sum(_remove_if_unused(name) for name in names)


@transaction.atomic
def _remove_if_unused(sha256: str) -> bool:
    row = StoredFile.objects.select_for_update().filter(pk=sha256).first()
    # Looked at after the lock: what was committed while we waited for it counts.
    if row is None or row.events.exists() or row.artifacts.exists():
        return False
    storage().delete(row.name)
    row.delete()
    return True


def remove_all_unused(now: datetime) -> int:
    """Remove what erasure and retention have left without use, and files that no row knows for a day."""
    unused = StoredFile.objects.filter(events=None, artifacts=None)
    removed = remove_unused(list(unused.values_list("pk", flat=True)))
    for folder, names in _folders():
        known = {row.name for row in StoredFile.objects.filter(pk__in=names)}
        for name in names:
            removed += f"{folder}/{name}" not in known and _remove_orphan(folder, name, now)
    return removed


def _folders() -> Iterator[tuple[str, list[str]]]:
    try:
        folders = storage().listdir("")[0]
    except FileNotFoundError:  # nothing was ever stored
        return
    for folder in folders:
        yield folder, storage().listdir(folder)[1]


def _remove_orphan(folder: str, name: str, now: datetime) -> bool:
    """Remove a file that no row knows, unless it is young or a delivery takes hold of it at this moment."""
    path = f"{folder}/{name}"
    try:
        if now - storage().get_modified_time(path) < ORPHAN_AFTER:
            return False
    except FileNotFoundError:  # a writer's temporary file, renamed meanwhile
        return False
    if StoredFile(sha256=name).name != path:
        storage().delete(path)
        return True
    StoredFile.objects.bulk_create([StoredFile(sha256=name, size_bytes=0, media_type="")], ignore_conflicts=True)
    return _remove_if_unused(name)
