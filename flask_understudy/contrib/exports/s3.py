"""Files in a bucket of S3, or of another store with its API: whole or not there.

A large file goes up in parts, and is there when the last one is. What fails on the way is taken back;
only a process that is killed leaves parts behind, which nobody sees and a lifecycle rule of the bucket
(`AbortIncompleteMultipartUpload`) deletes. Keys, region, endpoint come from the environment, as for
every tool of AWS: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import chain
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from .errors import ExportTooLarge, FileMissing, StorageUnavailable, UnsupportedExport
from .links import content_disposition
from .storage import StoredFile, checked_key, new_key

#: Bytes of a part; two of them are on their way at a time.
PART_BYTES = 8 * 1024 * 1024

_READ_BYTES = 4 * 1024 * 1024
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_CLIENT: Any = {"allow_http": True, "connect_timeout": "5s", "timeout": "60s"}
_RETRIES: Any = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=30),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2},
}


class S3Storage:
    """A bucket's files below a prefix, each under a key.

    Args:
        url: `s3://bucket/prefix`; the prefix may be empty.
        max_bytes: The largest file that is kept; None for no limit.

    Raises:
        UnsupportedExport: The URL is none of a bucket.
    """

    def __init__(self, url: str, *, max_bytes: int | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme != "s3" or not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", parts.netloc):
            raise UnsupportedExport("A bucket is named by s3://bucket/prefix; its keys are in AWS_ACCESS_KEY_ID etc.")
        if parts.query or parts.fragment:
            raise UnsupportedExport("The URL of a bucket has a prefix and no more: s3://bucket/prefix")
        self.bucket = parts.netloc
        self.max_bytes = max_bytes
        prefix = unquote(parts.path).strip("/") or None
        with self._named("configured"):
            self._store = S3Store(self.bucket, prefix=prefix, client_options=_CLIENT, retry_config=_RETRIES)

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
            filename: What a download by `link` is saved as.
            media_type: What a download by `link` is.

        Raises:
            InvalidKey: `key` is no key.
            ExportTooLarge: The content is longer than `max_bytes`.
            StorageUnavailable: The store does not take it; the message says why.
        """
        checked_key(key)
        digest, size = hashlib.sha256(), 0
        fault: Exception | None = None

        def counted() -> Iterator[bytes]:
            nonlocal size, fault
            try:
                for chunk in chunks:
                    size += len(chunk)
                    if self.max_bytes is not None and size > self.max_bytes:
                        raise ExportTooLarge(f"The file is larger than {self.max_bytes} bytes.")
                    digest.update(chunk)
                    yield chunk
            except Exception as error:
                fault = error
                raise

        try:
            self._put(key, counted(), _attributes(filename, media_type))
        except StorageUnavailable:
            if fault is not None:
                raise fault from None  # an error of the content's own, such as a file that it reads
            raise
        return StoredFile(key, size, digest.hexdigest())

    def _put(self, key: str, chunks: Iterator[bytes], attributes: dict[str, str]) -> None:
        with self._named("written to"):
            first = _first(chunks)
            if len(first) < PART_BYTES:
                obstore.put(self._store, key, first, attributes=attributes, use_multipart=False)
                return
            obstore.put(
                self._store,
                key,
                chain([first], chunks),
                attributes=attributes,
                use_multipart=True,
                chunk_size=PART_BYTES,
                max_concurrency=2,
            )

    def open(self, key: str) -> BinaryIO:
        """Open a file for reading, a few MiB at a time; the caller closes it.

        Raises:
            InvalidKey: `key` is no key.
            FileMissing: There is no such file.
            StorageUnavailable: The store does not give it; the message says why.
        """
        checked_key(key)
        with self._named("read", key):
            reader = obstore.open_reader(self._store, key, buffer_size=_READ_BYTES)
        return io.BufferedReader(_Body(self, reader), 256 * 1024)

    def delete(self, key: str) -> bool:
        """Delete a file; return whether it was there.

        Raises:
            InvalidKey: `key` is no key.
            StorageUnavailable: The store does not delete it; the message says why.
        """
        checked_key(key)
        try:
            with self._named("deleted from", key):
                obstore.head(self._store, key)
                obstore.delete(self._store, key)
        except FileMissing:
            return False
        return True

    def sweep(self, older_than: timedelta = timedelta(hours=24)) -> int:
        """Return 0: what a killed process left is for the bucket's lifecycle rule."""
        return 0

    def link(self, key: str, expires_in: timedelta, filename: str, media_type: str) -> str | None:
        """Return a presigned URL from which anybody can fetch the file for a while.

        Args:
            key: The file.
            expires_in: How long the URL works, a second at the least.
            filename: The name it is to be saved under.
            media_type: What it is to be sent as.

        Returns:
            The URL; None when the file was not saved under this name and type, so that it would come
            with others: then it is to be read with `open`.

        Raises:
            InvalidKey: `key` is no key.
            FileMissing: There is no such file.
            StorageUnavailable: The store does not say; the message says why.
        """
        checked_key(key)
        with self._named("read", key):
            found = obstore.get(self._store, key, options={"head": True}).attributes
            if any(found.get(name) != value for name, value in _attributes(filename, media_type).items()):
                return None
            return obstore.sign(self._store, "GET", key, expires_in)

    @contextlib.contextmanager
    def _named(self, verb: str, key: str = "") -> Iterator[None]:
        """Turn the errors of the store into ours; theirs have pages of XML and an access key in them."""
        try:
            yield
        except FileNotFoundError as error:
            code = _code(error)
            if key and code != "NoSuchBucket":
                raise FileMissing(f"There is no file under the key {key!r}.") from None
            raise StorageUnavailable(f"The bucket {self.bucket!r} does not exist ({code}).") from None
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise StorageUnavailable(
                f"The bucket {self.bucket!r} cannot be {verb}: the keys in AWS_ACCESS_KEY_ID and "
                f"AWS_SECRET_ACCESS_KEY are wrong or lack the permission ({_code(error)})."
            ) from None
        except (BaseError, OSError) as error:
            raise StorageUnavailable(
                f"The bucket {self.bucket!r} cannot be {verb}: {_code(error)}; "
                "AWS_ENDPOINT_URL and AWS_REGION say where it is."
            ) from None


class _Body(io.RawIOBase):
    """A file of the store that is read as one of the disk is."""

    def __init__(self, storage: S3Storage, reader: Any) -> None:
        self._storage = storage
        self._reader = reader

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._storage._named("read"):
            data = bytes(self._reader.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)


def _attributes(filename: str | None, media_type: str | None) -> dict[str, str]:
    found = {}
    if filename is not None:
        found["Content-Disposition"] = content_disposition(filename)
    if media_type is not None:
        found["Content-Type"] = media_type
    return found


def _first(chunks: Iterator[bytes]) -> bytes:
    """Return the first part, or all there is."""
    pieces: list[bytes] = []
    size = 0
    for chunk in chunks:
        pieces.append(chunk)
        size += len(chunk)
        if size >= PART_BYTES:
            break
    return b"".join(pieces)


def _code(error: Exception) -> str:
    """Return what the store called the fault, or what befell the connection."""
    found = _CODE.search(str(error))
    if found:
        return found[1]
    return "the credentials are missing" if "redential" in str(error) else "the store does not answer as it should"
