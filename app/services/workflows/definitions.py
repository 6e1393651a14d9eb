"""What a workflow is made of: steps of four kinds, checked when somebody writes them down (requirement A20)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from app.extensions import webhooks
from app.models.incident import Status
from app.services.email import check_open, check_template
from app.services.workflows import placeholders
from app.services.workflows.placeholders import StepRefused, stand_in
from flask_understudy.contrib.api import Body
from flask_understudy.contrib.mail import InvalidMail, check
from flask_understudy.contrib.webhooks import destinations, endpoints
from flask_understudy.contrib.webhooks.errors import InvalidWebhook

MOST_STEPS = 50
#: Of all steps together, as JSON in bytes.
MOST_BYTES = 65_536
STAND_IN = "somebody@example.com"


def _passing(act: Callable[[Any], object]) -> AfterValidator:
    """Return a validator that lets pass what a check does."""

    def checked(value: Any) -> Any:
        _accept(lambda: act(value))
        return value

    return AfterValidator(checked)


def _accept(act: Callable[[], object]) -> None:
    try:
        act()
    except (StepRefused, InvalidMail, InvalidWebhook) as problem:
        raise PydanticCustomError("step", "{why}", {"why": str(problem)}) from None


def _check_address(text: str) -> None:
    if not placeholders.is_in(text):
        check(text, "", text="to be written")


def _check_name(text: str) -> None:
    if not text.isprintable() or set(text) & set("/#"):
        raise StepRefused(f"{text!r} is no name; it takes printable characters without '/' and '#'.")


Filled = _passing(placeholders.check)
Address = Annotated[str, StringConstraints(max_length=320), Filled, _passing(_check_address)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=500), Filled]
Content = Annotated[str, StringConstraints(min_length=1, max_length=20_000), Filled]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100), _passing(_check_name)]


class _Step(Body):
    name: Name | None = Field(default=None, description="Unique in the workflow; default: step and its number.")
    continue_on_error: bool | None = Field(default=None, description="Default: as the workflow says.")


class EmailStep(_Step):
    """A mail: `subject` with `html`, `text` or both, or `type` with `data`."""

    kind: Literal["email"]
    to: Address | Annotated[list[Address], Field(min_length=1, max_length=50)]
    subject: Line | None = None
    html: Content | None = Field(default=None, description="Values are written so that HTML shows them as they are.")
    text: Content | None = None
    type: Annotated[str, StringConstraints(max_length=100)] | None = Field(
        default=None, description="The name of a mail of the service, such as welcome."
    )
    data: Annotated[dict[str, Any], Filled] | None = Field(default=None, description="The fields of that mail.")

    @model_validator(mode="after")
    def _one_of_two(self) -> EmailStep:
        written = [name for name in ("subject", "html", "text") if getattr(self, name) is not None]
        if self.type is None:
            if self.data is not None or self.subject is None:
                raise PydanticCustomError("mail", "A mail takes a subject with html or text, or a type with data.")
            _accept(lambda: check(STAND_IN, stand_in(self.subject), text=self.text, html=self.html))
        else:
            if written or self.data is None or not isinstance(self.to, str):
                raise PydanticCustomError("mail", "A mail with a type takes one address as to, and data; nothing else.")
            _accept(lambda: check_open(str(self.type)))
            _accept(lambda: check_template(str(self.type), stand_in(self.data)))
        return self


class NotificationStep(_Step):
    """A notification to a member of the organisation, by mail."""

    kind: Literal["notification"]
    to: Address = Field(description="The address of a member.")
    title: Line
    message: Content
    link: Annotated[str, StringConstraints(max_length=2_000), Filled] = "/exports"

    @model_validator(mode="after")
    def _can_be_sent(self) -> NotificationStep:
        fields = {"name": "x", "title": self.title, "message": self.message, "link": self.link}
        _accept(lambda: check(STAND_IN, stand_in(self.title), text="to be written"))
        _accept(lambda: check_template("notification", stand_in(fields)))
        return self


class StatusStep(_Step):
    """The status of an incident of the organisation."""

    kind: Literal["status"]
    incident: Annotated[str, StringConstraints(min_length=1, max_length=200), Filled] = Field(description="Its id.")
    status: Status


class WebhookStep(_Step):
    """A webhook to a URL, or without one to the organisation's subscriptions."""

    kind: Literal["webhook"]
    event_type: Annotated[str, _passing(endpoints.check_event)]
    payload: Annotated[Any, Filled] = Field(
        default=None,
        description="What is sent; default: the event's name as event, and the execution's payload as data.",
    )
    url: Annotated[str, _passing(lambda url: destinations.read(url, webhooks.rules))] | None = Field(
        default=None,
        description="Fixed: it takes no placeholders. Without its query for callers that may not change it.",
    )
    secret: Annotated[str, _passing(endpoints.check_secret)] | None = Field(
        default=None, description="What signs; never shown. Left out in a change it stays, with the same name and URL."
    )

    @model_validator(mode="after")
    def _secret_for_a_url(self) -> WebhookStep:
        if self.secret is not None and self.url is None:
            raise PydanticCustomError("webhook", "A secret goes with a url; subscriptions have secrets of their own.")
        if self.url is not None and "{{" in self.url:
            raise PydanticCustomError(
                "webhook", "The url takes no placeholders; the payload decides not where it goes."
            )
        return self


Step = Annotated[EmailStep | NotificationStep | StatusStep | WebhookStep, Field(discriminator="kind")]


def _named(steps: list[Any]) -> list[Any]:
    """Give each step a name of its own, and bound what they are together."""
    for number, step in enumerate(steps, 1):
        step.name = step.name or f"step {number}"
    names = [step.name for step in steps]
    if twice := sorted(name for name in set(names) if names.count(name) > 1):
        raise PydanticCustomError("names", "Two steps are called {name}.", {"name": repr(twice[0])})
    if (size := len(json.dumps([step.model_dump(mode="json") for step in steps]))) > MOST_BYTES:
        raise PydanticCustomError(
            "size", "The steps have {size} bytes; {most} are kept.", {"size": size, "most": MOST_BYTES}
        )
    return steps


Steps = Annotated[list[Step], Field(min_length=1, max_length=MOST_STEPS), AfterValidator(_named)]


class NewWorkflow(Body):
    """A workflow that is wanted."""

    name: Name
    steps: Steps
    continue_on_error: bool = Field(default=False, description="Whether the steps after one that failed are done.")
    enabled: bool = True


class WorkflowChange(Body):
    """What is to be different; what is not given stays. Executions that were started keep their steps."""

    name: Name = Field(default_factory=str)
    steps: Steps = Field(default_factory=list)
    continue_on_error: bool = False
    enabled: bool = True
