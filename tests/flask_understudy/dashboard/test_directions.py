"""Texts of strangers that turn their own direction around: what follows them on a page must read as it is."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from flask_understudy import current_job, step
from flask_understudy.contrib.webhooks.sending import Webhooks
from flask_understudy.dashboard.words import pretty
from tests.flask_understudy.dashboard.conftest import signed_in
from tests.flask_understudy.rest.conftest import Api
from tests.flask_understudy.steps.test_waiting import LeaveApproved

#: Right to left from here on, and "exe.png" then reads "gnp.exe".
TURNED = "\u202egnp.exe"
#: Words are printable: letters that are read from right to left, which move what follows as well.
WORD = "\u05d0\u05d1 7"

#: What stands in a line with others; the style sheet isolates each.
INLINE = {
    "a",
    "bdi",
    "code",
    "small",
    "strong",
    "span",
    "q",
    "em",
    "kbd",
    "button",
    "label",
    "option",
    "textarea",
    "title",
}
#: What is a paragraph, or a field, by itself.
ALONE = {"pre", "title", "textarea", "option"}
VOID = {"br", "hr", "img", "input", "link", "meta", "rect"}


@dataclass
class Node:
    """An element: its name, and its texts and elements in order."""

    name: str
    children: list[Node | str] = field(default_factory=list)


class Tree(HTMLParser):
    """Reads a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open = [Node("page")]
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        node = Node(tag)
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.open[-1].children.append(Node(tag))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().name == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.open[-1].children.append(data)


def turning(node: Node) -> list[str]:
    """The texts that turn around something beside them."""
    found = []
    for place, child in enumerate(node.children, 1):
        if isinstance(child, Node):
            found += turning(child)
        elif re.search("[\u202e\u05d0]", child) and node.name not in ALONE:
            is_last = re.search(f"({TURNED}|{WORD})\\W*$", child) is not None
            is_alone = place == len(node.children) and (node.name in INLINE or place == 1)
            if not (is_last and is_alone):
                found.append(f"<{node.name}> {child.strip()}")
    return found


def turned_site(api: Api) -> list[str]:
    """A site in which everybody says what turns around; return the addresses of its pages below the dashboard's."""
    jobs, ids = api.site.jobs, []
    options: dict[str, Any] = {"owner": WORD, "tags": [WORD, "b"], "correlation_id": WORD, "tenant": "acme"}

    @jobs.actor(actor_name="turned", queue_name="email", max_retries=0)
    def turned(text: str) -> dict[str, str]:
        current_job.log(text)
        current_job.progress(50, text)
        if text.startswith("x"):
            raise ValueError(text)
        return {text: text}

    @jobs.actor(actor_name="asks", queue_name="email", workflow=True, max_retries=0)
    def asks(text: str) -> str:
        step.run("note", lambda: text)
        return step.approve("manager", prompt=text, to=text).state

    for actor, text, more in (
        (turned, TURNED, {"dedup_key": WORD}),
        (turned, f"x{TURNED}", {}),
        (asks, TURNED, {}),
        (turned, TURNED, {"delay": 3_600_000, "dedup_key": f"b{WORD}"}),
    ):
        ids.append(actor.send_with_options(args=(text,), **options, **more).message_id)
        if "delay" not in more:
            api.site.worker.run(ids[-1])
    runs = turned.send_with_options(args=(TURNED,), **options).message_id
    api.site.claim(api.site.process(), runs)
    api.site.change(runs, progress_message=f"'{TURNED}'", progress="5")
    api.post(f"/{ids[3]}/cancel", json={"reason": TURNED})
    api.post(f"/{api.send(actor='work', delay=9_000_000)}/cancel", json={"reason": TURNED})
    with api.site.app.app_context():
        jobs.schedules.register(WORD, api.actors["work"], "every 1 hour", {"to": TURNED}, tenant="acme")
        hooks = Webhooks(jobs)
        endpoint = hooks.endpoints.create("acme", "https://example.com/x", ["*"], description=WORD)[0].id
        hooks.publish("incident.created", {"title": TURNED}, "acme")
        api.site.db.session.commit()
        batch = jobs.batch([turned.message_with_options(args=(f"x{TURNED}",), tenant="acme", owner=WORD)], name=WORD)
        event = jobs.publish(LeaveApproved(employee_id=1, by=TURNED), tenant="acme")
    api.site.worker.drain()
    lists = ["", "/jobs", "/failures", "/workflows", "/events", "/schedules", "/scheduled", "/batches", "/webhooks"]
    lists += ["/audit", "/tenants", "/limits", "/queues", "/workers", "/types", f"/jobs?q={TURNED}"]
    first, second = (asks.send_with_options(args=(TURNED,), **options).message_id for _ in range(2))
    for id, verdict in ((first, "approve"), (second, "reject")):
        api.site.worker.run(id)
        [approval] = [one["id"] for one in api.get("/approvals")["data"] if one["jobId"] == id]
        api.post(f"/approvals/{approval}/{verdict}", json={"comment": TURNED})
    ids += [first, second]
    return [
        *lists,
        "/workflows?decision=approved",
        f"/runs/{first}",
        *(f"/jobs/{id}" for id in (*ids, runs)),
        f"/runs/{ids[2]}",
        f"/batches/{batch.id}",
        f"/schedules/{WORD}",
        f"/webhooks/{endpoint}",
        *([f"/events/{event}"] if isinstance(event, str) else []),
    ]


def test_nothing_turns_around_what_stands_beside_it(sqlite_api: Api) -> None:
    pages = turned_site(sqlite_api)
    operator = signed_in(sqlite_api, "read payload enqueue operate admin tenants")

    found = {path: turning(Tree(operator.see(path)).open[0]) for path in pages}

    assert {path: texts for path, texts in found.items() if texts} == {}
    assert sum(bool(re.search("[\u202e\u05d0]", operator.see(path))) for path in pages) > 10


def test_json_shows_what_would_turn_it_around() -> None:
    assert pretty({"to": TURNED, "é": "\u2066"}) == '{\n  "to": "\\u202egnp.exe",\n  "é": "\\u2066"\n}'
