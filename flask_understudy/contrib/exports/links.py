"""Links that open one file for one person for a few minutes, and the name it is saved under."""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import quote

from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer

from .errors import LinkExpired, LinkInvalid

#: No link lives longer than this.
LONGEST = timedelta(minutes=15)

_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
_LONGEST_NAME = 120


class SignedLinks:
    """Signs and checks the token of a download link: a tenant's export, for one user.

    A link is one half of the permission: check as well that the caller may see the export, so that
    a link which was passed on opens nothing.

    Args:
        keys: The secret, or several, oldest first: each is accepted, the last one signs.
        salt: Keeps these tokens apart from others made with the same secret.
        max_age: How long a link is valid, 15 minutes at the most and by default.

    Raises:
        ValueError: A key is empty, or `max_age` is out of range.
    """

    def __init__(
        self,
        keys: str | Sequence[str],
        *,
        salt: str = "flask-understudy.exports",
        max_age: timedelta = LONGEST,
    ) -> None:
        ring = [keys] if isinstance(keys, str) else list(keys)
        if not ring or not all(ring):
            raise ValueError("A link is signed with a secret, and none was given.")
        if not timedelta(0) < max_age <= LONGEST:
            raise ValueError(f"max_age is {max_age}; a link is valid for up to {LONGEST}.")
        self.max_age = max_age
        self._serializer = URLSafeTimedSerializer(
            ring,
            salt=salt,
            signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
        )

    def sign(self, *, tenant: str, export: str, user: str) -> str:
        """Return a token for the link, made of URL-safe characters."""
        return str(self._serializer.dumps([tenant, export, user]))

    def check(self, token: str, *, tenant: str, export: str, user: str) -> None:
        """Let a token pass that was signed for just these three and is not too old.

        Raises:
            LinkExpired: The token is right but older than `max_age`.
            LinkInvalid: The token is wrong, altered or somebody else's.
        """
        try:
            signed = self._serializer.loads(token, max_age=int(self.max_age.total_seconds()))
        except SignatureExpired:
            raise LinkExpired("The link has expired; ask for a new one.") from None
        except BadSignature:
            raise LinkInvalid("The link was not made here, or was altered.") from None
        wanted = "\0".join((tenant, export, user)).encode()
        if not hmac.compare_digest("\0".join(map(str, signed)).encode(), wanted):
            raise LinkInvalid("The link was made for another export or another user.")


def safe_name(name: str, fallback: str = "export") -> str:
    """Return `name` as a file name that means no harm on any system.

    Folders, control and direction-changing characters, quotes and the names of devices go; what is
    left is cut to 120 characters, its ending kept.
    """
    name = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    kept = "".join(
        character
        for character in name
        if unicodedata.category(character)[0] != "C" and character not in '"<>:|?*;\u2028\u2029'
    )
    kept = kept.strip(" .")
    if not kept.strip("_-. "):
        return fallback
    if _RESERVED.fullmatch(kept):
        kept = f"_{kept}"
    stem, dot, ending = kept.rpartition(".")
    if len(kept) > _LONGEST_NAME and dot and len(ending) <= 10:
        return f"{stem[: _LONGEST_NAME - len(ending) - 1]}.{ending}"
    return kept[:_LONGEST_NAME]


def content_disposition(name: str) -> str:
    """Return the `Content-Disposition` that saves a download as `name` (RFC 6266, RFC 5987)."""
    safe = safe_name(name)
    plain = unicodedata.normalize("NFKD", safe).encode("ascii", "ignore").decode()
    header = f'attachment; filename="{safe_name(plain)}"'
    if plain != safe:
        header += f"; filename*=UTF-8''{quote(safe, safe='')}"
    return header
