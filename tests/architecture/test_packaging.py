"""What is published and what is deployed agree with setup.cfg and with the source."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email import message_from_string
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg")
    return parser


def requirements_of(extra: str) -> Iterator[Requirement]:
    """What an extra brings along, its references to other extras followed."""
    for line in setup_cfg()["options.extras_require"][extra].split("\n"):
        if line.strip() and not line.startswith("#"):
            requirement = Requirement(line)
            if requirement.name == "flask-understudy":
                for inner in requirement.extras:
                    yield from requirements_of(inner)
            else:
                yield requirement


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    source = tmp_path_factory.mktemp("source")
    for name in ("setup.cfg", "pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, source)
    for name in ("flask_understudy", "app", "tools"):
        shutil.copytree(ROOT / name, source / name)
    build = "import setuptools.build_meta as backend; backend.build_wheel('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    [path] = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def metadata(wheel: zipfile.ZipFile, name: str) -> str:
    [path] = (path for path in wheel.namelist() if path.endswith(f".dist-info/{name}"))
    return wheel.read(path).decode()


def test_wheel_has_all_of_the_library_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    library = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "flask_understudy").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    packed = {path for path in wheel.namelist() if ".dist-info/" not in path}

    assert packed == library
    assert "flask_understudy/py.typed" in packed


def test_wheel_says_what_it_is(wheel: zipfile.ZipFile) -> None:
    fields = message_from_string(metadata(wheel, "METADATA"))

    assert fields["Name"] == "flask-understudy"
    assert f'__version__ = "{fields["Version"]}"' in (ROOT / "flask_understudy" / "__init__.py").read_text()
    assert fields["License-Expression"] == "MIT"
    assert fields["Requires-Python"] == ">=3.11"
    assert "flask_understudy.pytest_plugin" in metadata(wheel, "entry_points.txt")


@pytest.mark.requirement("R10")
def test_plain_installation_brings_no_optional_dependency(wheel: zipfile.ZipFile) -> None:
    fields = message_from_string(metadata(wheel, "METADATA"))

    plain = {Requirement(line).name for line in fields.get_all("Requires-Dist", []) if "extra ==" not in line}

    assert "dramatiq" in plain
    assert plain.isdisjoint({"psycopg", "flask-mail", "sentry-sdk", "gunicorn", "celery"})


def test_locked_versions_are_those_that_setup_cfg_allows() -> None:
    lock = (ROOT / "requirements.txt").read_text()
    pins = re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE)
    plain = setup_cfg()["options"]["install_requires"].strip().split("\n")

    for requirement in [*map(Requirement, plain), *requirements_of("service")]:
        versions = [version for name, version in pins if name == canonicalize_name(requirement.name)]
        assert versions, f"{requirement} is not in requirements.txt: run `make lock`"
        for version in versions:
            assert requirement.specifier.contains(version), f"{requirement}: {version} is locked"


def test_every_locked_version_has_hashes_and_no_address() -> None:
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements.txt").read_text().strip())

    packages = [entry for entry in entries if not entry.startswith("#")]

    assert len(packages) > 30
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", package) for package in packages)
    assert not any("://" in entry or "index" in entry for entry in entries)


def test_every_make_command_is_explained() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None

    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )

    commands = [line.split()[0] for line in shown.stdout.splitlines()]
    assert sorted(commands) == sorted(phony[1].split())
