"""S16, S19, S35: keys of ours alone, whole files or none, for this user only."""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from flask_understudy.contrib.exports import (
    ExportTooLarge,
    FileMissing,
    InvalidKey,
    LocalStorage,
)

KEY = "0123abcd-0123-4567-89ab-0123456789ab"


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "exports")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_file_reads_back_with_its_size_and_checksum(storage: LocalStorage) -> None:
    stored = storage.save(KEY, [b"one\n", b"", b"two\n"])

    with storage.open(KEY) as file:
        assert file.read() == b"one\ntwo\n"
    assert (stored.key, stored.size) == (KEY, 8)
    assert stored.sha256 == hashlib.sha256(b"one\ntwo\n").hexdigest()


def test_file_and_folder_are_for_this_user_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        storage = LocalStorage(tmp_path / "deep" / "exports")
        storage.save(KEY, [b"x"])
    finally:
        os.umask(before)

    assert mode(storage.root) == 0o700
    assert mode(storage.root / KEY) == 0o600


def test_new_key_is_accepted_and_never_the_same(storage: LocalStorage) -> None:
    keys = {storage.new_key() for _ in range(100)}

    assert len(keys) == 100
    assert storage.save(keys.pop(), [b"x"]).size == 1


@pytest.mark.parametrize(
    "key",
    [
        "",
        ".",
        "..",
        "../../etc/passwd",
        "/etc/passwd",
        "%2e%2e%2fpasswd",
        "..%5cpasswd",
        f"../{KEY}",
        f"{KEY}/../{KEY}",
        f"{KEY}\n",
        f"{KEY}\x00.csv",
        f"{KEY}.part",
        KEY.upper(),
        f"{{{KEY}}}",
        KEY.replace("-", ""),
        "con",
        "a" * 300,
        "０" + KEY[1:],
    ],
)
def test_no_other_key_is_accepted(storage: LocalStorage, key: str) -> None:
    with pytest.raises(InvalidKey, match="new_key"):
        storage.open(key)
    with pytest.raises(InvalidKey):
        storage.save(key, [b"x"])
    with pytest.raises(InvalidKey):
        storage.delete(key)
    assert os.listdir(storage.root) == []


def test_symbolic_link_is_not_followed(storage: LocalStorage, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (storage.root / KEY).symlink_to(secret)

    with pytest.raises(FileMissing):
        storage.open(KEY)
    storage.save(KEY, [b"new"])

    assert secret.read_text() == "secret"
    assert not (storage.root / KEY).is_symlink()


def test_pipe_or_folder_under_a_key_is_no_file(storage: LocalStorage) -> None:
    os.mkfifo(storage.root / KEY)
    with pytest.raises(FileMissing):
        storage.open(KEY)

    os.unlink(storage.root / KEY)
    os.mkdir(storage.root / KEY)
    with pytest.raises(FileMissing):
        storage.open(KEY)


def test_error_in_the_content_leaves_nothing(storage: LocalStorage) -> None:
    def content() -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        storage.save(KEY, content())

    assert os.listdir(storage.root) == []


def test_error_leaves_the_earlier_file_whole(storage: LocalStorage) -> None:
    storage.save(KEY, [b"earlier"])

    def content() -> Iterator[bytes]:
        yield b"half"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        storage.save(KEY, content())

    assert storage.open(KEY).read() == b"earlier"


def test_file_beyond_the_limit_is_refused_while_it_is_written(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path, max_bytes=10)
    taken = 0

    def content() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"1234"

    with pytest.raises(ExportTooLarge, match="10 bytes"):
        storage.save(KEY, content())

    assert taken == 3
    assert os.listdir(tmp_path) == []


def test_file_at_the_limit_is_kept(tmp_path: Path) -> None:
    assert LocalStorage(tmp_path, max_bytes=8).save(KEY, [b"1234", b"5678"]).size == 8


FULL_DISK = """
    import resource, signal, sys
    from flask_understudy.contrib.exports import LocalStorage

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        LocalStorage(sys.argv[1]).save(sys.argv[2], (b"x" * 30_000 for _ in range(10)))
    except OSError as error:
        print("refused", error.errno)
"""

KILLED = """
    import os, signal, sys
    from flask_understudy.contrib.exports import LocalStorage

    def content():
        yield b"x" * 100_000
        os.kill(os.getpid(), signal.SIGKILL)

    LocalStorage(sys.argv[1]).save(sys.argv[2], content())
"""


def run(program: str, root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(root), KEY],
        cwd=Path(__file__).parents[4],
        capture_output=True,
        text=True,
        check=False,
    )


def test_full_disk_is_an_error_and_leaves_nothing(storage: LocalStorage) -> None:
    ran = run(FULL_DISK, storage.root)

    assert ran.stdout.startswith("refused"), ran.stderr
    assert os.listdir(storage.root) == []


def test_killed_writer_leaves_no_file_and_the_next_one_starts_anew(storage: LocalStorage) -> None:
    ran = run(KILLED, storage.root)

    assert ran.returncode == -signal.SIGKILL
    with pytest.raises(FileMissing):
        storage.open(KEY)
    storage.save(KEY, [b"whole"])
    assert storage.open(KEY).read() == b"whole"
    assert storage.delete(KEY)
    assert os.listdir(storage.root) == []


def test_deleted_file_is_gone(storage: LocalStorage) -> None:
    storage.save(KEY, [b"x"])

    assert storage.delete(KEY) is True
    assert storage.delete(KEY) is False
    with pytest.raises(FileMissing):
        storage.open(KEY)


def test_sweep_takes_old_halves_only(storage: LocalStorage) -> None:
    storage.save(KEY, [b"whole"])
    old, fresh = storage.root / f"{KEY}.old.part", storage.root / f"{KEY}.fresh.part"
    fresh.write_bytes(b"x")
    old.write_bytes(b"x")
    for path in (old, storage.root / KEY):
        os.utime(path, (time.time() - 90_000,) * 2)

    assert storage.sweep(timedelta(hours=24)) == 1
    assert sorted(os.listdir(storage.root)) == [KEY, fresh.name]


def test_reader_keeps_the_file_it_opened(storage: LocalStorage) -> None:
    storage.save(KEY, [b"first"])
    with storage.open(KEY) as file:
        storage.save(KEY, [b"second"])
        storage.delete(KEY)

        assert file.read() == b"first"
