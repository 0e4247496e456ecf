"""One version of the protocol into another: `migrate`, and what it reports. The tables are those of the schema."""

from vcp.migrate.report import Migration, MigrationReport, Note
from vcp.migrate.route import migrate

__all__ = ["Migration", "MigrationReport", "Note", "migrate"]
