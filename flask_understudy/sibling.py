"""The sibling of a worker process: keeps its lease while it lives, and reports at once when it dies.

A thread cannot do that: C code that holds the interpreter's lock would make a live worker look dead. It is run as a
script, imports nothing but the standard library and the database's driver, and is told what to do in one line of JSON
on its standard input. The end of that input is the worker's death; the line `stop` before it, an orderly end.

The worker keeps the ids of the jobs whose code is running in a small shared file, so the report can name them, and the
rescue blames nobody else.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import time
from pathlib import Path
from typing import Any

SLOT_BYTES = 64
SLOTS = 256

_NOW = {"postgresql": "clock_timestamp()", "sqlite": "(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')"}
_AFTER = {
    "postgresql": "clock_timestamp() + %s * interval '1 millisecond'",
    "sqlite": "(strftime('%Y-%m-%d %H:%M:%f', 'now', (? / 1000.0) || ' seconds') || '000')",
}
_MARK = {"postgresql": "%s", "sqlite": "?"}


class Ledger:
    """A connection of the driver's own, opened anew after a failure.

    Args:
        task: What the worker said.
    """

    def __init__(self, task: dict[str, Any]) -> None:
        self.task = task
        self.dialect: str = task["dialect"]
        self._connection: Any = None

    def execute(self, sql: str, values: tuple[Any, ...]) -> bool:
        """Run one statement and commit it; tell whether that worked."""
        try:
            if self._connection is None:
                self._connection = self._connect()
            self._connection.execute(sql, values)
            self._connection.commit()
        except Exception:  # whatever the driver raises, the next turn tries again; the worker's own thread logs it
            self._connection = None
            return False
        return True

    def _connect(self) -> Any:
        if self.dialect == "sqlite":
            import sqlite3  # noqa: PLC0415 - only the driver that is needed

            return sqlite3.connect(self.task["arguments"][0], timeout=10)
        import psycopg  # noqa: PLC0415

        return psycopg.connect(*self.task["arguments"], **self.task["options"])

    def renew(self) -> bool:
        """Renew the worker's lease."""
        mark, after = _MARK[self.dialect], _AFTER[self.dialect]
        sql = f"UPDATE understudy_workers SET lease_until = {after} WHERE id = {mark}"  # noqa: S608 - constants above
        return self.execute(sql, (self.task["lease_ms"], self.task["worker"]))

    def report(self, suspects: list[str]) -> bool:
        """End the lease, name the jobs that were running, and let another clock lead if this one did."""
        mark, after = _MARK[self.dialect], _AFTER[self.dialect]
        sql = f"UPDATE understudy_workers SET lease_until = {after}, suspects = {mark} WHERE id = {mark}"  # noqa: S608
        lead = f"DELETE FROM understudy_leases WHERE holder = {mark}"  # noqa: S608
        reported = self.execute(sql, (-1, json.dumps(suspects), self.task["worker"]))
        return reported and self.execute(lead, (self.task["worker"],))


def running(shared: mmap.mmap) -> list[str]:
    """Return the ids of the jobs that run, by the shared file."""
    slots = (shared[i * SLOT_BYTES : (i + 1) * SLOT_BYTES].rstrip(b"\0") for i in range(SLOTS))
    return [slot.decode() for slot in slots if slot]


def is_frozen(pid: int) -> bool:
    """Whether a process is stopped, and so cannot be said to work."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"T", "t"}
    except OSError:
        return False


def main() -> None:
    """Watch over the worker that started this."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return
        line += byte
    task = json.loads(line)
    with open(task["shared"], "r+b") as file:
        shared = mmap.mmap(file.fileno(), SLOT_BYTES * SLOTS)
    os.unlink(task["shared"])
    ledger, every, ordered = Ledger(task), task["lease_ms"] / 3000, b""
    due = time.monotonic() + every  # the worker has just written its lease; loading the driver can wait
    while True:
        if select.select([0], [], [], min(1.0, every))[0]:
            heard = os.read(0, 100)
            ordered += heard
            if not heard:
                break
        now = time.monotonic()
        if now >= due and not is_frozen(task["pid"]):
            due = now + (every if ledger.renew() else 0.5)
    if b"stop" in ordered:
        return
    deadline = time.monotonic() + task["lease_ms"] / 1000
    while not ledger.report(running(shared)) and time.monotonic() < deadline:
        time.sleep(0.5)


if __name__ == "__main__":
    main()
