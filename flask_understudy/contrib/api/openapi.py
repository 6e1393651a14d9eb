"""Views that say what they take and answer, and the OpenAPI 3.1 document made from the very models that validate."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Flask, Response, has_request_context, request
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema
from werkzeug.routing import Rule

from . import problems
from .bodies import Body, read_body, read_query

F = TypeVar("F", bound=Callable[..., Any])

JSON = "application/json"
_REF = "#/components/schemas/{model}"
_CONVERTER = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True, slots=True)
class Answer:
    """One successful answer of an operation.

    Attributes:
        model: The shape of its JSON body; None = another media type, or no body at all.
        description: When it is given.
        media_type: Of the body; empty = no body.
    """

    model: type[BaseModel] | None = None
    description: str = "Success."
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """What a view takes and answers; see `operation`."""

    tag: str
    summary: str
    description: str
    answers: Mapping[int, Answer]
    errors: tuple[int, ...]
    body: type[BaseModel] | None
    body_is_optional: bool
    query: type[BaseModel] | None
    is_secured: bool


class Nothing(Body):
    """The query of an operation that takes none."""


class WrongField(BaseModel):
    """A field that cannot be accepted."""

    pointer: str = Field(description="Where it stands, as a JSON pointer (RFC 6901).")
    detail: str


class ProblemShape(BaseModel):
    """An error, as RFC 9457 has it."""

    model_config = ConfigDict(title="Problem", extra="allow")

    type: str
    title: str
    status: int
    detail: str | None = None
    instance: str | None = None
    request_id: str | None = Field(default=None, description="Names the request in the logs.")
    errors: list[WrongField] | None = None


def operation(
    *,
    tag: str,
    answers: Mapping[int, Answer | type[BaseModel]],
    body: type[BaseModel] | None = None,
    body_is_optional: bool = False,
    query: type[BaseModel] | None = None,
    errors: tuple[int, ...] = (),
    is_secured: bool = True,
) -> Callable[[F], F]:
    """Let a view get its body and query as models, return models, and stand in the OpenAPI document.

    Args:
        tag: The group it stands in.
        answers: The successful answers by status; a bare model is short for `Answer(model)`.
        body: Model of the JSON body, handed over as the argument `body`.
        body_is_optional: Whether a request without a body means a body of defaults.
        query: Model of the query string, handed over as the argument `query`.
        errors: Statuses of the errors it has beside those that follow from the rest.
        is_secured: Whether it needs credentials.
    """
    known = {status: Answer(answer) if isinstance(answer, type) else answer for status, answer in answers.items()}

    def decorate(view: F) -> F:
        text = inspect.cleandoc(view.__doc__ or "")
        summary, _, description = text.partition("\n")

        @functools.wraps(view)
        def run(**given: Any) -> Any:
            if query is not None:
                given["query"] = read_query(query)
            else:
                read_query(Nothing)
            if body is not None:
                is_empty = body_is_optional and not request.content_length and not request.mimetype
                given["body"] = body() if is_empty else read_body(body)
            return _response(view(**given))

        run.__operation__ = Operation(  # type: ignore[attr-defined]
            tag, summary.rstrip("."), description.strip(), known, errors, body, body_is_optional, query, is_secured
        )
        return run  # type: ignore[return-value]

    return decorate


def _response(answer: Any) -> Any:
    if isinstance(answer, BaseModel):
        return _json(answer)
    if isinstance(answer, tuple) and isinstance(answer[0], BaseModel):
        return (_json(answer[0]), *answer[1:])
    return answer


def _json(model: BaseModel) -> Response:
    return Response(model.model_dump_json(by_alias=True), content_type=JSON)


def document(
    app: Flask,
    *,
    title: str,
    version: str,
    description: str = "",
    has: Callable[[Callable[..., Any]], bool] = lambda view: True,
) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of every view of an application that is an `operation`.

    Args:
        app: The application.
        title: Of the API.
        version: Of the API.
        description: Of the API, in Markdown.
        has: Says of a view whether it is described; default all are.
    """
    found = [one for one in _operations(app) if has(app.view_functions[one[0].endpoint])]
    names, components = _schemas([operation for _, _, operation in found])
    paths: dict[str, dict[str, Any]] = {}
    for rule, method, operation_ in found:
        path = _CONVERTER.sub(r"{\1}", rule.rule)
        paths.setdefault(path, {})[method.lower()] = _described(rule, method, operation_, names, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": description},
        "servers": [{"url": _root(app)}],
        "tags": [{"name": tag} for tag in sorted({operation.tag for _, _, operation in found})],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _root(app: Flask) -> str:
    """Return where the application is, as whoever asks for the document has reached it."""
    root = request.root_url if has_request_context() else str(app.config["APPLICATION_ROOT"])
    return root.rstrip("/") or "/"


def _operations(app: Flask) -> Iterator[tuple[Rule, str, Operation]]:
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        operation_ = getattr(view, "__operation__", None)
        if operation_ is not None:
            for method in _METHODS:
                if method in (rule.methods or ()):
                    yield rule, method, operation_


_Names = dict[tuple[type[BaseModel], str], dict[str, Any]]


def _schemas(operations: list[Operation]) -> tuple[_Names, dict[str, Any]]:
    wanted: dict[tuple[type[BaseModel], str], None] = {(ProblemShape, "serialization"): None}
    for operation_ in operations:
        for model in (operation_.body, operation_.query):
            if model is not None:
                wanted[model, "validation"] = None
        for answer in operation_.answers.values():
            if answer.model is not None:
                wanted[answer.model, "serialization"] = None
    named, definitions = models_json_schema(list(wanted), ref_template=_REF)  # type: ignore[arg-type]
    return named, definitions.get("$defs", {})  # type: ignore[return-value]


def _described(
    rule: Rule, method: str, operation_: Operation, names: _Names, components: dict[str, Any]
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "tags": [operation_.tag],
        "summary": operation_.summary,
        "operationId": f"{method.lower()}_{rule.endpoint.replace('.', '_')}",
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in _CONVERTER.findall(rule.rule)
        ],
        "responses": {},
    }
    if operation_.description:
        described["description"] = operation_.description
    if operation_.query is not None:
        described["parameters"] += _parameters(names[operation_.query, "validation"], components)
    if operation_.body is not None:
        described["requestBody"] = {
            "required": not operation_.body_is_optional,
            "content": {JSON: {"schema": names[operation_.body, "validation"]}},
        }
    if operation_.is_secured:
        described["security"] = [{"bearer": []}]
    responses = described["responses"]
    for status, answer in operation_.answers.items():
        responses[str(status)] = {"description": answer.description}
        if answer.model is not None:
            schema = names[answer.model, "serialization"]
            responses[str(status)]["content"] = {answer.media_type or JSON: {"schema": schema}}
        elif answer.media_type:
            responses[str(status)]["content"] = {answer.media_type: {}}
    problem = {problems.MEDIA_TYPE: {"schema": names[ProblemShape, "serialization"]}}
    for status in sorted(_error_statuses(rule, operation_)):
        responses[str(status)] = {"description": problems.Problem(status).title, "content": problem}
    responses["default"] = {"description": "Any other error.", "content": problem}
    return described


def _error_statuses(rule: Rule, operation_: Operation) -> set[int]:
    statuses = set(operation_.errors)
    if operation_.is_secured:
        statuses |= {401, 403}
    if operation_.body is not None:
        statuses |= {400, 413, 415, 422}
    if operation_.query is not None:
        statuses |= {400, 422}
    if rule.arguments:
        statuses |= {404}
    return statuses - set(operation_.answers)


def _parameters(reference: dict[str, Any], components: dict[str, Any]) -> Iterator[dict[str, Any]]:
    schema = components[reference["$ref"].rpartition("/")[2]]
    required = set(schema.get("required", ()))
    for name, field in schema.get("properties", {}).items():
        parameter = {"name": name, "in": "query", "required": name in required, "schema": field}
        if text := field.get("description"):
            parameter["description"] = text
        yield parameter
