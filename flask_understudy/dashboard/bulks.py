"""One verb for many jobs: how many there are is said first, and many have to be typed.

What was chosen stands, sealed, in the address of the page that asks: it can be loaded again and gone back to. The page
tells the moment at which it counted, and what is begun touches no jobs that came later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Response, redirect, request, url_for

from ..contrib.api.bodies import validated
from ..contrib.api.problems import problem_of
from ..ledger import STATES
from ..operations.bulk_acts import CHANGED
from ..rest import bulk as bulks
from ..rest.callers import require, state
from ..rest.doors import DOORS, act
from . import browser
from .acting import said, shape_of
from .pages import bp, page, rendered
from .searching import asked_for

#: What can be done to many jobs, as the buttons have it.
TITLES = {
    "retry": "Retry",
    "replay": "Replay",
    "run_now": "Run now",
    "change_queue": "Change queue",
    "change_priority": "Change priority",
    "cancel": "Cancel",
    "delete": "Delete",
}

#: Above it the number has to be typed.
MOST_UNTYPED = 100

#: What servers take for the first line of a request is 4094 characters at the least.
LONGEST_ADDRESS = 3_000

#: What is asked before, where that is more than the title and how many.
QUESTIONS = {
    "run_now": "Run {jobs} now?",
    "change_queue": "Put {jobs} into the queue {queue}?",
    "change_priority": "Give {jobs} the priority {priority}?",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody chose to do to which jobs.

    Attributes:
        order: The fields of `rest.bulk.BulkOrder`.
        search: What finds the jobs, as the search box has it; empty = they were selected.
        back: The page it was chosen on.
    """

    order: dict[str, Any]
    search: str
    back: str

    @property
    def text(self) -> str:
        """It as text for an address or a form."""
        return browser.sealed([self.order, self.search, self.back])

    @classmethod
    def of(cls, text: str) -> Asked | None:
        """Return what a text says, or None when it is none of this caller, or too old."""
        given = browser.unsealed(text)
        return None if given is None else cls(*given)


@bp.post("/bulk")
def preview_bulk() -> Response:
    """Take what was chosen, and lead to the page that asks."""
    require("operate")
    browser.check_form()
    action, back = _action(), browser.own_path(request.form.get("next", ""))
    order: dict[str, Any] = {"action": action}
    if (changed := CHANGED.get(action)) and request.form.get(changed, "").strip():
        order[changed] = request.form[changed].strip()
    if request.form.get("which") == "filter":
        search = asked_for(request.form, state().broker.actors)
        if search.problem is not None:
            return _refused(back, search.problem)
        order["filter"] = search.wanted
        if action == "delete":  # unless they are named it would leave those alone that wait
            order["filter"] = {"status": list(STATES), **search.wanted}
        return _asking(Asked(order, search.whole, back))
    if not request.form.getlist("ids[]"):
        return _refused(back, "No job is selected.")
    order["ids"] = request.form.getlist("ids[]")
    return _asking(Asked(order, "", back))


@bp.get("/bulk/ask")
def ask_bulk() -> Response:
    """Say how many jobs it would touch, show some, and ask. Going back to it or loading it again counts anew."""
    require("operate")
    asked = Asked.of(request.args.get("of", ""))
    return _gone() if asked is None else _question(asked, is_again="again" in request.args)


@bp.post("/bulk/start")
def start_bulk() -> Response:
    """Begin, and lead to where its progress shows; ask anew when it is not what was confirmed."""
    require("operate")
    browser.check_form()
    asked, expected = Asked.of(request.form.get("of", "")), request.form.get("expected", "")
    if asked is None or not expected.isdecimal():
        return _gone()
    typed = "".join(request.form.get("typed", "").replace(",", "").split())
    if int(expected) > MOST_UNTYPED and typed != expected:
        return _asking(asked, f"{typed[:40] or 'Nothing'} was typed, not {expected}; nothing was done.")
    is_again = "again" in request.form
    bound: dict[str, Any] = {"asOf": request.form.get("as_of", "")}
    if not is_again:
        bound["expected"] = int(expected)
    elif "ids" not in asked.order:  # the number goes on changing: no more than was confirmed
        bound["limit"] = int(expected)
    try:
        answer = act(DOORS["start_bulk"], {}, validated(bulks.BulkOrder, {**asked.order, **bound}))
    except Exception as error:
        problem = problem_of(error)
        if problem.status == 409:
            return _asking(asked, said(problem), is_again=True)
        if problem.status != 422:
            raise problem from error
        return _refused(asked.back, said(problem))
    return redirect(url_for(f"{bp.name}.show_bulk_page", bulk_id=shape_of(answer).id, next=asked.back), 303)  # type: ignore[return-value]


def _asking(asked: Asked, problem: str | None = None, *, is_again: bool = False) -> Response:
    """Lead to the page that asks; where more was selected than an address holds, show it at once."""
    address = url_for(f"{bp.name}.ask_bulk", of=asked.text, again="yes" if is_again else None)
    if len(address) > LONGEST_ADDRESS:
        return _question(asked, problem, is_again=is_again)
    response = redirect(address, 303)
    if problem is not None:
        browser.tell(response, problem, is_problem=True)  # type: ignore[arg-type]
    return response  # type: ignore[return-value]


def _question(asked: Asked, problem: str | None = None, *, is_again: bool = False) -> Response:
    action = asked.order["action"]
    try:
        trial = act(DOORS["start_bulk"], {}, validated(bulks.BulkOrder, {**asked.order, "dryRun": True}))
    except Exception as error:
        wrong = problem_of(error)
        if wrong.status != 422:
            raise wrong from error
        return _refused(asked.back, said(wrong))
    jobs = f"{trial.touched:,}{'' if trial.matched_is_exact else ' or more'} {'job' if trial.touched == 1 else 'jobs'}"
    return rendered(
        "bulk",
        action=action,
        asked=asked,
        is_again=is_again,
        title=TITLES[action],
        question=QUESTIONS.get(action, f"{TITLES[action]} {{jobs}}?").format(jobs=jobs, **asked.order),
        trial=trial,
        most_untyped=MOST_UNTYPED,
        **({} if problem is None else {"notice": (problem, True)}),
    )


def _gone() -> Response:
    return _refused(url_for(f"{bp.name}.show_jobs"), "What was chosen is too old, or somebody else's. Choose again.")


def _action() -> str:
    """Return what is to be done; who presses Enter in a field means what that field changes."""
    action = request.form.get("action", "")
    if action != "change":
        return action
    return "change_priority" if request.form.get("priority", "").strip() else "change_queue"


def _refused(back: str, why: str) -> Response:
    response = redirect(back, 303)
    browser.tell(response, why, is_problem=True)  # type: ignore[arg-type]
    return response  # type: ignore[return-value]


@page("/bulk/<bulk_id>", "bulk_progress")
def show_bulk_page(bulk_id: str) -> dict[str, Any]:
    """Show how far a bulk is."""
    bulk = bulks.show_bulk(bulk_id)
    back = request.args.get("next")
    return {"bulk": bulk, "title": TITLES[bulk.action], "back": None if back is None else browser.own_path(back)}
