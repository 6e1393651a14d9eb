"""How the application is set up, and what the doctor finds; for operators, as both are about all tenants."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from ..config.effective import effective
from ..contrib.api import Body, Many
from ..operations.checks import CHECKS
from ..operations.checks.examining import examine
from .callers import state
from .doors import door
from .shapes import Shape

TAG = "Settings"


class SettingShape(Shape):
    """A setting of the library as it holds."""

    key: str
    value: Any = Field(description="What is secret is ***.")
    origin: str = Field(description="environment, app.config or default.")
    source: str = Field(description="The name under which it was found there; empty = the default.")
    meaning: str


class Settings(Shape):
    """All settings, by name."""

    data: list[SettingShape]


def _known(names: list[str]) -> list[str]:
    known = [check.name for check in CHECKS]
    for name in names:
        if name not in known:
            raise ValueError(f"{name[:40]!r} is no check; there are {', '.join(known)}")
    return names


class Examination(Body):
    """What to look at."""

    only: Annotated[Many, AfterValidator(_known)] = Field(default=[], description="Checks; default: all.")


class FindingShape(Shape):
    """What a check found."""

    check: str
    status: str = Field(description="ok, note, warning or error.")
    found: str
    remedy: str | None = Field(description="What to do about it; null = nothing has to be done.")


class Findings(Shape):
    """What all checks found, in their order."""

    is_ok: bool = Field(description="Whether there is no error.")
    data: list[FindingShape]


@door("/settings", scope="tenants", tag=TAG, answers={200: Settings})
def show_settings() -> Settings:
    """List the library's settings, with where each value comes from."""
    here = state()
    found = effective(here.config, here.app.config)
    return Settings(
        data=[
            SettingShape(key=one.key, value=one.value, origin=one.origin, source=one.source, meaning=one.meaning)
            for one in found
        ]
    )


@door("/doctor", scope="tenants", tag=TAG, query=Examination, answers={200: Findings})
def examine_all(query: Examination) -> Findings:
    """Check the whole system; each thing that is wrong comes with its remedy. No check takes longer than 3 s."""
    wanted = [check for check in CHECKS if not query.only or check.name in query.only]
    found = [
        FindingShape(
            check=seen.check, status=seen.finding.status, found=seen.finding.found, remedy=seen.finding.remedy or None
        )
        for seen in examine(state(), wanted)
    ]
    return Findings(is_ok=all(one.status != "error" for one in found), data=found)
