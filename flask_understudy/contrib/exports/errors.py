"""What can go wrong with an export, by name."""

from __future__ import annotations

from ...errors import UnderstudyError


class ExportError(UnderstudyError):
    """Base of every error of `contrib.exports`."""


class UnsupportedExport(ExportError, ValueError):
    """The format, the database or a column's type cannot be exported; the message says what can."""


class ExportTooLarge(ExportError):
    """The file grew beyond the storage's `max_bytes` or beyond its format; nothing of it was kept."""


class StorageUnavailable(ExportError, OSError):
    """The store of the files refuses or does not answer; another try may do."""


class InvalidKey(ExportError, ValueError):
    """A storage key is not one that `new_key` of a storage makes."""


class FileMissing(ExportError, LookupError):
    """The storage has no file under the key."""


class LinkExpired(ExportError):
    """The link was ours, and is too old."""


class LinkInvalid(ExportError):
    """The link was not signed by us, or was signed for another tenant, export or user."""
