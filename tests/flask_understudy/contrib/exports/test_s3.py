"""Files in a bucket: whole ones or none, in parts of bounded size, and clear words when S3 says no."""

from __future__ import annotations

import hashlib
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from flask_understudy.contrib.exports import (
    ExportTooLarge,
    FileMissing,
    InvalidKey,
    LocalStorage,
    Storage,
    StorageUnavailable,
    UnsupportedExport,
    s3,
    storage_at,
)
from flask_understudy.contrib.exports.s3 import S3Storage
from tools.servers.sqs import SqsServer

KEY = "0123abcd-0123-4567-89ab-0123456789ab"
MINUTE = timedelta(minutes=1)
MIB = 1024 * 1024


@pytest.fixture
def storage(s3_bucket: str) -> S3Storage:
    return S3Storage(f"s3://{s3_bucket}/exports/of%20ours/")


@pytest.fixture(autouse=True)
def _is_quick_to_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(s3._RETRIES, "max_retries", 1)


def left(server: SqsServer, bucket: str) -> list[str]:
    """The names of all objects, and of uploads that were begun and not ended."""
    client = server.client("s3")
    objects = client.list_objects_v2(Bucket=bucket).get("Contents", [])
    uploads = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return [each["Key"] for each in (*objects, *uploads)]


def pieces(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield bytes([number % 256]) * MIB


def test_file_reads_back_with_its_size_and_checksum(storage: S3Storage, shared_sqs: SqsServer, s3_bucket: str) -> None:
    stored = storage.save(KEY, [b"one\n", b"", b"two\n"])

    with storage.open(KEY) as file:
        assert file.read(3) == b"one"
        assert file.read() == b"\ntwo\n"
        assert file.read() == b""
    assert (stored.key, stored.size) == (KEY, 8)
    assert stored.sha256 == hashlib.sha256(b"one\ntwo\n").hexdigest()
    assert left(shared_sqs, s3_bucket) == [f"exports/of ours/{KEY}"]


@pytest.mark.parametrize("size", [0, 1, s3.PART_BYTES - 1, s3.PART_BYTES, s3.PART_BYTES + 1, 3 * s3.PART_BYTES])
def test_every_size_comes_back_whole(storage: S3Storage, size: int) -> None:
    content = (b"0123456789abcdef" * (size // 16 + 1))[:size]

    stored = storage.save(KEY, (content[start : start + 100_000] for start in range(0, size, 100_000)))

    with storage.open(KEY) as file:
        assert hashlib.sha256(file.read()).hexdigest() == stored.sha256
    assert stored.size == size


def test_file_is_replaced_in_one_step(storage: S3Storage) -> None:
    storage.save(KEY, [b"old"])

    def chunks() -> Iterator[bytes]:
        yield b"new"
        with storage.open(KEY) as file:
            assert file.read() == b"old"

    storage.save(KEY, chunks())

    with storage.open(KEY) as file:
        assert file.read() == b"new"


def test_no_more_than_a_few_parts_are_in_memory(storage: S3Storage) -> None:
    process = psutil.Process()
    storage.save(KEY, pieces(20))
    before, peak = process.memory_info().rss, 0

    def watched() -> Iterator[bytes]:
        nonlocal peak
        for piece in pieces(120):
            peak = max(peak, process.memory_info().rss)
            yield piece

    storage.save(KEY, watched())

    assert peak - before < 60 * MIB


@pytest.mark.parametrize("at", [0, 1, 20])
def test_upload_that_fails_leaves_nothing(storage: S3Storage, shared_sqs: SqsServer, s3_bucket: str, at: int) -> None:
    threads = set()

    def chunks() -> Iterator[bytes]:
        threads.add(threading.get_ident())
        yield from pieces(at)
        raise KeyError("the database is gone")

    with pytest.raises(KeyError, match="the database is gone"):
        storage.save(KEY, chunks())

    assert left(shared_sqs, s3_bucket) == []
    assert threads == {threading.get_ident()}


@pytest.mark.parametrize("at", [0, 20])
def test_error_of_the_content_is_not_taken_for_one_of_the_store(storage: S3Storage, at: int) -> None:
    def chunks() -> Iterator[bytes]:
        yield from pieces(at)
        raise FileNotFoundError("picture.png")

    with pytest.raises(FileNotFoundError, match="picture"):
        storage.save(KEY, chunks())


@pytest.mark.parametrize("most", [3, 20 * MIB])
def test_file_beyond_the_limit_is_not_kept(shared_sqs: SqsServer, s3_bucket: str, most: int) -> None:
    storage = S3Storage(f"s3://{s3_bucket}", max_bytes=most)

    with pytest.raises(ExportTooLarge, match=f"larger than {most} bytes"):
        storage.save(KEY, pieces(30))
    assert storage.save(KEY, [b"abc"]).size == 3

    assert left(shared_sqs, s3_bucket) == [KEY]


def test_server_that_restarts_in_the_middle_fails_the_upload_and_takes_the_next(sqs_server: SqsServer) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", sqs_server.url)
        bucket = sqs_server.create_bucket("bucket")
        storage = S3Storage(f"s3://{bucket}")

        def chunks() -> Iterator[bytes]:
            yield from pieces(20)
            sqs_server.kill()
            sqs_server.start()
            sqs_server.create_bucket("bucket")
            yield from pieces(20)

        with pytest.raises(StorageUnavailable, match=r"'bucket'.*NoSuchUpload"):
            storage.save(KEY, chunks())

        assert left(sqs_server, bucket) == []
        assert storage.save(KEY, pieces(20)).size == 20 * MIB


def test_server_that_is_away_is_said_to_be(sqs_server: SqsServer) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", sqs_server.url)
        storage = S3Storage(f"s3://{sqs_server.create_bucket('bucket')}")
        storage.save(KEY, [b"x"])
        file = storage.open(KEY)
        sqs_server.kill()

        for act in (lambda: storage.save(KEY, [b"y"]), lambda: storage.open(KEY), lambda: storage.delete(KEY)):
            with pytest.raises(StorageUnavailable, match=r"'bucket' cannot be .*AWS_ENDPOINT_URL"):
                act()
        with pytest.raises(StorageUnavailable):
            file.read()


def test_bucket_that_is_missing_is_named(s3_bucket: str) -> None:
    storage = S3Storage("s3://no-such-bucket/exports")

    with pytest.raises(StorageUnavailable, match=r"The bucket 'no-such-bucket' does not exist \(NoSuchBucket\)"):
        storage.save(KEY, [b"x"])
    with pytest.raises(StorageUnavailable, match="does not exist"):
        storage.save(KEY, pieces(20))


def test_refused_keys_are_said_to_be_without_showing_them(
    sqs_server: SqsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", sqs_server.url)
    bucket = sqs_server.create_bucket("bucket")
    reader = sqs_server.account("s3:GetObject", "s3:ListBucket")
    sqs_server.enforce()
    wrong = {"AWS_ACCESS_KEY_ID": "AKIAWRONGWRONGWRONG1", "AWS_SECRET_ACCESS_KEY": "very-secret-key"}
    for keys, code in ((wrong, "InvalidAccessKeyId"), (reader, "AccessDenied")):
        for name, value in keys.items():
            monkeypatch.setenv(name, value)

        with pytest.raises(StorageUnavailable) as caught:
            S3Storage(f"s3://{bucket}").save(KEY, pieces(20))

        message = str(caught.value)
        assert "'bucket' cannot be written to: the keys in AWS_ACCESS_KEY_ID" in message
        assert code in message
        assert not any(value in message for value in keys.values())
        assert caught.value.__suppress_context__


def test_deleted_file_is_gone(storage: S3Storage) -> None:
    storage.save(KEY, [b"x"])

    assert storage.delete(KEY) is True
    assert storage.delete(KEY) is False
    with pytest.raises(FileMissing, match=KEY):
        storage.open(KEY)
    assert storage.sweep() == 0


@pytest.mark.parametrize("key", ["", "../x", "a/b", KEY.upper(), KEY + "\n", "%2e%2e"])
def test_only_keys_of_ours_are_taken(storage: S3Storage, key: str) -> None:
    for act in (
        lambda: storage.save(key, [b"x"]),
        lambda: storage.open(key),
        lambda: storage.delete(key),
        lambda: storage.link(key, MINUTE, "a", "b"),
    ):
        with pytest.raises(InvalidKey):
            act()


def test_link_opens_the_file_for_a_while_under_its_name(storage: S3Storage) -> None:
    storage.save(KEY, [b"a,b\n"], filename="Größen.csv", media_type="text/csv; charset=utf-8")

    url = storage.link(KEY, MINUTE, "Größen.csv", "text/csv; charset=utf-8")

    assert url is not None
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.read() == b"a,b\n"
        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert "filename*=UTF-8''Gr%C3%B6%C3%9Fen.csv" in answer.headers["Content-Disposition"]
    assert "X-Amz-Expires=60" in url
    assert url.partition("X-Amz-Signature=")[2] != "test"


def test_there_is_no_link_that_would_give_the_file_another_name(storage: S3Storage, tmp_path: Path) -> None:
    storage.save(KEY, [b"x"], filename="a.csv", media_type="text/csv")

    assert storage.link(KEY, MINUTE, "b.csv", "text/csv") is None
    assert storage.link(KEY, MINUTE, "a.csv", "text/html") is None
    with pytest.raises(FileMissing):
        storage.link(storage.new_key(), MINUTE, "a.csv", "text/csv")
    assert LocalStorage(tmp_path).link(KEY, MINUTE, "a.csv", "text/csv") is None


def test_storage_is_found_by_its_url(s3_bucket: str, tmp_path: Path) -> None:
    for url in (tmp_path / "a b", str(tmp_path / "a b"), f"file://{tmp_path}/a%20b", f"file://localhost{tmp_path}/a b"):
        found = storage_at(url, max_bytes=3)
        assert isinstance(found, LocalStorage)
        assert (found.root, found.max_bytes) == ((tmp_path / "a b").resolve(), 3)
    bucket: Any = storage_at(f"s3://{s3_bucket}/prefix", max_bytes=3)
    assert isinstance(bucket, S3Storage)
    assert (bucket.bucket, bucket.max_bytes) == (s3_bucket, 3)
    typed: Storage = bucket
    assert typed.save(KEY, [b"abc"]).size == 3


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://host/secret", "'ftp' is no storage; there are a folder, file:///folder and s3://bucket/prefix"),
        ("file://exports/a", "three slashes"),
        ("file:///", "three slashes"),
        ("s3://", "named by s3://bucket/prefix"),
        ("s3:///prefix", "named by s3://bucket/prefix"),
        ("s3://KEY:secret@bucket/prefix", "keys are in AWS_ACCESS_KEY_ID"),
        ("s3://bucket/prefix?region=secret", "has a prefix and no more"),
    ],
)
def test_other_urls_are_refused_without_showing_them(url: str, message: str) -> None:
    with pytest.raises(UnsupportedExport) as caught:
        storage_at(url)

    assert message in str(caught.value)
    assert "secret" not in str(caught.value).lower().replace("secret_access_key", "")


@pytest.mark.requirement("C21")
def test_s3_without_its_package_is_refused_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "flask_understudy.contrib.exports.s3")
    monkeypatch.setitem(sys.modules, "obstore", None)

    with pytest.raises(UnsupportedExport, match=r"pip install 'flask-understudy\[s3\]'"):
        storage_at("s3://bucket")
