"""How the measured processes report without disturbing what is measured: counts and times in shared memory.

Each process maps a file of its own in the folder `BENCH_FOLDER`; a tick is a dozen bytes written to memory. The clock
is the wall clock, which all processes of one machine and its database share.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from pathlib import Path

_HEADER = struct.Struct("=Qdd")
_SLOT = struct.Struct("=d")
SLOTS = 4096
SIZE = _HEADER.size + SLOTS * _SLOT.size

_lock = threading.Lock()
_mapped: tuple[int, mmap.mmap] | None = None
_count = 0


def folder() -> Path:
    """Return the folder of this measurement."""
    return Path(os.environ["BENCH_FOLDER"])


def _map() -> mmap.mmap:
    global _mapped, _count
    if _mapped is None or _mapped[0] != os.getpid():
        path = folder() / f"{os.getpid()}.tally"
        path.write_bytes(bytes(SIZE))
        with path.open("r+b") as file:
            _mapped, _count = (os.getpid(), mmap.mmap(file.fileno(), SIZE)), 0
    return _mapped[1]


def tick() -> None:
    """Note that one job ran."""
    global _count
    with _lock:
        memory, now = _map(), time.time()
        _count += 1
        first = now if _count == 1 else _HEADER.unpack_from(memory)[1]
        _HEADER.pack_into(memory, 0, _count, first, now)


def stamp(slot: int) -> None:
    """Note when the job with this number started."""
    now = time.time()
    with _lock:
        _SLOT.pack_into(_map(), _HEADER.size + slot % SLOTS * _SLOT.size, now)


def wait_for_start() -> None:
    """Say that this process has booted, and hold it until the measurement begins."""
    place = folder()
    (place / f"{os.getpid()}.ready").touch()
    while not (place / "start").exists():
        time.sleep(0.002)


def read(place: Path) -> tuple[int, float, float]:
    """Return how many jobs ran in all processes, when the first and when the last of them did."""
    count, first, last = 0, float("inf"), 0.0
    for path in place.glob("*.tally"):
        memory = path.read_bytes()
        if len(memory) < SIZE:
            continue
        n, begun, ended = _HEADER.unpack_from(memory)
        if n:
            count, first, last = count + n, min(first, begun), max(last, ended)
    return count, first, last


def stamped(place: Path, slot: int) -> float:
    """Return when the job with this number started in whichever process had it, or 0."""
    found = 0.0
    for path in place.glob("*.tally"):
        memory = path.read_bytes()
        if len(memory) == SIZE:
            found = max(found, float(_SLOT.unpack_from(memory, _HEADER.size + slot % SLOTS * _SLOT.size)[0]))
    return found
