"""Which of the clocks leads."""

from __future__ import annotations

import threading
import time

from ..ledger import Database
from ..ledger.statements import run

HOLD = """
INSERT INTO understudy_leases (name, holder, until) VALUES ('clock', :holder, <after::lease_ms>)
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
    WHERE understudy_leases.holder = excluded.holder OR understudy_leases.until < <now>
RETURNING holder"""

RELEASE = "DELETE FROM understudy_leases WHERE name = 'clock' AND holder = :holder"


class ClockLease:
    """The leadership over all clocks of one ledger.

    Args:
        database: The ledger's database.
        holder: Who wants to lead.
        seconds: s a leader leads without renewing; renewed three times as often.
    """

    def __init__(self, database: Database, holder: str, seconds: float) -> None:
        self.database = database
        self.holder = holder
        self.seconds = seconds
        self._asked: float | None = None
        self._held = False
        self._closed = False
        self._lock = threading.Lock()  # turns ask from several threads, and one may ask while the process leaves

    def hold(self) -> bool:
        """Take or renew the lease when it is time to; tell whether this clock leads."""
        with self._lock:
            now = time.monotonic()
            if not self._closed and (self._asked is None or now - self._asked >= self.seconds / 3):
                self._held = False
                with self.database.statement() as connection:
                    row = run(connection, HOLD, holder=self.holder, lease_ms=int(self.seconds * 1000)).first()
                self._held, self._asked = row is not None, now
            return self._held

    def release(self) -> None:
        """Let the next clock lead at once."""
        with self._lock:
            if self._held:
                self._held, self._asked = False, None
                with self.database.statement() as connection:
                    run(connection, RELEASE, holder=self.holder)

    def close(self) -> None:
        """Let the next clock lead at once, and never lead again."""
        self._closed = True
        self.release()
