"""What `flask jobs new` writes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from string import Template as Text
from typing import Any


@dataclass(frozen=True, slots=True)
class Template:
    """The texts of a module and of its test; `$name` stands for a name."""

    module: str
    test: str


def filled(text: str, names: Any) -> str:
    """Return a text with the names in it, its imports in order."""
    groups = Text(text).substitute(asdict(names)).split("\n\n")
    return "\n\n".join("\n".join(sorted(group.splitlines())) if _is_imports(group) else group for group in groups)


def _is_imports(group: str) -> bool:
    return all(line.startswith("from ") for line in group.splitlines())


JOB = Template(
    module='''"""The job $label."""

from __future__ import annotations

from $source import $attribute


@$attribute.actor(actor_name="$label", max_retries=3)
def $function(subject_id: int) -> str:
    """Say in one line what the job does."""
    return f"$label of {subject_id} is done"
''',
    test='''"""The job $label."""

from __future__ import annotations

from $package.$function import $function


def test_it_does_what_it_is_for(understudy):
    job = understudy.run($function.send(7))

    assert job.state == "completed"
    assert job.result == "$label of 7 is done"
''',
)

EVENT = Template(
    module='''"""The event $label, and who listens to it."""

from __future__ import annotations

from flask_understudy import Event

from $source import $attribute


class $event(Event):
    """Say in one line what happened."""

    subject_id: int


@$attribute.on($event)
def hear_$function(event: $event) -> str:
    """Say in one line what follows from it."""
    return f"$label of {event.subject_id} was heard"
''',
    test='''"""The event $label."""

from __future__ import annotations

from $package.$function import $event, hear_$function
from $source import $attribute


def test_it_is_heard(understudy):
    $attribute.publish($event(subject_id=7))

    understudy.drain()

    [job] = understudy.sent(hear_$function)
    assert job.state == "completed"
    assert job.result == "$label of 7 was heard"
''',
)

WORKFLOW = Template(
    module='''"""The workflow $label."""

from __future__ import annotations

from flask_understudy import step

from $source import $attribute


@$attribute.actor(actor_name="$label", max_retries=3, workflow=True)
def $function(subject_id: int) -> str:
    """Say in one line what the steps lead to."""
    found = step.run("look-up", look_up, subject_id)
    return str(step.run("finish", finish, found))


def look_up(subject_id: int) -> str:
    """A step: it is done once, and what it returns is kept."""
    return f"subject {subject_id}"


def finish(found: str) -> str:
    """Another step."""
    return f"$label of {found} is done"
''',
    test='''"""The workflow $label."""

from __future__ import annotations

from $package.$function import $function


def test_it_takes_all_steps(understudy):
    job = understudy.run($function.send(7))

    assert job.state == "completed"
    assert job.result == "$label of subject 7 is done"
''',
)
