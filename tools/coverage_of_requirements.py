"""Lists the requirements, promises and invariants that no test names.

Reads the ids from docs/requirements.txt and the markers from the tests' source, without running
them. An id that is in a marker but not in the list is an error.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MARKER = "requirement"


def main(arguments: list[str] | None = None) -> int:
    """Print what is missing; 1 if a marker is wrong, or if something is missing with --strict."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--list", type=Path, default=ROOT / "docs" / "requirements.txt")
    parser.add_argument("--tests", type=Path, default=ROOT / "tests")
    parser.add_argument("--only", nargs="+", metavar="ID", help="ids or letters: A40 C G1")
    parser.add_argument("--strict", action="store_true", help="fail if something is missing")
    parser.add_argument("--quiet", action="store_true", help="count them, without a list")
    options = parser.parse_args(arguments)

    known = read_list(options.list)
    shown: dict[str, list[str]] = {}
    wrong: list[str] = []
    for place, requirement in markers(options.tests):
        if isinstance(requirement, str) and requirement in known:
            shown.setdefault(requirement, []).append(place)
        else:
            wrong.append(f"{place}: unknown requirement {requirement!r}")

    wanted = [id_ for id_ in known if is_wanted(id_, options.only)]
    missing = [id_ for id_ in wanted if id_ not in shown]
    width = max(map(len, missing), default=0)
    for id_ in () if options.quiet else missing:
        print(f"{id_:{width}} {known[id_]}")
    print(f"{len(wanted) - len(missing)} of {len(wanted)} are shown by a test.")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong or (options.strict and missing) else 0


def read_list(path: Path) -> dict[str, str]:
    """Read the ids and their texts, in the file's order.

    Raises:
        ValueError: A line has no text, or an id is there twice.
    """
    known: dict[str, str] = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        id_, _, text = line.partition(" ")
        if not text.strip() or id_ in known:
            problem = "is there twice" if id_ in known else "has no text"
            raise ValueError(f"{path}:{number}: {id_} {problem}")
        known[id_] = text.strip()
    return known


def markers(tests: Path) -> Iterator[tuple[str, object]]:
    """Find the markers on functions, classes, modules and parameters: (place, requirement)."""
    for path in sorted(tests.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if not (isinstance(node, ast.Call) and _name(node.func) == f"mark.{MARKER}"):
                continue
            place = f"{path}:{node.lineno}"
            if not node.args or node.keywords:
                yield place, None
            for argument in node.args:
                yield place, argument.value if isinstance(argument, ast.Constant) else None


def is_wanted(id_: str, only: list[str] | None) -> bool:
    """Tell whether an id is among those asked for: itself, or "G" for the requirements G01..G15."""
    return only is None or id_ in only or (id_[0] in only and bool(re.fullmatch(r"\D\d\d", id_)))


def _name(node: ast.expr) -> str:
    """The last two names of `pytest.mark.requirement` or `mark.requirement`."""
    if isinstance(node, ast.Attribute):
        inner = node.value
        before = inner.attr if isinstance(inner, ast.Attribute) else getattr(inner, "id", "")
        return f"{before}.{node.attr}"
    return ""


if __name__ == "__main__":
    sys.exit(main())
