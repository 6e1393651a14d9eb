"""Programs as one: started anew when they die, stopped in good order, nothing left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tools.servers.guard import end_family, guard
from tools.waiting import wait_for

Supervise = Callable[..., subprocess.Popen[str]]

SOURCE = """
import logging, sys
from flask_understudy.cli.supervisor import Program, Supervisor
logging.basicConfig(level="INFO", stream=sys.stdout, format="%(message)s")
programs = [Program(f"Program {{i}}", [sys.executable, "-c", code]) for i, code in enumerate({codes!r})]
sys.exit(Supervisor(programs, grace_seconds={grace}, first_pause_seconds=0.05).run())
"""

WAITS = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print('up', flush=True)
time.sleep(60)
"""
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    """Start a supervisor of programs; its output is in `log`."""
    started: list[subprocess.Popen[str]] = []

    def start(*codes: str, grace: float = 10) -> subprocess.Popen[str]:
        with (tmp_path / "log").open("w") as log:
            source = SOURCE.format(codes=codes, grace=grace)
            process = subprocess.Popen([sys.executable, "-c", source], stdout=log, stderr=log, text=True)
        guard.watch_process(process.pid)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            end_family(psutil.Process(process.pid))
            process.wait()
        guard.forget_process(process.pid)


@pytest.fixture
def said(tmp_path: Path) -> Callable[[], str]:
    return lambda: (tmp_path / "log").read_text()


def ups(said: Callable[[], str], n: int) -> None:
    wait_for(lambda: said().count("up\n") >= n, f"{n} programs to be up", timeout_seconds=20)


@pytest.mark.requirement("R01")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_all_programs_in_good_order(
    supervise: Supervise, said: Callable[[], str], number: signal.Signals
) -> None:
    process = supervise(WAITS, WAITS)
    ups(said, 2)
    family = psutil.Process(process.pid).children(recursive=True)

    process.send_signal(number)

    assert process.wait(10) == 0
    assert len(family) == 2
    assert not any(child.is_running() for child in family)
    assert said().count("ended with 0.") == 2


@pytest.mark.requirement("R01")
def test_program_that_dies_is_started_anew(supervise: Supervise, said: Callable[[], str]) -> None:
    process = supervise(WAITS, WAITS)
    ups(said, 2)
    first, second = psutil.Process(process.pid).children()

    first.kill()

    ups(said, 3)
    assert second.is_running()
    assert "ended with -9" in said()
    process.terminate()
    assert process.wait(10) == 0


@pytest.mark.requirement("R01")
@pytest.mark.parametrize("code", ["raise SystemExit(3)", "raise SystemExit(78)"])
def test_program_that_cannot_run_ends_everything_with_a_failure(
    supervise: Supervise, said: Callable[[], str], code: str
) -> None:
    process = supervise(WAITS, code)

    assert process.wait(20) == 1
    assert "Everything is stopped." in said()
    assert said().count("Started Program 1") == (1 if "78" in code else 5)


@pytest.mark.requirement("R01")
def test_program_that_does_not_stop_is_killed(supervise: Supervise, said: Callable[[], str]) -> None:
    process = supervise(STUBBORN, grace=0.5)
    ups(said, 1)

    process.terminate()

    assert process.wait(10) == 1
    assert "did not end within" in said()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems do not let a process adopt orphans")
@pytest.mark.requirement("R01")
def test_orphans_are_adopted_and_buried(supervise: Supervise, said: Callable[[], str]) -> None:
    forks = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(60)\n"
    leaves_an_orphan = forks + "    os._exit(0)\n"
    process = supervise(leaves_an_orphan + WAITS)
    ups(said, 1)
    supervisor = psutil.Process(process.pid)
    wait_for(lambda: len(supervisor.children()) == 2, "the orphan to be adopted")
    orphan = next(child for child in supervisor.children() if f"process {child.pid}." not in said())

    orphan.kill()

    wait_for(lambda: not psutil.pid_exists(orphan.pid), "the orphan to be buried")
    process.terminate()
    assert process.wait(10) == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems do not tell children of a death")
@pytest.mark.requirement("R01")
def test_programs_end_with_a_supervisor_that_is_killed(supervise: Supervise, said: Callable[[], str]) -> None:
    process = supervise(WAITS, WAITS)
    ups(said, 2)
    family = psutil.Process(process.pid).children(recursive=True)

    process.kill()
    process.wait(10)

    gone, alive = psutil.wait_procs(family, timeout=10)
    assert len(gone) == 2
    assert not alive
