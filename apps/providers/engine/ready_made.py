"""Ready-made messages of older versions as messages of the current one. What a message must hold is known by `vcp`."""

from typing import Any

from apps.providers.engine.errors import MappingError
from vcp.errors import MigrationError, SchemaError
from vcp.migrate import migrate
from vcp.versions.forms import CURRENT, detect


def upgraded(message: Any) -> tuple[Any, list[dict[str, Any]]]:
    """The message in the current version, and its migration, if any, as `source`, `target` and `report`.

    A message of the current version comes back as it is, unchecked. Raises MappingError for an unknown version, and
    for an older message that is not valid or cannot be upgraded.
    """
    try:
        if detect(message) == CURRENT:
            return message, []
        done = migrate(message).to_dict()
    except (SchemaError, MigrationError) as error:
        raise MappingError(error.code, error.message, path=error.field_path or "$") from error
    return done.pop("message"), [done]
