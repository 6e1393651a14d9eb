"""Runs the engine's tests on other Pythons, each in a virtual environment of its own.

Without arguments these are one 3.11, 3.12 and 3.13 each, as far as they are found:

    python -m tools.pythons
    python -m tools.pythons python3.12 /opt/bin/python3
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSIONS = ("3.11", "3.12", "3.13")
TESTS = ("tests/flask_understudy", "-q", "-n", "2")
ASK = "import sys; print(sys.version_info >= (3, 11), '%d.%d' % sys.version_info[:2])"


def main(named: list[str]) -> int:
    """Test on the interpreters named, or on one of each version found; 1 if any run failed."""
    pythons = dict(answering(named or found()))
    for name in set(named) - set(pythons.values()):
        print(f"{name} is not a Python 3.11 or newer", file=sys.stderr)
    if not pythons or set(named) - set(pythons.values()):
        return 1
    results = {}
    for version, python in sorted(pythons.items()):
        print(f"Python {version}: {python}", flush=True)
        results[version] = passes(version, python)
    for version, has_passed in results.items():
        print(f"Python {version}: {'passed' if has_passed else 'FAILED'}")
    return 0 if all(results.values()) else 1


def found() -> Iterator[str]:
    """List candidates: on PATH by their versioned name, and those pyenv has."""
    for version in reversed(VERSIONS):
        if on_path := shutil.which(f"python{version}"):
            yield on_path
    for version in VERSIONS:
        pyenv = Path.home() / ".pyenv" / "versions"
        yield from map(str, sorted(pyenv.glob(f"{version}.*/bin/python3")))


def answering(pythons: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Ask the candidates which version they are; those too old or not working are left out."""
    for python in pythons:
        try:
            asked = subprocess.run([python, "-c", ASK], capture_output=True, text=True)
        except OSError:
            continue
        is_new_enough, _, version = asked.stdout.strip().partition(" ")
        if is_new_enough == "True":
            yield version, python


def passes(version: str, python: str) -> bool:
    """Install the project for one interpreter and run the tests there."""
    environment = ROOT / f".venv-{version}"
    inside = str(environment / "bin" / "python")
    install = [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    steps = (
        [python, "-m", "venv", str(environment)],
        [*install, "--editable", ".[dev]"],
        [inside, "-m", "pytest", *TESTS],
    )
    return all(subprocess.run(step, cwd=ROOT).returncode == 0 for step in steps)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
