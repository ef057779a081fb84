"""Counts per request against `thresholds/per-request.json`: what a change may cost, checked by every run of the tests.

A gate is what stands today, with a little room; it is lowered when the code gets better and never raised for convenience. Where the
goal is lower still, the line says so.
"""

import argparse
import json
import sys

import counts
import harness as h


def main():
    h.WORK.mkdir(exist_ok=True)
    h.raise_descriptor_limit()
    limits = json.loads((h.HERE.parent / "thresholds" / "per-request.json").read_text())
    found = {goal["figure"]: goal["value"] for goal in counts.run(argparse.Namespace(peers_only=False, gate=True))["goals"]}
    failed = False
    for name, limit in limits.items():
        over = found[name] > limit["gate"]
        failed |= over
        goal = "" if found[name] <= limit["goal"] else f"; the goal of {limit['goal']} is not reached"
        print(f"{'FAILED' if over else 'passed'}: {name}: {found[name]:.2f} (gate {limit['gate']}{goal})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
