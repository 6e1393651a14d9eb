"""Where files are kept, and files on the local disk: whole or not there, readable by this user only.

A file on the disk is written under another name, synced to the disk and renamed; a crash leaves at most a
`.part` that `sweep` removes. Its name is a key that we make, never one that a caller gives, and
every access goes through the folder's own descriptor, so neither a name nor a symbolic link leads
out of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import stat
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, Protocol

from .errors import ExportTooLarge, FileMissing, InvalidKey

_KEY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PART = ".part"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as it was written.

    Attributes:
        key: What a storage's `open` takes.
        size: Length in bytes.
        sha256: Checksum of the content, in hexadecimal.
    """

    key: str
    size: int
    sha256: str


def new_key() -> str:
    """Return a fresh key: a random UUID."""
    return str(uuid.uuid4())


def checked_key(key: str) -> str:
    """Return `key` when `new_key` could have made it.

    Raises:
        InvalidKey: It could not.
    """
    if not _KEY.fullmatch(key):
        raise InvalidKey(f"{key[:60]!r} is no storage key; new_key() makes them.")
    return key


class Storage(Protocol):
    """What every storage does; `LocalStorage` and `S3Storage` say what it means there."""

    max_bytes: int | None

    @staticmethod
    def new_key() -> str:
        """Return a fresh key."""

    def save(
        self, key: str, chunks: Iterable[bytes], *, filename: str | None = None, media_type: str | None = None
    ) -> StoredFile:
        """Write a file."""

    def open(self, key: str) -> BinaryIO:
        """Open a file for reading."""

    def delete(self, key: str) -> bool:
        """Delete a file; return whether it was there."""

    def sweep(self, older_than: timedelta = ...) -> int:
        """Delete half-written files; return how many."""

    def link(self, key: str, expires_in: timedelta, filename: str, media_type: str) -> str | None:
        """Return a URL that opens the file without this process; None where there is none."""


class LocalStorage:
    """A folder of files, each under a key.

    Args:
        root: The folder; made with mode 0700 when it is missing.
        max_bytes: The largest file that is kept; None for no limit.
    """

    def __init__(self, root: str | os.PathLike[str], *, max_bytes: int | None = None) -> None:
        Path(root).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root = Path(root).resolve(strict=True)
        self.max_bytes = max_bytes

    @staticmethod
    def new_key() -> str:
        """Return a fresh key: a random UUID."""
        return new_key()

    def save(
        self, key: str, chunks: Iterable[bytes], *, filename: str | None = None, media_type: str | None = None
    ) -> StoredFile:
        """Write a file; an earlier one under the same key is replaced in one step.

        Args:
            key: As `new_key` makes it.
            chunks: The content; what it raises ends the writing, and nothing is kept.
            filename: Of no use here: whoever sends the file gives it a name.
            media_type: Likewise.

        Raises:
            InvalidKey: `key` is no key.
            ExportTooLarge: The content is longer than `max_bytes`.
            OSError: The disk is full or cannot be written to.
        """
        part = f"{checked_key(key)}.{secrets.token_hex(4)}{_PART}"
        digest, size = hashlib.sha256(), 0
        with self._folder() as folder:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            handle = os.open(part, flags, 0o600, dir_fd=folder)
            try:
                with open(handle, "wb", buffering=0) as file:
                    for chunk in chunks:
                        size += len(chunk)
                        if self.max_bytes is not None and size > self.max_bytes:
                            raise ExportTooLarge(f"The file is larger than {self.max_bytes} bytes.")
                        _write(file.fileno(), chunk)
                        digest.update(chunk)
                    os.fsync(file.fileno())
                os.rename(part, key, src_dir_fd=folder, dst_dir_fd=folder)
                os.fsync(folder)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(part, dir_fd=folder)
                raise
        return StoredFile(key, size, digest.hexdigest())

    def open(self, key: str) -> BinaryIO:
        """Open a file for reading; the caller closes it.

        Raises:
            InvalidKey: `key` is no key.
            FileMissing: There is no such file, or what is there is no regular file of ours.
        """
        with self._folder() as folder:
            try:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                handle = os.open(checked_key(key), flags, dir_fd=folder)
            except OSError:
                raise FileMissing(f"There is no file under the key {key!r}.") from None
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise FileMissing(f"What is under the key {key!r} is no file of ours.")
        return open(handle, "rb")

    def delete(self, key: str) -> bool:
        """Delete a file and what half-written attempts at it left; return whether it was there.

        Raises:
            InvalidKey: `key` is no key.
        """
        checked_key(key)
        with self._folder() as folder:
            for name in os.listdir(folder):
                if name.startswith(f"{key}.") and name.endswith(_PART):
                    _unlink(name, folder)
            return _unlink(key, folder)

    def sweep(self, older_than: timedelta = timedelta(hours=24)) -> int:
        """Delete half-written files untouched for `older_than`; return how many."""
        limit = time.time() - older_than.total_seconds()
        swept = 0
        with self._folder() as folder:
            for name in os.listdir(folder):
                if name.endswith(_PART):
                    with contextlib.suppress(FileNotFoundError):
                        if os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime < limit:
                            swept += _unlink(name, folder)
        return swept

    def link(self, key: str, expires_in: timedelta, filename: str, media_type: str) -> None:
        """Return None: nobody but this machine can open the file."""

    @contextlib.contextmanager
    def _folder(self) -> Iterator[int]:
        handle = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            yield handle
        finally:
            os.close(handle)


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _unlink(name: str, folder: int) -> bool:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True
