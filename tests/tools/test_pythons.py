from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools import pythons


def script(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_only_interpreters_that_answer_and_are_new_enough_are_used(tmp_path: Path) -> None:
    old = script(tmp_path / "old", "echo False 3.8")
    broken = script(tmp_path / "broken", "exit 127")

    used = list(pythons.answering([old, broken, str(tmp_path / "gone"), sys.executable]))

    assert used == [("{}.{}".format(*sys.version_info[:2]), sys.executable)]


def test_interpreter_that_was_asked_for_and_does_not_work_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = script(tmp_path / "broken", "exit 127")

    assert pythons.main([broken]) == 1
    assert f"{broken} is not a Python 3.11 or newer" in capsys.readouterr().err


def test_one_failing_version_fails_the_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripts = [script(tmp_path / f"p{v}", f"echo True 3.{v}") for v in (11, 12)]
    monkeypatch.setattr(pythons, "passes", lambda version, python: version == "3.11")

    assert pythons.main(scripts) == 1
    assert "Python 3.11: passed\nPython 3.12: FAILED" in capsys.readouterr().out


def test_versions_on_path_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python = script(tmp_path / "python3.12", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))

    assert list(pythons.found()) == [python]
