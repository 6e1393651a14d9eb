"""An OAuth server as strict as providers are: a refresh token works once, and used again it ends the grant."""

from __future__ import annotations

import base64
import threading
from typing import Any, Self
from urllib.parse import unquote

from flask import Flask, jsonify, request
from werkzeug.serving import make_server

CLIENT = ("the-service", "its secret")


class OAuthServer:
    """A server on 127.0.0.1; a context manager.

    Attributes:
        url: Where tokens are renewed.
        renewals: How many were renewed.
        failure: A status that is answered instead, while it is set.
        text: What is answered instead, while it is set.
        more: Put in the place of what the answer has, None as null.
        without: Left out of the answer.
        hold: While it is cleared, requests wait for their answers.
        auths: How each client showed its secret: ``basic`` or ``post``.
    """

    def __init__(self) -> None:
        self.renewals = 0
        self.failure: int | None = None
        self.text: str | None = None
        self.more: dict[str, Any] = {}
        self.without: set[str] = set()
        self.hold = threading.Event()
        self.hold.set()
        self.auths: list[str] = []
        self._valid = {"refresh-0"}
        self._lock = threading.Lock()
        app = Flask("oauth")
        app.add_url_rule("/token", view_func=self._renew, methods=["POST"])
        self._server = make_server("127.0.0.1", 0, app, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/token"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()

    def _renew(self) -> Any:
        self.hold.wait(10)
        if self.failure is not None:
            return "the provider is down", self.failure
        if self.text is not None:
            return self.text
        if self._client() != CLIENT:
            return jsonify(error="invalid_client"), 401
        with self._lock:
            token = request.form["refresh_token"]
            if token not in self._valid:
                self._valid.clear()  # it was stolen, or this one is: nobody goes on
                return jsonify(error="invalid_grant", error_description="the token was used before"), 400
            self.renewals += 1
            self._valid = {f"refresh-{self.renewals}"}
            answer = {"access_token": f"access-{self.renewals}", "refresh_token": f"refresh-{self.renewals}"}
            whole = {"token_type": "Bearer", "expires_in": 1800, **answer, **self.more}
            return jsonify({name: value for name, value in whole.items() if name not in self.without})

    def _client(self) -> tuple[str, str]:
        header = request.headers.get("Authorization", "")
        if header.startswith("Basic "):
            self.auths.append("basic")
            name, _, secret = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
            return unquote(name), unquote(secret)
        self.auths.append("post")
        return request.form.get("client_id", ""), request.form.get("client_secret", "")
