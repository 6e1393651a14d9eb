"""The files that platforms read. What they start is tested in test_procfile.py."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from honcho.environ import parse_procfile

from app.config import SETTINGS
from tests.app.processes import Running
from tools.servers.process import free_port

ROOT = Path(__file__).resolve().parents[2]
WORKER_SHUTDOWN = re.compile(r"--worker-shutdown-timeout (\d+)")


def text(name: str) -> str:
    return (ROOT / name).read_text()


@pytest.mark.requirement("R06")
def test_procfile_has_web_worker_and_release() -> None:
    processes = parse_procfile(text("Procfile")).processes

    assert processes["release"] == "flask db upgrade"
    assert processes["web"] == "gunicorn wsgi:app"
    assert processes["worker"].startswith("dramatiq app.actors ")


@pytest.mark.requirement("G09")
@pytest.mark.parametrize("name", ["Procfile", "docker/entrypoint"])
def test_worker_stops_before_the_platform_kills_it(name: str) -> None:
    """Heroku, Railway and compose kill after 30 s or more."""
    found = WORKER_SHUTDOWN.search(text(name))

    assert found is not None and int(found[1]) == 25_000


def test_web_stops_before_the_platform_kills_it() -> None:
    settings: dict[str, object] = {}
    exec(text("gunicorn.conf.py"), settings)

    assert settings["graceful_timeout"] == 25


@pytest.mark.parametrize("name", ["railway.json", "railway.worker.json"])
def test_railway_waits_long_enough(name: str) -> None:
    deploy = json.loads(text(name))["deploy"]

    assert deploy["drainingSeconds"] == 30
    assert isinstance(deploy["drainingSeconds"], int)
    assert isinstance(deploy["overlapSeconds"], int)


def test_app_json_sets_only_settings_that_exist() -> None:
    known = {setting.name for setting in SETTINGS} | {"UNDERSTUDY_WORKER", "QUEUE_CONCURRENCY"}
    described = json.loads(text("app.json"))["env"]

    assert set(described) <= known
    assert described["SECRET_KEY"]["generator"] == "secret"


@pytest.mark.requirement("R02")
def test_kubernetes_runs_two_workers_of_the_same_image() -> None:
    web, worker = (text(f"docker/kubernetes/{name}.yaml") for name in ("web", "worker"))

    assert "replicas: 2" in worker
    assert "args: [worker]" in worker
    image = re.findall(r"image: (\S+)", web + worker)
    assert image[0] == image[1]
    for manifest in (web, worker):
        assert "terminationGracePeriodSeconds: 40" in manifest


@pytest.mark.requirement("R09")
def test_redis_of_compose_evicts_nothing() -> None:
    assert "--maxmemory-policy, noeviction" in text("docker/compose.yaml")


def test_image_runs_as_an_unprivileged_user_with_locked_dependencies() -> None:
    dockerfile = text("docker/Dockerfile")

    assert "--require-hashes" in dockerfile
    assert dockerfile.index("USER 10001") < dockerfile.index("ENTRYPOINT")


def test_everything_that_the_image_copies_is_sent_to_the_builder() -> None:
    sources = re.findall(r"^COPY (?!--from)(.+) \S+$", text("docker/Dockerfile"), re.MULTILINE)
    sent = re.findall(r"^!(\S+)$", text(".dockerignore"), re.MULTILINE)

    copied = {name for line in sources for name in line.split()}
    assert copied == set(sent)
    assert all((ROOT / name).exists() for name in copied - {"requirements.txt"})


@pytest.mark.requirement("R08")
def test_worker_takes_its_size_from_the_environment(tmp_path: Path) -> None:
    shown = tmp_path / "dramatiq"
    shown.write_text('#!/bin/sh\necho "$@"\n')
    shown.chmod(0o755)

    def arguments(**environ: str) -> str:
        environ |= {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        command = ["docker/entrypoint", "worker"]
        return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True).stdout

    assert "--processes 1 --threads 5 " in arguments()
    small = arguments(QUEUE_CONCURRENCY="2", WORKER_PROCESSES="3")
    assert "--processes 3 --threads 2 " in small
    in_procfile = parse_procfile(text("Procfile")).processes["worker"]
    defaults = re.sub(r"\$\{\w+:-(\d+)\}", r"\1", in_procfile)
    assert defaults.split()[1:] == arguments().split()


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a shell")
def test_entrypoint_runs_any_command() -> None:
    done = subprocess.run(["docker/entrypoint", "echo", "two words"], cwd=ROOT, capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, "two words\n")


@pytest.mark.requirement("H17")
@pytest.mark.parametrize("command", [["gunicorn", "wsgi:app"], ["dramatiq", "app.actors", "-p", "1"]])
def test_wrong_setting_ends_the_process_with_a_line_that_names_it(command: list[str], tmp_path: Path) -> None:
    environ = {"SMTP_PORT": "abc", "INSTANCE_PATH": str(tmp_path), "PORT": str(free_port())}
    with Running([sys.executable, "-m", *command], environ, tmp_path / "log") as running:
        code = running.process.wait(30)

    assert code != 0
    assert "SMTP_PORT: got 'abc', expected a whole number from 1 to 65535" in running.output()
    assert "during worker exit" not in running.output()
