"""The program behind `make screenshots`: pictures of the dashboard for the documentation, of a service with jobs in it.

It starts the demo on a free port and in a folder of its own, sends jobs that succeed, fail, wait and run, and takes the
pictures with the Chromium that is installed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import Browser, Page

from tools.browser import installed, open_browser
from tools.waiting import wait_for

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "images"
START_SECONDS = 120

#: Pictures by their names: the page, and whether it is dark.
PICTURES = {
    "overview": ("", False),
    "overview-dark": ("", True),
    "jobs": ("/jobs", False),
    "job": ("/jobs/{failed}", False),
    "run": ("/runs/{run}", False),
    "schedules": ("/schedules", False),
}


class Demo:
    """The demo as a program of its own.

    Attributes:
        url: Where it serves.
        token: The host's, who sees everything.
    """

    def __init__(self, folder: str) -> None:
        """Start it and wait until it says its tokens."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log = Path(folder) / "log"
        environ = os.environ | {"PORT": str(port), "INSTANCE_PATH": folder, "PYTHONPATH": str(ROOT)}
        with self._log.open("wb") as log:
            command = [sys.executable, "-m", "tools.demo"]
            self._process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=log, stderr=log)
        found = wait_for(
            lambda: re.search(r"  host +(\S+)", self._log.read_text()),
            "the demo",
            timeout_seconds=START_SECONDS,
            every_seconds=0.2,
        )
        assert found is not None
        self.token = found[1]

    def stop(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send a request; return the JSON of its answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def send(self, type_: str, **options: Any) -> str:
        """Send a job; return its id."""
        payload = options.pop("payload", {})
        return str(self.ask("/api/jobs", {"type": type_, "payload": payload, **options})["id"])


def main() -> int:
    """Take all pictures; return the exit code."""
    path = installed()
    if path is None:
        print("No Chromium is installed: apt-get install chromium, or set CHROMIUM to its path.", file=sys.stderr)
        return 1
    FOLDER.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="understudy-pictures-") as folder:
        demo = Demo(folder)
        try:
            ids = _fill(demo)
            with open_browser(path) as browser:
                for name, (page, is_dark) in PICTURES.items():
                    _take(browser, demo, name, page.format_map(ids), is_dark)
        finally:
            demo.stop()
    return 0


def _fill(demo: Demo) -> dict[str, str]:
    """Send jobs of all kinds, and return the ids of those that have a picture."""
    for n in range(40):
        demo.send("critical:job", payload={"order_id": str(4711 + n)})
    for n in range(9):
        demo.send("flaky:job", payload={"chance": 1.0}, maxRetries=0 if n % 3 else 2)
    failed = demo.send("critical:job", payload={"order_id": "4780", "outcome": "refused"})
    demo.send("critical:job", payload={"order_id": "4781", "outcome": "unreachable"})
    demo.send("long:task", payload={"items": 300, "milliseconds": 400})
    demo.send("long:task", payload={"items": 10}, delay=5_400_000)
    demo.send("report:send", payload={"report_id": "42", "recipients": ["ada@acorn.example"]}, delay=90_000)
    order = {"organizationName": "Cedar Works", "adminEmail": "cy@cedar.example", "adminName": "Cy", "tier": "starter"}
    run = str(demo.ask("/api/jobs/tenant-onboarding", order)["jobId"])

    def is_done() -> bool:
        return all(demo.ask(f"/api/jobs/{id_}")["state"] in {"completed", "failed"} for id_ in (failed, run))

    wait_for(is_done, "the jobs", timeout_seconds=60, every_seconds=0.5)
    return {"failed": failed, "run": run}


def _take(browser: Browser, demo: Demo, name: str, page: str, is_dark: bool) -> None:
    context = browser.new_context(
        viewport={"width": 1280, "height": 800}, color_scheme="dark" if is_dark else "light", device_scale_factor=1
    )
    shown: Page = context.new_page()
    root = f"{demo.url}/api/jobs/dashboard"
    shown.goto(root)
    shown.get_by_label("Token").fill(demo.token)
    shown.get_by_role("button", name="Sign in").click()
    shown.goto(root + page)
    time.sleep(1)  # what is drawn comes to rest
    shown.screenshot(path=FOLDER / f"{name}.png")
    context.close()
    print(f"docs/images/{name}.png")


if __name__ == "__main__":
    sys.exit(main())
