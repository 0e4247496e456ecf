"""Judges our vCons by the working group's own JSON Schema, which is not part of the project:

    python -m vcp.tests.vcon_schema_check vcon_json_schema.json

The file is `vcon_json_schema.json` of the repository ietf-wg-vcon/draft-ietf-vcon-vcon-core. Exit status 0 when it
finds nothing.
"""

from __future__ import annotations

import json
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, FormatChecker

from vcp.exports.vcon import content_hash, to_vcon
from vcp.models import VCPMessage
from vcp.tests.message_strategies import JSON, messages
from vcp.tests.samples import changed, full
from vcp.tests.vcon_rules import problems

# The library knows a UUID, but no time and no URI without further packages.
FORMATS = FormatChecker(["uuid"])


def _is_date_time(value: Any) -> bool:
    if isinstance(value, str):
        datetime.fromisoformat(value)
        return re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", value) is not None
    return True


def _is_uri(value: Any) -> bool:
    if isinstance(value, str):
        characters = r"([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*"
        return bool(urlsplit(value).scheme) and re.fullmatch(characters, value) is not None
    return True


FORMATS.checks("date-time", raises=ValueError)(_is_date_time)
FORMATS.checks("uri", raises=ValueError)(_is_uri)


def check(schema: dict[str, Any]) -> None:
    """Raises jsonschema's ValidationError for the first vCon that the schema refuses."""
    Draft7Validator.check_schema(schema)
    judge = Draft7Validator(schema, format_checker=FORMATS)
    _check_formats(judge)
    recording = "https://files.example.test/1.wav"
    linked = changed(full(), "vcp_payload.artifacts.audio_recording_ref", recording)
    judge.validate(to_vcon(VCPMessage.from_dict(full())))
    judge.validate(to_vcon(VCPMessage.from_dict(linked), recording_hash=content_hash(b""), transcript="Hello"))

    @settings(derandomize=True, database=None, deadline=None, max_examples=1000)
    @given(messages(), st.none() | JSON)
    def any_message(message: VCPMessage, transcript: Any) -> None:
        assume(message.vcp_payload.call.end_time is not None)
        made = to_vcon(message, transcript=transcript)
        judge.validate(made)
        assert problems(made) == []

    any_message()


def _check_formats(judge: Any) -> None:
    """A judge that lets these pass judges nothing."""
    good = to_vcon(VCPMessage.from_dict(full()))
    for path, wrong in {"uuid": "x", "created_at": "2025-10-14", "dialog.0.url": "https://a b"}.items():
        if judge.is_valid(changed(good, path, wrong)):
            raise SystemExit(f"the schema accepts a wrong {path}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(2)
    check(json.loads(Path(sys.argv[1]).read_text("utf-8")))
