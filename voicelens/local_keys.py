"""Creates the three keys of a development machine in `.env`, readable by its owner only.

In production nothing is created: the settings then stop and name the variable that is missing.
"""

import base64
import os
import secrets
from pathlib import Path

ENV_FILE = Path(__file__).resolve().parent.parent / ".env"


def _new_keys() -> dict[str, str]:
    fernet_key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "FIELD_ENCRYPTION_KEYS": f"k1:{fernet_key}",
        "PSEUDONYM_KEY": f"p1:{secrets.token_urlsafe(32)}",
    }


def ensure_local_keys(env_file: Path = ENV_FILE) -> list[str]:
    """Append the keys that neither the environment nor the file has; returns their names."""
    if os.environ.get("SERVICE_ENV", "development") == "production":
        return []
    text = env_file.read_text() if env_file.exists() else ""
    named = {line.split("=", 1)[0].strip() for line in text.splitlines() if "=" in line}
    missing = {name: value for name, value in _new_keys().items() if name not in named and name not in os.environ}
    if missing:
        _append(env_file, text, missing)
    return sorted(missing)


def _append(env_file: Path, text: str, values: dict[str, str]) -> None:
    # Opened with its final rights: a file made readable first and closed later has been readable.
    descriptor = os.open(env_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "a") as file:
        os.fchmod(file.fileno(), 0o600)
        if text and not text.endswith("\n"):
            file.write("\n")
        file.writelines(f"{name}={value}\n" for name, value in values.items())
