"""Our worker inside another process, as a web server has it: `python -m benchmarks.programs.embedded`."""

from __future__ import annotations

import signal
import threading

from benchmarks.programs.ours import app, jobs


def main() -> None:
    """Run jobs until told to stop."""
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    with app.app_context():
        jobs.start_worker()
    over.wait()
    jobs.stop_worker()


if __name__ == "__main__":
    main()
