"""A small process that ends what its parent started, if the parent is gone before it did so itself.

A test run can end in ways that leave no time to tidy up: SIGKILL, a crash of the interpreter, a
closed terminal. The guard reads notes about processes and folders from a pipe. The kernel closes
the pipe when the parent ends, in whatever way, and the guard then ends the processes and removes
the folders that are still on its list.

Asking the kernel to signal the child instead (PR_SET_PDEATHSIG) would tie a server to the thread
that happened to start it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

import psutil


class Guard:
    """The parent's end: notes what has to go when this process is gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pipe: IO[bytes] | None = None
        os.register_at_fork(after_in_child=self._leave_to_the_parent)

    def watch_process(self, pid: int) -> None:
        """End `pid` and all its descendants when this process is gone."""
        self._note("process", pid, add=True)

    def forget_process(self, pid: int) -> None:
        """Let `pid` be: it has ended."""
        self._note("process", pid, add=False)

    def watch_folder(self, folder: Path) -> None:
        """Remove `folder` when this process is gone."""
        self._note("folder", str(folder), add=True)

    def forget_folder(self, folder: Path) -> None:
        """Let `folder` be: it has been removed."""
        self._note("folder", str(folder), add=False)

    def _note(self, kind: str, what: int | str, *, add: bool) -> None:
        with self._lock:
            if self._pipe is None:
                self._pipe = self._start()
            self._pipe.write(json.dumps([kind, what, add]).encode() + b"\n")

    @staticmethod
    def _start() -> IO[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__).resolve())],
            stdin=subprocess.PIPE,
            bufsize=0,
            cwd="/",
            start_new_session=True,
        )
        assert process.stdin is not None
        process.returncode = 0  # it ends after us: nobody waits for it
        return process.stdin

    def _leave_to_the_parent(self) -> None:
        """In a forked child: the pipe must not stay open longer than the parent lives."""
        self._lock = threading.Lock()
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None


def main() -> None:
    """The guard's end: read notes until the parent is gone, then end what is on the list."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    processes: dict[int, psutil.Process] = {}
    folders: set[str] = set()
    for line in sys.stdin:
        kind, what, add = json.loads(line)
        if kind == "folder":
            (folders.add if add else folders.discard)(what)
        elif not add:
            processes.pop(what, None)
        elif psutil.pid_exists(what):
            processes[what] = psutil.Process(what)
    for process in processes.values():
        end_in_order(process)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def end_in_order(process: psutil.Process) -> None:
    """Ask a server, frozen or not, to end (SIGINT); it has three seconds before SIGKILL."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for member in (process, *process.children(recursive=True)):
            member.resume()
        process.send_signal(signal.SIGINT)
    _wait_until_dead([process], seconds=3)
    end_family(process)


def end_family(process: psutil.Process) -> None:
    """SIGKILL a process and its descendants, parents first, and wait until they are dead."""
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    _wait_until_dead(family, seconds=10)


def _wait_until_dead(processes: list[psutil.Process], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(map(_is_alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.005)


def _is_alive(process: psutil.Process) -> bool:
    # A zombie is dead: whoever adopted it may take a second to notice.
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


guard = Guard()

if __name__ == "__main__":
    main()
