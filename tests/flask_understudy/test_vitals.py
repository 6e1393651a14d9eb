"""What a process says of itself."""

from __future__ import annotations

import platform
import resource
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from flask_understudy import vitals
from flask_understudy.operations.wording import size


def test_the_memory_is_what_the_system_has_in_ram_for_it() -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    memory = vitals.memory_bytes()
    assert memory is not None and 1_000_000 < memory <= peak * 1.1


def test_where_the_system_does_not_tell_the_memory_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vitals, "_STATM", tmp_path / "statm")
    assert vitals.memory_bytes() is None


def test_the_releases_are_named() -> None:
    known = {"dramatiq": version("dramatiq"), "python": platform.python_version()}
    known["flask-understudy"] = version("flask-understudy")
    assert vitals.versions("") == known
    assert vitals.versions("2026.11") == {"application": "2026.11", **known}


def test_a_package_that_was_not_installed_has_no_release(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(vitals, "version", missing)
    assert vitals.versions("") == {"python": platform.python_version()}


@pytest.mark.parametrize(
    ("n", "text"), [(0, "0 B"), (999, "999 B"), (2_500, "2.5 kB"), (48_400_000, "48 MB"), (1_230_000_000, "1.2 GB")]
)
def test_sizes_are_told_in_their_largest_unit(n: int, text: str) -> None:
    assert size(n) == text
