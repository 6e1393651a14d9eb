"""The service as a web server loads it, with a door that sends any of its actors."""

from __future__ import annotations

from typing import Any

from flask import request

from tests.integration.service import actors
from tests.integration.service.ext import create_app, jobs

app = create_app()
app.logger.info("%d actors are declared", len(jobs.broker.actors))


@app.post("/send/<name>")
def send(name: str) -> dict[str, Any]:
    message = getattr(actors, name).send(*request.get_json(force=True))
    return {"id": message.message_id}


@app.get("/")
def index() -> dict[str, bool]:
    return {"ok": True}
