import io
import json
from typing import Annotated, Any, Literal

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import Field

from flask_understudy.contrib.api import Body, problems, read_body, read_query


class Order(Body):
    item_name: str
    count: int = 1


class Circle(Body):
    kind: Literal["circle"]
    radius: int | list[int]


class Square(Body):
    kind: Literal["square"]
    side: int
    square: bool = True


class Drawing(Body):
    shapes: list[Annotated[Circle | Square, Field(discriminator="kind")]]


class Filter(Body):
    page_size: int = 50


@pytest.fixture
def client() -> FlaskClient:
    app = Flask("bodies")
    problems.init_app(app)

    @app.post("/order")
    def order() -> dict[str, Any]:
        return read_body(Order).model_dump()

    @app.post("/drawing")
    def drawing() -> dict[str, Any]:
        return read_body(Drawing).model_dump()

    @app.get("/orders")
    def orders() -> dict[str, Any]:
        return read_query(Filter).model_dump()

    return app.test_client()


def test_body_is_read_in_camel_case_and_in_snake_case(client: FlaskClient) -> None:
    camel = client.post("/order", json={"itemName": "tea", "count": 2})
    snake = client.post("/order", json={"item_name": "tea", "count": 2})

    assert camel.json == snake.json == {"item_name": "tea", "count": 2}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/itemName"),
        ({"itemName": 5}, "/itemName"),
        ({"itemName": "tea", "count": "many"}, "/count"),
        ({"itemName": "tea", "other": 1}, "/other"),
        ({"itemName": "tea", "__proto__": {}}, "/__proto__"),
        ({"itemName": "tea", "a/b~c": 1}, "/a~1b~0c"),
        ([], ""),
        (None, ""),
        (-0, ""),
    ],
)
def test_wrong_field_is_a_422_that_points_at_it(client: FlaskClient, body: Any, pointer: str) -> None:
    answer = client.post("/order", data=json.dumps(body), content_type="application/json")

    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == pointer
    assert answer.json["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("shape", "pointer"),
    [
        ({"kind": "circle", "radius": "x"}, "/shapes/0/radius"),
        ({"kind": "circle", "radius": [1, "x"]}, "/shapes/0/radius"),
        ({"kind": "square", "side": None}, "/shapes/0/side"),
        ({"kind": "square"}, "/shapes/0/side"),
        ({"kind": "square", "square": True}, "/shapes/0/side"),
        ({"kind": "square", "side": 1, "square": 1}, "/shapes/0/square"),
        ({"kind": "square", "side": 1, "circle": 1}, "/shapes/0/circle"),
        ({"kind": "star"}, "/shapes/0"),
        (7, "/shapes/0"),
    ],
)
def test_a_pointer_leads_into_the_document_whichever_member_of_a_union_was_tried(
    client: FlaskClient, shape: Any, pointer: str
) -> None:
    answer = client.post("/drawing", json={"shapes": [shape]})

    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"   ",
        b'{"itemName": "te',
        b'{"itemName": NaN}',
        b'{"itemName": Infinity}',
        b'{"count": 1e400}',
        b'{"count": ' + b"9" * 5_000 + b"}",
        b'{"count": 9007199254740993}',
        b'{"count": 1, "count": 2}',
        b"[" * 1_000 + b"]" * 1_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"[" + b"0," * 100_000 + b"0]",
        b'{"itemName": "a\\u0000b"}',
        b'{"a\\u0000b": 1}',
        b'{"itemName": "\\ud800"}',
        b'{"itemName": "\xff\xfe"}',
        '{"itemName": "tea"}'.encode("utf-16"),
        b"\xef\xbb\xbf{}",
        b"!!python/object:os.system",
    ],
    ids=lambda raw: repr(raw[:24]),
)
def test_what_is_not_strict_json_is_a_400(client: FlaskClient, raw: bytes) -> None:
    answer = client.post("/order", data=raw, content_type="application/json")

    assert answer.status_code == 400
    assert answer.json["detail"].startswith("It was refused: ")


@pytest.mark.requirement("C12")
def test_body_above_256_kb_is_a_413(client: FlaskClient) -> None:
    fits = client.post("/order", json={"itemName": "x" * 250_000})
    too_large = client.post("/order", json={"itemName": "x" * 300_000})

    assert fits.status_code == 200
    assert too_large.status_code == 413
    assert too_large.content_type == "application/problem+json"


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data", "", "text/json"])
def test_other_content_types_are_a_415(client: FlaskClient, kind: str) -> None:
    answer = client.post("/order", data=json.dumps({"itemName": "tea"}), content_type=kind)

    assert answer.status_code == 415


def test_compressed_body_is_a_415(client: FlaskClient) -> None:
    answer = client.post("/order", json={"itemName": "tea"}, headers={"Content-Encoding": "gzip"})

    assert answer.status_code == 415


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 200),
        ("?pageSize=10", 200),
        ("?pageSize=abc", 422),
        ("?pageSize=1&pageSize=2", 422),
        ("?x=1", 422),
        ("?pageSize=%00", 400),
    ],
)
def test_query_is_checked_like_a_body(client: FlaskClient, query: str, status: int) -> None:
    assert client.get(f"/orders{query}").status_code == status


@pytest.mark.requirement("C12")
@pytest.mark.parametrize("body", [b" " * 300_000, b'{"itemName": "tea"}' + b" " * 300_000, b"[" + b"1," * 140_000])
@pytest.mark.parametrize("is_chunked", [True, False])
def test_body_above_the_limit_is_a_413_that_names_it(client: FlaskClient, body: bytes, is_chunked: bool) -> None:
    length: dict[str, Any] = {"content_length": None} if is_chunked else {}
    answer = client.post(
        "/order",
        input_stream=io.BytesIO(body),
        content_type="application/json",
        environ_overrides={"wsgi.input_terminated": True} if is_chunked else {"CONTENT_LENGTH": str(len(body))},
        **length,
    )

    assert answer.status_code == 413
    assert "262144 bytes" in answer.json["detail"]
    assert "Send less" in answer.json["detail"]


@pytest.mark.requirement("C12")
def test_chunked_body_of_exactly_the_limit_is_read_whole(client: FlaskClient) -> None:
    body = b'{"itemName": "tea"}'.ljust(262_144)
    answer = client.post(
        "/order",
        input_stream=io.BytesIO(body),
        content_type="application/json",
        environ_overrides={"wsgi.input_terminated": True},
    )

    assert answer.json == {"item_name": "tea", "count": 1}


def test_query_with_a_nul_is_called_a_query(client: FlaskClient) -> None:
    answer = client.get("/orders?pageSize=%00")

    assert (answer.status_code, answer.json["title"]) == (400, "The query cannot be accepted")
