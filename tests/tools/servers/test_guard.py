"""No server outlives the program that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tools.waiting import wait_for

PROGRAM = """
import os, time
from tools.servers import {kind}
server = {kind}().start()
{then}
print(server.pid, server.folder, flush=True)
{end}
"""
ROOT = Path(__file__).parents[3]


class Program:
    """A program of its own that starts a server."""

    def __init__(self, kind: str, *, then: str = "", end: str) -> None:
        program = PROGRAM.format(kind=kind, then=then, end=end)
        command = [sys.executable, "-c", program]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self.process.stdout is not None
        *self.others, pid, folder = self.process.stdout.readline().split()
        self.server, self.folder = int(pid), Path(folder)

    def wait_until_nothing_is_left(self) -> None:
        self.process.communicate()
        wait_for(lambda: not is_alive(self.server), "the server to end")
        wait_for(lambda: not self.folder.exists(), "its folder to go")


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_server_ends_when_its_program_is_ended(number: signal.Signals) -> None:
    program = Program("RedisServer", end="time.sleep(60)")
    assert is_alive(program.server)
    assert program.folder.exists()

    program.process.send_signal(number)

    program.wait_until_nothing_is_left()


def test_server_ends_when_its_program_forgets_it() -> None:
    program = Program("RedisServer", end="")

    program.wait_until_nothing_is_left()


def test_paused_postgres_ends_and_gives_its_shared_memory_back(
    is_shared_memory_left: Callable[[str], bool],
) -> None:
    program = Program("PostgresServer", then="server.pause()", end="time.sleep(60)")
    notes = (program.folder / "data" / "postmaster.pid").read_text()
    assert is_shared_memory_left(notes)

    program.process.kill()

    program.wait_until_nothing_is_left()
    assert not is_shared_memory_left(notes)


def test_forked_child_does_not_keep_the_server_alive() -> None:
    fork = "child = os.fork()\nif child == 0:\n    os.close(1); time.sleep(60); os._exit(0)\n"
    program = Program("RedisServer", then=fork + "print(child, end=' ')", end="os._exit(1)")
    [child] = map(int, program.others)

    program.wait_until_nothing_is_left()

    assert is_alive(child)
    os.kill(child, signal.SIGKILL)
