"""The page of one job: what it waits for, and what it offers."""

from __future__ import annotations

import ast
import html
import json
import re
from typing import Any

import pytest

from flask_understudy import current_job
from flask_understudy.dashboard.job import MOST_SHOWN
from flask_understudy.dashboard.snippets import as_python
from flask_understudy.rest.shapes import JobDetail
from tests.flask_understudy.dashboard.conftest import PREFIX, Person, signed_in
from tests.flask_understudy.dashboard.test_jobs import audited
from tests.flask_understudy.dashboard.test_workflows import olga as with_workflows
from tests.flask_understudy.dashboard.test_workflows import started
from tests.flask_understudy.rest.conftest import Api

assert with_workflows


@pytest.mark.requirement("L09", "B14")
@pytest.mark.parametrize(
    ("name", "said", "link", "pressed"),
    [
        (
            "leave:ask",
            "It awaits the decision of &#39;ann&#39; in step &#39;manager&#39;",
            "Decide",
            "Approve or reject",
        ),
        ("leave:sign", "It awaits the event &#39;leave.signed&#39;", "Go on without it", "Publish that event"),
    ],
)
def test_a_job_that_awaits_an_answer_says_so_and_is_not_run_now(
    with_workflows: Person, name: str, said: str, link: str, pressed: str
) -> None:
    olga = with_workflows
    id = started(olga, name, employee_id=7)

    page = olga.see(f"/jobs/{id}")

    assert said in page and f'<a href="{PREFIX}/runs/{id}">{link}</a>' in page
    assert "/do/run_job_now" not in page and "/do/run_job_now" not in olga.see("/scheduled")
    reader = signed_in(olga.api, "read")
    assert f'<a href="{PREFIX}/runs/{id}">See the run</a>' in reader.see(f"/jobs/{id}")

    olga.send("/do/run_job_now", {"csrf": olga.csrf(), "job_id": id, "next": f"{PREFIX}/jobs/{id}"})
    assert pressed in olga.see(f"/jobs/{id}")
    assert olga.site.job(id).state == "delayed"
    assert "job.run_now" not in [action for action, _ in audited(olga.api)]


def snippet(page: str) -> str:
    """The line of Python on a page."""
    found = re.search(r"In Python</dt><dd><pre[^>]*>(.*?)</pre>", page, re.S)
    assert found is not None
    return html.unescape(found[1])


def test_the_line_of_python_has_a_gap_for_what_is_withheld(sqlite_api: Api) -> None:
    job = sqlite_api.send("ada@example.com", 1, "s3cret-value")
    page = signed_in(sqlite_api).see(f"/jobs/{job}")

    line = snippet(page)

    assert line.endswith("jobs.broker.get_actor('work').send(to='ada@example.com', n=1, token=...)")
    assert line.startswith("# `...` stands for what is withheld") and "***" not in line
    assert "gap" in page and "s3cret-value" not in page
    with pytest.raises(ValueError, match="cannot be stored as JSON"):  # nobody sends it by mistake
        sqlite_api.send("ada@example.com", 1, ...)  # type: ignore[arg-type]
    without = signed_in(sqlite_api).see(f"/jobs/{sqlite_api.send('ada@example.com')}")
    assert "# " not in snippet(without) and "gap" not in without


@pytest.mark.parametrize(
    ("payload", "arguments"),
    [
        ({"a": {"token": "***", "b": ["Bearer ***", "x"]}}, "a={'token': ..., 'b': [..., 'x']}"),
        ({"no-name": 1, "class": None}, "**{'no-name': 1, 'class': None}"),
        ({"text": "it's\u202e \n"}, 'text="it\'s\\u202e \\n"'),
        ({}, ""),
    ],
    ids=["within", "names", "texts", "none"],
)
def test_the_line_of_python_can_be_read_by_python(payload: dict[str, Any], arguments: str) -> None:
    line = as_python(JobDetail.model_construct(type="work", payload=payload))

    assert line is not None and line.endswith(f"get_actor('work').send({arguments})")
    ast.parse(line)


@pytest.fixture
def big(sqlite_api: Api) -> str:
    """A job with large arguments and a large result."""

    @sqlite_api.site.jobs.actor(actor_name="big", api=True, max_retries=0)
    def big(text: str, token: str = "") -> list[str]:
        return [text]

    sqlite_api.actors["big"] = big
    id = sqlite_api.send("x" * 240_000 + "end", "s3cret", actor="big")
    sqlite_api.site.worker.run(id)
    return id


def test_large_arguments_and_results_are_shown_in_part_and_downloaded_as_a_whole(sqlite_api: Api, big: str) -> None:
    olga = signed_in(sqlite_api)

    page = olga.see(f"/jobs/{big}")

    assert len(page) < 4 * MOST_SHOWN
    assert page.count("shown in part") == 2 and "Replay with other arguments" not in page
    assert "In Python" not in page and "too long for a line of Python" in page
    text = "x" * 240_000 + "end"
    for what, whole in (("arguments", {"text": text, "token": "***"}), ("result", [text])):
        link = f"{PREFIX}/jobs/{big}/{what}.json"
        assert f'href="{link}"' in page
        answer = olga.browser.get(link)
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{what}-{big}.json"'
        assert answer.content_type == "application/json" and answer.headers["X-Content-Type-Options"] == "nosniff"
        assert json.loads(answer.text) == whole
    assert "shown in part" not in olga.see(f"/jobs/{sqlite_api.send('ada@example.com')}")


def test_data_is_downloaded_by_who_may_see_it(sqlite_api: Api, big: str) -> None:
    for what in ("arguments", "result"):
        assert "scope" in signed_in(sqlite_api, "read").see(f"/jobs/{big}/{what}.json", 403)
        signed_in(sqlite_api, tenant="birch").see(f"/jobs/{big}/{what}.json", 404)
        Person(sqlite_api.anonymous()).see(f"/jobs/{big}/{what}.json", 401)
    signed_in(sqlite_api).see(f"/jobs/{big}/owner.json", 404)
    signed_in(sqlite_api).see("/jobs/none/result.json", 404)


@pytest.mark.requirement("L08")
def test_a_long_log_is_shown_in_a_box_the_newest_lines_of_it(sqlite_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_understudy.dashboard.job.MOST_LINES", 5)

    @sqlite_api.site.jobs.actor(actor_name="wordy", max_retries=0)
    def wordy(n: int) -> None:
        for line in range(n):
            current_job.log(f"line {line}.")

    for n, shown in ((7, [2, 3, 4, 5, 6]), (5, [0, 1, 2, 3, 4])):
        id = wordy.send_with_options(args=(n,), tenant="acme").message_id
        sqlite_api.site.worker.run(id)
        page = signed_in(sqlite_api).see(f"/jobs/{id}")
        assert re.findall(r"line (\d+)\.", page) == [str(line) for line in shown]
        assert f"{n} lines" in page and ("The newest 5;" in page) == (n > 5)


@pytest.mark.requirement("L08")
def test_the_worker_of_what_runs_and_of_what_completed_is_named(api: Api) -> None:
    olga = signed_in(api)
    done, runs, waits = api.send("1"), api.send("2"), api.send("3", delay=3_600_000)
    api.site.worker.run(done)
    process = api.site.process()
    api.site.claim(process, runs)

    for id, state in ((done, "completed"), (runs, "active")):
        worker = api.get(f"/{id}")["worker"]
        assert worker
        section = olga.see(f"/jobs/{id}").partition("<h2>Attempts</h2>")[2].partition("</section>")[0]
        assert f"<td>{state}</td>" in section and f'<code class="id" title="{worker}">{worker[:8]}</code>' in section
        assert "/workers" not in section
        operator = signed_in(api, "read tenants")
        assert f'<a href="{PREFIX}/workers"><code class="id" title="{worker}">' in operator.see(f"/jobs/{id}")
    assert api.get(f"/{waits}")["worker"] is None
    assert "None yet." in olga.see(f"/jobs/{waits}")
