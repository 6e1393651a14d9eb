"""`new`: writes the module of a job, event or workflow, and its test (requirement B16)."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ..discovery import SETTING
from ..state import State
from . import templates
from .group import USAGE, Refused, jobs, state
from .printing import as_json_option, emit

LONGEST = 60
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Names:
    """The names in what is written.

    Attributes:
        function: `send_digest`.
        label: `send-digest`.
        event: `SendDigest`.
        package: The package it stands in, `app.jobs`.
        source: The module that has the `Understudy` object, `app.extensions`.
        attribute: The object's name in it.
    """

    function: str
    label: str
    event: str
    package: str
    source: str
    attribute: str


@jobs.group("new")
def new() -> None:
    """Write a new job, event or workflow: its module and its test.

    Both are yours to change. The module goes into the first package of UNDERSTUDY_DISCOVER, the test beside the
    application's others, in the folder tests.

    \b
    Example:
      flask jobs new job send-digest
    """


def _command(kind: str, template: templates.Template, told: str, example: str) -> None:
    @new.command(kind, help=f"{told}\n\n\b\nExample:\n  flask jobs new {kind} {example}")
    @click.argument("name")
    @click.option("--package", help="Another package than the first of UNDERSTUDY_DISCOVER.")
    @click.option("--from", "source", help="Where the Understudy object is, such as app.extensions:jobs.")
    @as_json_option
    def write(name: str, package: str | None, source: str | None, as_json: bool) -> None:
        _write(template, _names(state(), name, package, source), as_json)


_command("job", templates.JOB, "Write an actor and its test.", "send-digest")
_command("event", templates.EVENT, "Write an event, an actor that hears it, and their test.", "leave-approved")
_command("workflow", templates.WORKFLOW, "Write an actor of durable steps and its test.", "onboard-employee")


def _write(template: templates.Template, names: Names, as_json: bool) -> None:
    folder, root = _folder(names.package)
    module = folder / f"{names.function}.py"
    test = root.joinpath("tests", *names.package.split("."), f"test_{names.function}.py")
    for path in (module, test):
        if path.exists():
            raise Refused(f"{path} is there already; nothing was written. Choose another name.")
    for path, text in ((module, template.module), (test, template.test)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(templates.filled(text, names))
        except OSError as problem:
            raise Refused(f"{path} cannot be written: {problem.strerror}.") from problem
    if as_json:
        emit({"module": str(module), "test": str(test)})
        return
    click.echo(f"{module}\n{test}")


def _names(here: State, given: str, package: str | None, source: str | None) -> Names:
    words = [word.lower() for part in re.split(r"[-_ ]", given) for word in _WORDS.findall(part)]
    function = "_".join(words)
    is_made_of_words = re.fullmatch(r"[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*", given, re.ASCII) is not None
    if not is_made_of_words or not function.isidentifier() or keyword.iskeyword(function) or len(function) > LONGEST:
        raise Refused(
            f"{given!r} is no name for it; it takes words of letters and digits such as send-digest, of {LONGEST} "
            "characters at the most.",
            USAGE,
        )
    if package is None:
        if not here.config.discover:
            raise Refused(f"{SETTING} names no package, so nobody would find it. Set it, such as {SETTING}=app.jobs.")
        package = here.config.discover[0]
    module, _, attribute = (source or _source(here, package)).partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), attribute]):
        raise Refused(f"--from is {source!r}; it takes a module and a name in it, such as app.extensions:jobs.", USAGE)
    return Names(function, "-".join(words), "".join(map(str.capitalize, words)), package, module, attribute)


def _folder(package: str) -> tuple[Path, Path]:
    """Return the folder of a package, and the one that its topmost package lies in."""
    try:
        module = importlib.import_module(package)
    except ImportError as problem:
        raise Refused(f"The package {package!r} cannot be imported: {problem}.", USAGE) from problem
    paths = list(getattr(module, "__path__", ()))
    if not paths:
        raise Refused(f"{package!r} is a module and no package, so nothing can be put into it.", USAGE)
    folder = Path(paths[0])
    return folder, folder.parents[package.count(".")]


def _source(here: State, package: str) -> str:
    """Return where the application has its `Understudy` object: beside the package, near to the top."""
    top = package.partition(".")[0]
    found = [
        (name.partition(".")[0] != top, name.count("."), name, attribute)
        for name, module in list(sys.modules.items())
        if module is not None and name != "__main__" and not name.startswith(__package__.partition(".")[0])
        for attribute, value in list(vars(module).items())
        if _is_ours(value, here) and not attribute.startswith("_")
    ]
    if not found:
        raise Refused("The module of the Understudy object was not found; name it, such as --from app.extensions:jobs.")
    _, _, name, attribute = min(found)
    return f"{name}:{attribute}"


def _is_ours(value: Any, here: State) -> bool:
    return type(value).__name__ == "Understudy" and getattr(value, "broker", None) is here.broker
