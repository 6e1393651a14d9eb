from __future__ import annotations

import pytest

from tools.waiting import wait_for


def test_answer_is_returned_as_soon_as_it_is_truthy() -> None:
    answers = iter([0, None, "there"])

    assert wait_for(lambda: next(answers), "an answer", every_seconds=0) == "there"


def test_deadline_is_an_error_that_names_the_fact_and_the_last_answer() -> None:
    with pytest.raises(TimeoutError, match=r"waited 0 s for 3 mails; last answer: \[\]"):
        wait_for(list, "3 mails", timeout_seconds=0)
