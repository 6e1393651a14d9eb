"""Asking a person. The link that decides is signed when it is needed and stored nowhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import current_app
from itsdangerous import URLSafeSerializer
from werkzeug.routing import BuildError

from ..encoding import printable
from ..errors import InvalidStep
from ..ledger import approvals, steps
from ..ledger.approvals import NOBODY, Decision, id_of
from ..ledger.step import APPROVAL, COMPLETED, RUN, TIMED_OUT, WAITING
from .doing import Work, do
from .run import Place, Run

MAX_PROMPT = 2_000
MAX_TO = 200
SALT = "understudy-approval"
PAGE = "understudy.show_approval"

Notify = Callable[[str], Any]


def approve(
    run: Run, name: str, prompt: Any, to: Any, timeout_ms: int, notify: Notify | None, was: str | None
) -> Decision:
    """Return what was decided; leave the actor until it is."""
    texts = _text("prompt", prompt, MAX_PROMPT, at_least=1), _text("to", to, MAX_TO, at_least=0)
    place = run.place(APPROVAL, name, was)
    known = place.recorded
    if known is None:
        run.check_written(f"Before step {name!r}")
    waits_on = run.note(place, WAITING, wake_ms=timeout_ms if known is None else known.wake_ms)
    if known is None:
        waits_on.approval = {
            "id": id_of(run.job.id, place.position),
            "job_id": run.job.id,
            "position": place.position,
            "tenant": run.job.tenant,
            "name": place.name,
            "prompt": texts[0],
            "asked": texts[1],
        }
    if notify is not None:
        link = link_to(run.job.id, place.position)
        if known is None:  # whoever gets the link must find something
            run.record(waits_on)
            waits_on = run.note(place, WAITING, wake_ms=timeout_ms)
        do(run, run.follower(place, RUN, "notify"), Work(notify, (link,), {}))
    if known is not None and known.state in {COMPLETED, TIMED_OUT}:
        return Decision.of(known.result)
    if known is not None and (known.wake_ms is None or known.wake_ms <= 0):
        return _give_up(run, place)
    raise run.suspend(waits_on)


def _give_up(run: Run, place: Place) -> Decision:
    """Let it expire, unless somebody decides at this very moment."""
    with run.worker.state.database.transaction() as connection:
        if approvals.expire(connection, id_of(run.job.id, place.position)):
            note = run.note(place, TIMED_OUT, result=NOBODY.encoded())
            if not steps.record(connection, run.worker.id, [note]):
                raise run.lost(note)
            return NOBODY
    with run.worker.state.database.statement() as connection:
        return Decision.of(steps.read(connection, run.job.id)[place.position].result)


def link_to(job_id: str, position: int) -> str:
    """Return the link that decides an approval: absolute when the application has a `SERVER_NAME`, else a path.

    Raises:
        InvalidStep: The REST API, which shows the page, is not mounted.
    """
    token = str(signer().dumps(id_of(job_id, position)))
    host, root = current_app.config.get("SERVER_NAME"), current_app.config["APPLICATION_ROOT"]
    adapter = current_app.url_map.bind(host or "", root, url_scheme=current_app.config["PREFERRED_URL_SCHEME"])
    try:
        return adapter.build(PAGE, {"token": token}, force_external=bool(host))
    except BuildError:
        raise InvalidStep(
            "The page of an approval is part of the REST API, which is not mounted: it needs a SECRET_KEY and "
            "@jobs.authorizer."
        ) from None


def signer() -> URLSafeSerializer:
    """Return what signs the links of the current application."""
    return URLSafeSerializer(current_app.secret_key or "", salt=SALT)


def _text(what: str, value: Any, most: int, *, at_least: int) -> str:
    if not isinstance(value, str) or not at_least <= len(value) <= most:
        raise InvalidStep(f"{what} is {value!r:.90}; it takes a text of {at_least} to {most} characters.")
    return printable(value, most)


__all__ = ["approve", "link_to", "signer"]
