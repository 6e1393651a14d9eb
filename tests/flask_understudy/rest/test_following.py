"""Following one job: waiting, streaming, a token for a browser."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from flask_understudy.operations import waiting
from flask_understudy.rest import following
from flask_understudy.waiting import WaitingRoom
from tests.flask_understudy.rest.conftest import PREFIX, Api
from tools.waiting import wait_for


def events(text: str) -> list[str]:
    return [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]


def test_a_stream_tells_what_happens_until_the_end(api: Api) -> None:
    id = api.send("a@b.c")
    answer: list[Any] = []
    thread = threading.Thread(target=lambda: answer.append(api("GET", f"/{id}/events")))
    thread.start()
    api.site.worker.run(id)
    thread.join(20)

    assert answer[0].content_type.startswith("text/event-stream")
    assert events(answer[0].text)[0] == "state"
    assert events(answer[0].text)[-1] == "done"
    assert '"state": "completed"' in answer[0].text


def test_a_stream_leads_on_where_it_was_left(api: Api) -> None:
    id = api.fail()
    api.post(f"/{id}/retry")
    api.post(f"/{id}/cancel")
    first = api("GET", f"/{id}/events").text
    last = [line for line in first.splitlines() if line.startswith("id: ")][-1].removeprefix("id: ")

    again = api("GET", f"/{id}/events", headers={"Last-Event-ID": last}).text

    assert "log" in events(first)
    assert "log" not in events(again)
    assert api("GET", f"/{id}/events", headers={"Last-Event-ID": "9" * 40}).status_code == 200


def test_a_stream_ends_by_itself(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "STREAM_SECONDS", 0.2)
    monkeypatch.setattr(following, "PING_SECONDS", 0.05)
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.05)

    text = api("GET", f"/{api.send('x')}/events").text

    assert events(text) == ["state"]
    assert ": still here" in text


def test_a_job_that_is_deleted_ends_its_stream(api: Api) -> None:
    id = api.send("x")
    answer: list[Any] = []
    thread = threading.Thread(target=lambda: answer.append(api("GET", f"/{id}/events").text))
    thread.start()
    wait_for(thread.is_alive, "the stream")
    api.delete(f"/{id}")
    thread.join(20)

    assert events(answer[0])[-1] == "done"


def test_a_stream_without_a_place_tells_what_is_known_and_ends(api: Api) -> None:
    id = api.send("x")
    api.site.state.waiting_room = WaitingRoom(0, 0)

    job, counts = api("GET", f"/{id}/events").text, api("GET", "/stream").text

    assert (events(job), events(counts)) == (["state"], ["counts"])
    assert job.startswith("retry: 3000\n") and counts.startswith("retry: 3000\n")


def test_a_long_poll_without_a_place_is_answered_at_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "wait_for_end", None)  # who waits fails
    api.site.state.waiting_room = WaitingRoom(0, 0)
    id = api.send("x")

    assert api.get(f"/{id}?wait=30")["state"] == "waiting"
    assert api.post("?wait=30", 202, json={"type": "work", "payload": {}})["state"] == "waiting"


def test_a_stream_that_was_left_frees_its_place(api: Api) -> None:
    id = api.send("x")
    room = api.site.state.waiting_room = WaitingRoom(1, 1)

    answer = api("GET", f"/{id}/events", buffered=False)
    next(iter(answer.response))
    with room.place("another") as while_it_streams:
        pass
    answer.close()

    with room.place("another") as afterwards:
        assert (while_it_streams, afterwards) == (False, True)


def test_a_token_opens_one_job_and_only_to_read_it(api: Api) -> None:
    mine, other = api.send("a@b.c"), api.send("b@b.c")
    made = api.as_(scopes="read").post(f"/{mine}/token", 201)
    holder = {"Authorization": f"Bearer {made['token']}"}
    nobody = api.anonymous()

    assert nobody("GET", f"/{mine}", headers=holder).json["payload"] is None
    assert nobody("GET", f"/{mine}/logs", headers=holder).status_code == 200
    assert nobody("GET", f"/{other}", headers=holder).status_code == 404
    assert nobody("GET", "", headers=holder).status_code == 403
    assert nobody("GET", "/stats", headers=holder).status_code == 403
    assert nobody("POST", f"/{mine}/cancel", headers=holder).status_code == 403
    assert nobody("POST", f"/{mine}/token", headers=holder).status_code == 403
    api.post(f"/{mine}/cancel")
    assert events(nobody("GET", made["url"].removeprefix(PREFIX)).text)[-1] == "done"


def test_a_token_that_is_old_or_forged_opens_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    id = api.send("a@b.c")
    token = api.post(f"/{id}/token", 201)["token"]
    nobody = api.anonymous()

    assert nobody("GET", f"/{id}", headers={"Authorization": f"Bearer {token}x"}).status_code == 401
    assert nobody("GET", f"/{id}?token={token[:-1]}").status_code == 401
    monkeypatch.setattr("flask_understudy.rest.callers.JOB_TOKEN_SECONDS", -1)
    assert nobody("GET", f"/{id}?token={token}").status_code == 401


def test_counts_are_streamed(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "STREAM_SECONDS", 0.1)
    monkeypatch.setattr("flask_understudy.rest.stream.LOOK_SECONDS", 0.05)
    api.send("a@b.c")
    api.send("a@b.c", tenant="other")

    text = api("GET", "/stream").text

    assert events(text) == ["counts"]
    assert '"email": {"waiting": 1' in text
