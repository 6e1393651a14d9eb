from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.actors.cleanup import delete_old_sessions
from app.models.tenant import Tenant
from app.models.user import User

Headers = Callable[..., dict[str, str]]
Bearer = Callable[..., str]


@pytest.fixture
def job_id(app: Flask, user_a: User) -> str:
    """A job that `user_a` asked for."""
    with app.app_context():
        message = delete_old_sessions.send_with_options(tenant=user_a.tenant_id, owner=user_a.id, priority=4)
        return message.message_id


@pytest.mark.requirement("I04", "C13")
def test_owner_sees_the_job(client: FlaskClient, auth_header: Headers, job_id: str) -> None:
    answer = client.get(f"/api/queues/status/{job_id}", headers=auth_header("read"))

    assert answer.status_code == 200
    status = answer.json
    assert (status["id"], status["state"]) == (job_id, "waiting")
    assert (status["type"], status["queue"]) == ("cleanup:sessions", "cleanup")
    assert (status["attemptsMade"], status["maxAttempts"], status["progress"]) == (0, 3, 0)
    assert status["createdAt"].endswith("Z")
    assert status["finishedAt"] is None and status["error"] is None


@pytest.mark.requirement("P03", "P09")
def test_others_cannot_tell_the_job_from_none_at_all(
    client: FlaskClient,
    make_token: Bearer,
    auth_header_b: Headers,
    other_user_a: User,
    tenant_a: Tenant,
    job_id: str,
) -> None:
    def ask(headers: dict[str, str], wanted: str) -> tuple[int, str]:
        answer = client.get(f"/api/queues/status/{wanted}", headers=headers)
        return answer.status_code, answer.json["detail"]

    colleague = {"Authorization": f"Bearer {make_token(other_user_a, 'read', 'admin')}"}
    machine = {"Authorization": f"Bearer {make_token(tenant_a, 'read', 'admin')}"}
    stranger = auth_header_b("read", "admin")
    unknown = "00000000-0000-0000-0000-000000000000"

    answers = {ask(headers, job_id) for headers in (colleague, machine, stranger)}
    assert answers == {ask(stranger, unknown)}
    assert answers.pop()[0] == 404


@pytest.mark.parametrize("odd", ["1 OR 1=1", "{x}", "a%00b", "x" * 10_240, "..%2f..", "%F0%9F%98%80", "a'b"])
def test_odd_id_is_not_found(client: FlaskClient, auth_header: Headers, odd: str) -> None:
    answer = client.get(f"/api/queues/status/{odd}", headers=auth_header("read"))

    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"
