"""Counts per request against `thresholds/per-request.json`: what a change may cost, checked by every run of the tests."""

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
        over = found[name] > limit
        failed |= over
        print(f"{'FAILED' if over else 'passed'}: {name}: {found[name]:.2f} (at most {limit})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
