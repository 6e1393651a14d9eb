"""The page of requirements names for each row the tests that show it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import requirements_table
from tools.requirements_table import main, written

LIST = """\
# How this file is read.

# A: jobs
A01 first thing
A02 second | thing

# G: promises
G1 a promise
"""

TESTS = """\
import pytest

pytestmark = pytest.mark.requirement("G1")


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.requirement("A01")
def test_it_works(n): ...


@pytest.mark.requirement("A01")
class TestIt:
    def test_more(self): ...
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "list.txt").write_text(LIST)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text(TESTS)
    return tmp_path


def rows(project: Path) -> list[str]:
    page = written(project / "list.txt", project / "tests")
    return [line for line in page.splitlines() if line.startswith(("| A", "| G", "## "))]


def test_rows_name_functions_classes_and_modules(project: Path) -> None:
    assert rows(project) == [
        "## A: jobs",
        "| A01 | first thing | `tests/test_it.py::TestIt`<br>`tests/test_it.py::test_it_works` |",
        "| A02 | second \\| thing | not yet |",
        "## G: promises",
        "| G1 | a promise | `tests/test_it.py` |",
    ]


def test_many_tests_of_one_row_are_counted(project: Path) -> None:
    for number in range(5):
        (project / "tests" / f"test_{number}.py").write_text(
            'import pytest\n\n\n@pytest.mark.requirement("A02")\ndef test_that(): ...\n'
        )

    assert rows(project)[2].endswith("`tests/test_2.py::test_that` and 2 more |")


def test_a_page_that_is_out_of_date_is_told(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(requirements_table, "LIST", project / "list.txt")
    monkeypatch.setattr(requirements_table, "TESTS", project / "tests")
    monkeypatch.setattr(requirements_table, "TABLE", project / "page.md")
    assert main(["--check"]) == 1
    assert "make requirements" in capsys.readouterr().err

    assert main([]) == 0
    assert main(["--check"]) == 0
