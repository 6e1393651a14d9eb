"""The transport without a broker: a bell inside the process."""

from __future__ import annotations

import threading
import time

import pytest

from flask_understudy.ledger.transitions import Due
from flask_understudy.transports import DatabaseTransport

pytestmark = pytest.mark.requirement("G01", "G02", "G03")


def test_an_announcement_wakes_whoever_waits_for_its_queue() -> None:
    transport = DatabaseTransport()
    woken: list[float] = []

    def wait(queue: str) -> None:
        began = time.monotonic()
        transport.wait(queue, 5)
        woken.append(time.monotonic() - began)

    waiter = threading.Thread(target=wait, args=("q",))
    waiter.start()
    transport.announce([Due("a", "other", 3, 0)])
    waiter.join(0.1)
    assert waiter.is_alive()
    transport.announce([Due("a", "q", 3, 0)])
    waiter.join(2)
    assert woken[0] < 2


def test_an_announcement_between_two_looks_is_not_missed() -> None:
    transport = DatabaseTransport()
    transport.take("q", 1)
    transport.announce([Due("a", "q", 3, 0)])
    began = time.monotonic()
    transport.wait("q", 5)
    assert time.monotonic() - began < 1


def test_it_holds_no_ids_and_is_always_up() -> None:
    transport = DatabaseTransport()
    transport.announce([Due("a", "q", 3, 0)])
    assert (transport.take("q", 9), transport.depths(["q"])) == ([], {})
    assert transport.is_up
    assert transport.check()


def test_closing_wakes_everybody() -> None:
    transport = DatabaseTransport()
    waiter = threading.Thread(target=transport.wait, args=("q", 30))
    waiter.start()
    while not transport._bells:
        time.sleep(0.001)
    transport.close()
    waiter.join(2)
    assert not waiter.is_alive()
