"""One party's side: `python -m benchmarks.peers MODULE prepare|fill N|rate N|work`."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from types import FrameType

TERM_SECONDS = 10


def main() -> int:
    """Do what the command line says."""
    party, verb, *rest = sys.argv[1:]
    if verb == "work-in":
        return _work_in(party, int(rest[0]))
    module = importlib.import_module(f"benchmarks.peers.{party}")
    if verb == "prepare":
        getattr(module, "prepare", lambda: None)()
    elif verb == "fill":
        module.fill(int(rest[0]))
    elif verb == "rate":
        print(json.dumps(_rate(module.send, int(rest[0]))))
    elif verb == "work":
        module.work()
    else:
        raise SystemExit(f"{verb!r} is none of prepare, fill, rate, work, work-in")
    return 0


def _rate(send: object, times: int) -> float:
    assert callable(send)
    for number in range(10):
        send(number)
    begun = time.perf_counter()
    for number in range(times):
        send(number)
    return times / (time.perf_counter() - begun)


def _work_in(party: str, processes: int) -> int:
    """Run so many worker processes until told to stop."""
    workers = [
        subprocess.Popen([sys.executable, "-m", "benchmarks.peers", party, "work"], env=os.environ)
        for _ in range(processes)
    ]

    def stop(number: int, _: FrameType | None) -> None:
        for worker in workers:
            worker.send_signal(number)

    signal.signal(signal.SIGTERM, stop)
    for worker in workers:
        try:
            worker.wait()
        except subprocess.TimeoutExpired:
            worker.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
