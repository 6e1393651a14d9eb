"""Secrets that have to be read again, kept so that a copy of the database does not tell them (security row S28).

AES-GCM with a key made from the application's `SECRET_KEY`; those in `SECRET_KEY_FALLBACKS` still open what they
sealed. What is sealed belongs to one row: moved to another, it does not open.
"""

from __future__ import annotations

import binascii
import functools
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from flask import Flask

from ...errors import ConfigError
from .errors import SecretUnreadable

_VERSION = "1"
_NONCE_BYTES = 12
_INFO = b"flask-understudy.webhooks"


class Seal:
    """Seals and opens the secrets of one application.

    Args:
        app: The application.

    Raises:
        ConfigError: It has no `SECRET_KEY`.
    """

    def __init__(self, app: Flask) -> None:
        if not app.secret_key:
            raise ConfigError("SECRET_KEY is not set, and the secrets of webhooks are kept sealed with it.")
        keys = [app.secret_key, *(app.config.get("SECRET_KEY_FALLBACKS") or ())]
        self._keys = [_derived(key.encode() if isinstance(key, str) else bytes(key)) for key in keys]

    def seal(self, secret: str, owner: str) -> str:
        """Return a secret as it may be stored.

        Args:
            secret: The secret.
            owner: The row it belongs to: its tenant and id.
        """
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + AESGCM(self._keys[0]).encrypt(nonce, secret.encode(), owner.encode())
        return f"{_VERSION}.{urlsafe_b64encode(sealed).decode()}"

    def open(self, sealed: str, owner: str) -> str:
        """Return a secret that was sealed for that row.

        Raises:
            SecretUnreadable: The key is another one, or the row is.
        """
        version, _, text = sealed.partition(".")
        raw = b""
        if version == _VERSION:
            with suppress(binascii.Error):
                raw = urlsafe_b64decode(text)
        for key in self._keys:
            try:
                return AESGCM(key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], owner.encode()).decode()
            except (InvalidTag, ValueError):
                continue
        raise SecretUnreadable(
            "A webhook's secret cannot be read: SECRET_KEY was changed. Put the old one into SECRET_KEY_FALLBACKS, "
            "or rotate the endpoint's secret."
        )


@functools.lru_cache(maxsize=16)
def _derived(key: bytes) -> bytes:
    return HKDF(hashes.SHA256(), length=32, salt=None, info=_INFO).derive(key)
