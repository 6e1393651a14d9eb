"""The first example of a page is a program that runs as pasted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.requirement("R04", "G15")
def test_the_example_without_a_worker_runs(tmp_path: Path) -> None:
    user = """
import example
with example.app.app_context():
    example.jobs.metadata.create_all(example.db.engine)
    message = example.greet.send("Ada")
body = b'{"budgetMs": 20000}'
client = example.app.test_client()
headers = {**example.signature_of(body), "Content-Type": "application/json"}
print(client.post("/api/jobs/invoke", data=body).status_code)
print([job["state"] for job in client.post("/api/inngest", data=body, headers=headers).json["data"]])
print(example.jobs.get(message.message_id).result)
"""

    said = run_example("serverless.md", tmp_path, user)

    assert said.splitlines() == ["401", "['completed']", "Hello, Ada!"]
