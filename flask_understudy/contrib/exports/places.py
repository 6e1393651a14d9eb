"""A storage by its URL: what an application has in its settings."""

from __future__ import annotations

import importlib
import os
from urllib.parse import unquote, urlsplit

from .errors import UnsupportedExport
from .storage import LocalStorage, Storage


def storage_at(url: str | os.PathLike[str], *, max_bytes: int | None = None) -> Storage:
    """Return the storage that a URL names.

    Args:
        url: A folder, as a path or as `file:///folder`, or `s3://bucket/prefix`. A bucket's keys, region
            and endpoint come from the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
            `AWS_REGION`, `AWS_ENDPOINT_URL`), never from the URL.
        max_bytes: The largest file that is kept; None for no limit.

    Raises:
        UnsupportedExport: The URL is none of these, or the package for S3 is missing.
    """
    text = os.fspath(url)
    if "://" not in text:
        return LocalStorage(text, max_bytes=max_bytes)
    parts = urlsplit(text)
    if parts.scheme == "file":
        if parts.netloc not in {"", "localhost"} or parts.path in {"", "/"} or parts.query or parts.fragment:
            raise UnsupportedExport("A folder is named by file:///folder, with three slashes, or by its path.")
        return LocalStorage(unquote(parts.path), max_bytes=max_bytes)
    if parts.scheme == "s3":
        return _bucket(text, max_bytes)
    raise UnsupportedExport(
        f"{parts.scheme[:20]!r} is no storage; there are a folder, file:///folder and s3://bucket/prefix."
    )


def _bucket(url: str, max_bytes: int | None) -> Storage:
    try:
        module = importlib.import_module(f"{__package__}.s3")
    except ImportError:
        raise UnsupportedExport("S3 needs a package: pip install 'flask-understudy[s3]'") from None
    storage: Storage = module.S3Storage(url, max_bytes=max_bytes)
    return storage
