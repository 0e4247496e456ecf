"""A file inside a payload: where the event table says one is, it is decoded, and a short reference takes its place.

Pure: where files are kept and when they go is others' business.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from apps.providers.engine.paths import compile_path
from apps.providers.engine.redact import compile_patterns

Json = Any
ArtifactKind = Literal["recording"]
_REFERENCE = re.compile(r"internal://files/([0-9a-f]{64})")


class ArtifactSpec(BaseModel):
    """Where an event's payload holds a file, what that is to the call, and how it is written.

    Only sound and pictures: what a provider sends is served under our own name, and must be no page.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Plain keys: the same path finds the value in the payload and in its bytes.
    path: str = Field(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$", max_length=200)
    kind: ArtifactKind
    encoding: Literal["base64"] = "base64"
    media_type: str = Field(pattern=r"^(audio|video)/[a-z0-9][a-z0-9.+-]*$", max_length=50)


@dataclass(frozen=True)
class EmbeddedFile:
    """A decoded file; `sha256` of its content is its name everywhere."""

    content: bytes = field(repr=False)
    sha256: str
    media_type: str

    @property
    def reference(self) -> str:
        return reference_to(self.sha256)


def reference_to(sha256: str) -> str:
    """What stands in a stored body where the file was."""
    return f"internal://files/{sha256}"


def file_of(reference: Json) -> str | None:
    """The SHA-256 in a reference, or None for anything else."""
    found = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
    return found[1] if found else None


def take_out(spec: ArtifactSpec, body: bytes, payload: Json) -> tuple[bytes, EmbeddedFile | None]:
    """The body with a reference in the file's place, and the file; body as it is and None where there is none."""
    value = compile_path(spec.path)(payload)
    try:
        # Strict: what is no base64 through and through is no file, and must not become half of one.
        content = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        content = b""
    if not content:
        return body, None
    found = EmbeddedFile(content, hashlib.sha256(content).hexdigest(), spec.media_type)
    replacement = f'"{found.reference}"'.encode()
    shorter = compile_patterns([spec.path])(body, replacement)
    # Where the bytes are not the JSON that the payload was read from, the value was not found in them.
    return (shorter, found) if replacement in shorter else (body, None)
