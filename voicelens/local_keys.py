"""Creates the three keys of a development machine in `.env`, readable by its owner only.

In production nothing is created by itself: the settings then stop and name the variable that is missing. Who asks for
keys there, as for compose.yaml, runs `python3 -m voicelens.local_keys`; it needs nothing installed.
"""

import base64
import os
import secrets
import sys
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
    """Add the keys that neither the environment nor the file has; returns their names. Nothing in production."""
    lines, given = _read(env_file)
    if given.get("SERVICE_ENV", "development") in ("production", "staging"):
        return []
    return _add(_new_keys(), env_file, lines, given)


def create_keys(env_file: Path = ENV_FILE) -> list[str]:
    """Add what compose.yaml asks for and neither the environment nor the file has; returns the names."""
    lines, given = _read(env_file)
    return _add(_new_keys() | {"POSTGRES_PASSWORD": secrets.token_hex(24)}, env_file, lines, given)


def _read(env_file: Path) -> tuple[list[str], dict[str, str]]:
    lines = env_file.read_text().splitlines() if env_file.exists() else []
    given = {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines) if value.strip()}
    return lines, given | {name: value for name, value in os.environ.items() if value}


def _add(wanted: dict[str, str], env_file: Path, lines: list[str], given: dict[str, str]) -> list[str]:
    missing = {name: value for name, value in wanted.items() if name not in given}
    if missing:
        # A name without a value (a copied .env.example) would win over the line behind it.
        kept = [line for line in lines if line.partition("=")[0].strip() not in missing]
        _write(env_file, [*kept, *(f"{name}={value}" for name, value in missing.items())])
    elif env_file.exists():
        env_file.chmod(0o600)
    return sorted(missing)


def _write(env_file: Path, lines: list[str]) -> None:
    # A new file with its final rights, put in place whole: one that is closed later has been readable before.
    draft = env_file.with_name(f"{env_file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write("\n".join(lines) + "\n")
    draft.replace(env_file)


if __name__ == "__main__":
    created = create_keys()
    sys.stdout.write(f"written to {ENV_FILE}: {', '.join(created) or 'nothing, all were there'}\n")
