"""The first example of a page is a program that runs as pasted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_example(page: str, folder: Path, user: str) -> str:
    """Run the first Python example of a page, and a user of it; return what that wrote."""
    example = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)[0]
    (folder / "example.py").write_text(example)
    (folder / "instance").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", user],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{folder}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_about_events_runs(tmp_path: Path) -> None:
    user = """
import example
from tools.waiting import wait_for
client = example.app.test_client()
published = client.post("/leaves/7/approve").json
for job_id in published["jobs"]:
    wait_for(lambda: example.jobs.get(job_id).state == "completed", "the job", timeout_seconds=30)
    print(example.jobs.get(job_id).result)
example.jobs.stop_worker()
"""

    said = run_example("events.md", tmp_path, user)

    assert said.splitlines() == ["Employee 7: have a good rest!", "Somebody has to stand in for 7."]
