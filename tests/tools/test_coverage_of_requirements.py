from __future__ import annotations

from pathlib import Path

import pytest

from tools.coverage_of_requirements import ROOT, main, read_list

LIST = """\
# a comment

A01 first thing
A02 second thing
G1 a promise
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "list.txt").write_text(LIST)
    (tmp_path / "tests").mkdir()
    return tmp_path


def run(project: Path, *more: str) -> int:
    return main(["--list", str(project / "list.txt"), "--tests", str(project / "tests"), *more])


def write_test(project: Path, source: str) -> None:
    (project / "tests" / "test_it.py").write_text("import pytest\n" + source)


def test_ids_that_no_test_names_are_listed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_test(project, '@pytest.mark.requirement("A01")\ndef test_one(): ...\n')

    assert run(project) == 0
    assert capsys.readouterr().out == ("A02 second thing\nG1  a promise\n1 of 3 are shown by a test.\n")


@pytest.mark.parametrize(
    "source",
    [
        'pytestmark = pytest.mark.requirement("A01", "A02", "G1")',
        'pytestmark = [pytest.mark.requirement("A01", "A02"), pytest.mark.requirement("G1")]',
        '@pytest.mark.requirement("A01", "A02", "G1")\nclass TestIt: ...',
        'case = pytest.param(1, marks=pytest.mark.requirement("A01", "A02", "G1"))',
    ],
)
def test_markers_are_found_wherever_they_are(project: Path, source: str) -> None:
    write_test(project, source)

    assert run(project, "--strict") == 0


@pytest.mark.parametrize("marker", ['"A99"', '"A1"', "name", ""])
def test_marker_that_names_nothing_known_is_an_error(
    project: Path, marker: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_test(project, f"@pytest.mark.requirement({marker})\ndef test_one(): ...\n")

    assert run(project) == 1
    assert "test_it.py:2: unknown requirement" in capsys.readouterr().err


def test_missing_ids_are_an_error_only_when_strict(project: Path) -> None:
    assert run(project) == 0
    assert run(project, "--strict") == 1


def test_report_can_be_narrowed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(project, "--only", "A", "--strict")

    assert capsys.readouterr().out == ("A01 first thing\nA02 second thing\n0 of 2 are shown by a test.\n")


def test_report_can_be_a_count_only(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(project, "--quiet")

    assert capsys.readouterr().out == "0 of 3 are shown by a test.\n"


@pytest.mark.parametrize(("line", "problem"), [("A01 again", "is there twice"), ("A03", "no text")])
def test_careless_list_is_refused(project: Path, line: str, problem: str) -> None:
    (project / "list.txt").write_text(LIST + line + "\n")

    with pytest.raises(ValueError, match=rf"list\.txt:6: .*{problem}"):
        run(project)


def test_list_has_every_kind_of_id() -> None:
    known = read_list(ROOT / "docs" / "requirements.txt")

    assert {"A01", "V14", "G10", "G1", "promise-G10", "I1", "invariant-I14"} <= known.keys()
    assert len(known) == 356
