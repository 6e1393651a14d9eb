"""How many runs of workflows there are in each state, at a glance."""

from __future__ import annotations

from pydantic import Field

from ..contrib.api import Body
from ..ledger import STATES
from ..ledger.filter import Filter
from ..ledger.search import Search
from ..operations import workflows as operations
from ..operations.bulk import known
from .callers import caller, state
from .doors import door
from .finding import Word
from .shapes import Shape
from .workflows import TAG

#: Runs of a state that are counted, and jobs that are looked at.
MOST, SCAN = 1_000, 2_000


class CountedRuns(Body):
    """Which runs."""

    name: Word | None = Field(default=None, description="The workflow's name.")


class RunCount(Shape):
    """How many runs are in a state."""

    count: int
    is_exact: bool = Field(description="False = there are at least that many.")


class RunCounts(Shape):
    """How many runs are in each state."""

    data: dict[str, RunCount]


@door("/workflows/runs/counts", scope="read", tag=TAG, query=CountedRuns, answers={200: RunCounts})
def count_runs(query: CountedRuns) -> RunCounts:
    """Count the runs of all workflows, or of one, by state.

    At a glance: a state has a thousand at the most, and no more than 2,000 jobs of it are looked at, the latest.
    """
    here, scope = state(), caller().scope
    names = tuple(actor.actor_name for actor in operations.declared(here) if query.name in {None, actor.actor_name})
    counted = {}
    for name in STATES:
        search = Search(here.database, scope, Filter(states=(name,), actors=names), known(here))
        n, is_exact = search.count(MOST, SCAN) if names else (0, True)
        counted[name] = RunCount(count=min(n, MOST), is_exact=is_exact)
    return RunCounts(data=counted)
