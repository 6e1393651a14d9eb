"""The page of one job: what it waits for, and what it offers."""

from __future__ import annotations

import pytest

from tests.flask_understudy.dashboard.conftest import PREFIX, Person, signed_in
from tests.flask_understudy.dashboard.test_jobs import audited
from tests.flask_understudy.dashboard.test_workflows import olga as with_workflows
from tests.flask_understudy.dashboard.test_workflows import started

assert with_workflows


@pytest.mark.requirement("L09", "B14")
@pytest.mark.parametrize(
    ("name", "said", "link", "pressed"),
    [
        ("leave:ask", "It awaits the decision of ann in step &#39;manager&#39;", "Decide", "Approve or reject"),
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
