"""Starting workers as real commands, and knowing what they have done and used."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp

import psutil

from benchmarks.arena import PYTHON, ROOT
from benchmarks.programs import tally

BOOT_SECONDS = 30.0
RUN_SECONDS = 120.0
PROCESSES = 2
THREADS = 8


class Fleet:
    """The worker processes of one party for one measurement; a context manager.

    Args:
        command: What to run, from the project's root.
        environ: Added to the environment.
        processes: How many processes will say that they have booted.
        gate: Whether they wait for `release()` before they take jobs.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        environ: Mapping[str, str],
        *,
        processes: int = PROCESSES,
        gate: bool = True,
    ) -> None:
        """Prepare; nothing runs yet."""
        self.folder = Path(mkdtemp(prefix="understudy-fleet-"))
        self.processes = processes
        self._command = [str(word) for word in command]
        self._environ = {
            **{k: v for k, v in os.environ.items() if k != "REDIS_URL"},
            **environ,
            "BENCH_FOLDER": str(self.folder),
            "PYTHONPATH": str(ROOT),
            **({"BENCH_GATE": "1"} if gate else {}),
        }
        self._gate = gate
        self._cpu_before = 0.0

    def __enter__(self) -> Fleet:
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environ,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            if self._gate:
                self.wait_until(lambda: len(list(self.folder.glob("*.ready"))) >= self.processes, "boot", BOOT_SECONDS)
        except BaseException:
            self.__exit__()
            raise
        self._cpu_before = self.cpu_seconds()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """What the workers wrote."""
        return (self.folder / "log").read_text(errors="replace")

    def members(self) -> list[psutil.Process]:
        """The command's processes."""
        parent = psutil.Process(self._process.pid)
        return [parent, *parent.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """CPU seconds used so far by all processes that run."""
        total = 0.0
        for process in self.members():
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
        return total

    def release(self) -> None:
        """Let the workers begin."""
        self._cpu_before = self.cpu_seconds()
        (self.folder / "start").touch()

    def used(self) -> float:
        """CPU seconds since `release()`."""
        return self.cpu_seconds() - self._cpu_before

    def wait_for_jobs(self, count: int, timeout: float = RUN_SECONDS) -> tuple[float, float]:
        """Wait until so many jobs ran; return when the first and the last one did."""
        self.wait_until(lambda: tally.read(self.folder)[0] >= count, f"{count} jobs", timeout)
        _, first, last = tally.read(self.folder)
        return first, last

    def wait_for_stamp(self, slot: int, timeout: float = 30.0) -> float:
        """Wait until the job with this number started; return when."""
        self.wait_until(lambda: tally.stamped(self.folder, slot) > 0, f"job {slot}", timeout)
        return tally.stamped(self.folder, slot)

    def wait_until(self, fact: Callable[[], object], what: str, timeout: float) -> None:
        """Ask again and again until it is so; the workers must live meanwhile."""
        deadline = time.monotonic() + timeout
        while not fact():
            if self._process.poll() is not None or time.monotonic() > deadline:
                ran = tally.read(self.folder)[0]
                raise RuntimeError(f"{' '.join(self._command)}: no {what}; {ran} jobs ran.\n{self.log()[-3000:]}")
            time.sleep(0.02)


def ours(database: str, redis_url: str, *, gate: bool = True, **environ: str) -> Fleet:
    """Our workers: `dramatiq` with 2 processes of 8 threads."""
    return Fleet(
        dramatiq_command("benchmarks.programs.ours"),
        {"BENCH_DATABASE": database, "UNDERSTUDY_TRANSPORT": redis_url, **environ},
        gate=gate,
    )


def raw(redis_url: str, *, gate: bool = True, **environ: str) -> Fleet:
    """Dramatiq's own workers, with as many processes and threads."""
    return Fleet(dramatiq_command("benchmarks.programs.raw"), {"BENCH_REDIS": redis_url, **environ}, gate=gate)


def dramatiq_command(module: str) -> list[str | Path]:
    """Return the command of `PROCESSES` × `THREADS`."""
    return [PYTHON.parent / "dramatiq", module, "-p", str(PROCESSES), "-t", str(THREADS)]
