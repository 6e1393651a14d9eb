"""`make bench`: measure everything, print the table, write results.json."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from benchmarks import catalogue
from benchmarks.arena import Arena
from benchmarks.harness import QUICK, Row, Scale, Skipped
from benchmarks.table import heading, line

RESULTS = Path(__file__).parent / "results.json"


def main() -> int:
    """Run what was asked for; 0 unless a benchmark broke."""
    options = _options()
    scale = QUICK if options.quick else Scale()
    rows: list[Row] = []
    broken = 0
    print(heading(), flush=True)
    with Arena() as arena:
        for name, benchmark in catalogue.all_benchmarks().items():
            if options.only and not any(word in name for word in options.only):
                continue
            begun = time.monotonic()
            try:
                for row in benchmark(arena, scale):
                    rows.append(row)
                    print(line(row), flush=True)
            except Skipped as reason:
                print(f"{name}: skipped, {reason}", flush=True)
            except Exception as problem:
                broken += 1
                print(f"{name}: broke, {type(problem).__name__}: {problem}", file=sys.stderr, flush=True)
            if options.verbose:
                print(f"  {name} took {time.monotonic() - begun:.0f} s", flush=True)
    path = Path(options.output)
    path.write_text(json.dumps([row.as_result() for row in rows], indent=2, ensure_ascii=False) + "\n")
    met = sum(row.met is True for row in rows)
    print(f"\n{met} of {sum(row.met is not None for row in rows)} targets met; written to {path}.")
    return 1 if broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three small rounds: is anything broken?")
    parser.add_argument("--only", action="append", metavar="NAME", help="only benchmarks whose name has this in it")
    parser.add_argument("--output", default=RESULTS, help="where to write the results")
    parser.add_argument("--verbose", action="store_true", help="say how long each one took")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
