"""What the pages say about the project is there: the tests they name, the files they link, the code they show."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
PAGES = [page for page in PAGES if "_build" not in page.parts]
PROMISES = [f"G{number}" for number in range(1, 12)]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def names_of_tests(path: Path) -> set[str]:
    """Return the names of the test functions, methods and classes of a file."""
    nodes = ast.walk(ast.parse(path.read_text()))
    tests = (node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef))
    return {node.name for node in tests if node.name.startswith(("test_", "Test"))}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page.read_text())

    missing = [
        f"{path}::{test}"
        for path, test in named
        if not (ROOT / path).is_file() or (test and test not in names_of_tests(ROOT / path))
    ]

    assert not missing


@pytest.mark.parametrize("promise", PROMISES)
def test_every_promise_names_a_test_that_is_marked_with_it(promise: str) -> None:
    page = (ROOT / "docs" / "guarantees.md").read_text()
    section = page.partition(f"\n### {promise}: ")[2].partition("\n##")[0]
    files = {path for path, _ in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", section)}

    # Two promises share their number with a requirement; tests name those `promise-G10` and `promise-G11`.
    named = {id.strip('"') for path in files for id in re.findall(r'"(?:promise-)?G\d+"', (ROOT / path).read_text())}
    assert (f"promise-{promise}" if promise in {"G10", "G11"} else promise) in named


def anchors_of(page: Path) -> set[str]:
    """Return what a link may point at: the headings as GitHub spells them, and the labels in parentheses."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]

    broken = []
    for link in links:
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)

    assert not broken


def test_readme_s_quickstart_runs_as_pasted(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    [program] = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "hello.py").write_text(program)
    user = """
import hello
from tools.waiting import wait_for
client = hello.app.test_client()
job = client.post("/greet/Ada").json["id"]
wait_for(lambda: client.get(f"/jobs/{job}").json["state"] == "completed", "the job", timeout_seconds=30)
print(client.get(f"/jobs/{job}").json["result"])
hello.jobs.stop_worker()
"""

    done = subprocess.run(
        [sys.executable, "-c", user],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.stdout.strip() == "Hello, Ada!", done.stderr


@pytest.mark.requirement("F01", "F02", "F03", "F04", "F05")
@pytest.mark.parametrize("page", ["batches", "exports", "limits", "schedules"])
def test_the_examples_of_a_page_run_one_after_the_other(page: str, tmp_path: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / f"{page}.md").read_text(), re.DOTALL)
    (tmp_path / "page.py").write_text("\n".join(examples))

    done = subprocess.run(
        [sys.executable, "page.py"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert len(examples) > 1


@pytest.mark.requirement("R03")
def test_deployment_tells_hosts_without_long_lived_processes_where_workers_run() -> None:
    page = (ROOT / "docs/deployment.md").read_text()

    section = page.partition("## Hosts without long-lived processes")[2].partition("\n## ")[0]

    assert "Vercel" in section
    assert "UNDERSTUDY_WORKER=off" in section
    assert "dramatiq app.actors" in section


def test_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
