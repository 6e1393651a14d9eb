"""What several doors of the service answer."""

from __future__ import annotations

from typing import Any

import dramatiq
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Shape(BaseModel):
    """Base of what is answered."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    def answer(self) -> dict[str, Any]:
        """Return it as JSON values, named as the API names them."""
        return self.model_dump(mode="json", by_alias=True)


class Queued(Shape):
    """A job that was accepted."""

    job_id: str = Field(description="See /api/queues/status/{id}.")
    type: str
    queue: str

    @classmethod
    def of(cls, message: dramatiq.Message[Any]) -> Queued:
        """Return the shape of a message that was sent."""
        return cls(job_id=message.message_id, type=message.actor_name, queue=message.queue_name)
