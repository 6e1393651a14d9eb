"""Writes docs/requirements.md: every requirement, what it asks for, and the tests that show it."""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.coverage_of_requirements import ROOT, markers, read_list

LIST = ROOT / "docs" / "requirements.txt"
TABLE = ROOT / "docs" / "requirements.md"
TESTS = ROOT / "tests"

#: Tests named in a row; the rest are counted.
NAMED = 3

HEAD = """\
# Requirements

What the product is asked to do, one row each, with the tests that show it. The rows come from four descriptions of job
systems that the service answers to; where those contradict each other, the last table says what we do. A test's name is
a sentence: read it to learn what exactly holds. `make test ARGS='-k name'` runs one.

`make requirements` writes this page from `docs/requirements.txt` and the marks of the tests; `make check` fails when it
is out of date.
"""


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or with --check compare it; 1 if it is out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    options = parser.parse_args(arguments)
    page = written(LIST, TESTS)
    if not options.check:
        TABLE.write_text(page)
        return 0
    if TABLE.exists() and TABLE.read_text() == page:
        return 0
    print("docs/requirements.md is out of date: make requirements", file=sys.stderr)
    return 1


def written(list_: Path, tests: Path) -> str:
    """Return the page: a table under each heading of the list."""
    known, shown = read_list(list_), tests_by_requirement(tests)
    lines = [HEAD.rstrip()]
    for heading, ids in sections(list_):
        lines += ["", f"## {heading}", "", "| Id | What is asked for | Shown by |", "|---|---|---|"]
        lines += [_row(id_, known[id_], shown.get(id_, [])) for id_ in ids]
    return "\n".join(lines) + "\n"


def sections(list_: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each heading of the list with the ids below it: the comment before a block of rows is its heading."""
    heading, ids = "", list[str]()
    for line in list_.read_text().splitlines():
        if not line.startswith("#"):
            if line.strip():
                ids.append(line.split(" ", 1)[0])
            continue
        if ids:
            yield heading, ids
        heading, ids = line.lstrip("# "), []
    if ids:
        yield heading, ids


def tests_by_requirement(tests: Path) -> dict[str, list[str]]:
    """Return the tests that name each requirement, as ``tests/app/test_it.py::test_name``."""
    names: dict[Path, list[tuple[int, int, str]]] = {}
    found: dict[str, set[str]] = {}
    for place, requirement in markers(tests):
        file, _, line = place.rpartition(":")
        path = Path(file)
        if path not in names:
            names[path] = list(_decorated(ast.parse(path.read_text())))
        name = next((f"::{name}" for first, last, name in names[path] if first <= int(line) <= last), "")
        found.setdefault(str(requirement), set()).add(f"{path.relative_to(tests.parent)}{name}")
    return {requirement: list(places) for requirement, places in found.items()}


def _decorated(tree: ast.Module) -> Iterator[tuple[int, int, str]]:
    """Yield the lines of each function's and class's decorators, with its name."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and node.decorator_list:
            yield min(decorator.lineno for decorator in node.decorator_list), node.lineno, node.name


def _row(id_: str, text: str, places: list[str]) -> str:
    closest = sorted(places, key=lambda place: ("::" not in place, place))  # whole modules last
    more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
    tests = "<br>".join(f"`{place}`" for place in closest[:NAMED]) + more
    escaped = text.replace("|", "\\|")
    return f"| {id_} | {escaped} | {tests or 'not yet'} |"


if __name__ == "__main__":
    sys.exit(main())
