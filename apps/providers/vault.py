"""Secrets at rest: encrypted with one of several named keys, so that a key can be rotated without a gap.

FIELD_ENCRYPTION_KEYS is `id:key,id:key`. The first key encrypts; each ciphertext is stored with the id of its key.
"""

from functools import cache

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


class MissingKey(ImproperlyConfigured):
    """A stored secret needs a key that FIELD_ENCRYPTION_KEYS does not have (or has with another value)."""


@cache
def _parse(text: str) -> dict[str, Fernet]:
    keys: dict[str, Fernet] = {}
    for part in text.split(","):
        key_id, _, key = part.strip().partition(":")
        try:
            keys[key_id] = Fernet(key.strip())
        except ValueError as error:
            raise ImproperlyConfigured(
                f"FIELD_ENCRYPTION_KEYS: the key {key_id!r} is not 32 bytes in URL-safe base64 (write id:key,id:key)"
            ) from error
    return keys


def _keys() -> dict[str, Fernet]:
    return _parse(settings.FIELD_ENCRYPTION_KEYS)


def encrypt(secret: str) -> tuple[str, str]:
    """(key id, ciphertext) of a secret, under the first key."""
    key_id, ciphertext = encrypt_bytes(secret.encode())
    return key_id, ciphertext.decode()


def decrypt(key_id: str, ciphertext: str) -> str:
    """The secret. Raises MissingKey naming the key id."""
    return decrypt_bytes(key_id, ciphertext.encode()).decode()


def encrypt_bytes(data: bytes) -> tuple[str, bytes]:
    """(key id, ciphertext) of any bytes, under the first key; the ciphertext is a third longer."""
    key_id, fernet = next(iter(_keys().items()))
    return key_id, fernet.encrypt(data)


def decrypt_bytes(key_id: str, ciphertext: bytes) -> bytes:
    """The bytes. Raises MissingKey naming the key id."""
    fernet = _keys().get(key_id)
    if fernet is None:
        raise MissingKey(
            f"FIELD_ENCRYPTION_KEYS has no key {key_id!r}, but stored secrets are encrypted with it. Put that key back "
            f"(a retired key stays behind the new one), or delete the secrets and enter them again."
        )
    try:
        return fernet.decrypt(ciphertext)
    except InvalidToken:
        raise MissingKey(
            f"the key {key_id!r} in FIELD_ENCRYPTION_KEYS is not the one that stored secrets were encrypted with. "
            f"Put the former key back under that id."
        ) from None
