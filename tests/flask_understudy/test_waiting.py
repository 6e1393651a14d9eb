"""The places for requests that wait."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from flask_understudy.waiting import WaitingRoom


def test_a_caller_has_so_many_places_and_a_process_so_many_more() -> None:
    room = WaitingRoom(places=3, places_of_one=2)

    with ExitStack() as stack:
        found = [stack.enter_context(room.place(caller)) for caller in ("a", "a", "a", "b", "c")]

    assert found == [True, True, False, True, False]


def test_a_place_is_free_again_when_its_holder_leaves() -> None:
    room = WaitingRoom(places=1, places_of_one=1)

    with pytest.raises(RuntimeError), room.place("a"):
        raise RuntimeError
    with room.place("b") as is_free:
        assert is_free


def test_who_found_no_place_frees_none() -> None:
    room = WaitingRoom(places=1, places_of_one=1)

    with room.place("a"):
        with room.place("a"):
            pass
        with room.place("b") as is_free:
            assert not is_free
