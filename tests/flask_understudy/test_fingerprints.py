"""Which failures are alike."""

from __future__ import annotations

import pytest

from flask_understudy.fingerprints import fingerprint_of


def fail(message: str, kind: type[Exception] = ValueError, deep: bool = False) -> str:
    def place() -> None:
        raise kind(message)

    def other_place() -> None:
        raise kind(message)

    try:
        other_place() if deep else place()
    except Exception as problem:
        return fingerprint_of("work", problem, message)
    raise AssertionError


@pytest.mark.requirement("M12")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("order 17 is gone", "order 18 is gone"),
        ("no user 'ada'", "no user 'bob'"),
        ('no user "ada"', 'no user "bob"'),
        ("cannot mail ada@example.com", "cannot mail bob@example.org"),
        ("job 0b6d9e3c-7f0a-4f3d-9d43-1f4f4f5a7b11 is gone", "job 5f0c9e3c-7f0a-4f3d-9d43-1f4f4f5a7b11 is gone"),
        ("at 0x7f3d3b174f40", "at 0x7f3d3a7ea6c0"),
        ("x" * 400 + "1", "x" * 400 + "other"),
    ],
)
def test_what_differs_from_job_to_job_does_not_count(one: str, other: str) -> None:
    assert fail(one) == fail(other)


def test_actor_kind_place_and_words_count() -> None:
    alike = fail("disk full")

    assert len(alike) == 16
    assert fail("disk full", KeyError) != alike
    assert fail("disk full", deep=True) != alike
    assert fail("disk empty") != alike
    assert fingerprint_of("a", ValueError("x"), "x") != fingerprint_of("b", ValueError("x"), "x")
