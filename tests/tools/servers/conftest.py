from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

SEGMENTS = Path("/proc/sysvipc/shm")


@pytest.fixture
def is_shared_memory_left() -> Callable[[str], bool]:
    """Tell whether the shared memory is there that a PostgreSQL noted in its postmaster.pid."""
    if not SEGMENTS.exists():
        pytest.skip("this system does not list its shared memory")

    def ask(notes: str) -> bool:
        id_ = notes.splitlines()[6].split()[-1]
        return any(line.split()[1] == id_ for line in SEGMENTS.read_text().splitlines())

    return ask
