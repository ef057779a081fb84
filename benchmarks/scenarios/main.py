"""Runs scenarios, prints what they found, writes it down. Called by `benchmarks/run`, which has installed and built."""

import argparse
import datetime
import importlib
import json
import pathlib
import sys

import harness as h

SCENARIOS = [
    "proxy", "keyed", "counts", "idle", "resident", "match", "routes", "reloading", "generator", "lanes", "quotas", "revisions", "facts", "router", "affinity",
    "levels", "policies", "scaling", "tls", "http2", "resets", "tokens",
]
PARTS = ["quotas_latency"]  # of another, on their own
RESULTS = h.HERE.parent / "results"


def parse():
    parser = argparse.ArgumentParser(prog="benchmarks/run", description="Sluice beside nginx and haproxy on the same work.")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"one or more of {', '.join(SCENARIOS)}; none: all")
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds (default %(default)s)")
    parser.add_argument("--seconds", type=int, default=4, help="length of a round (default %(default)s)")
    parser.add_argument("--peers-only", action="store_true", help="measure nginx and haproxy alone")
    parser.add_argument("--save", action="store_true", help="write the figures to benchmarks/results, to be committed")
    options = parser.parse_args()
    options.gate = False
    unknown = [name for name in options.scenarios if name not in SCENARIOS + PARTS]
    if unknown:
        parser.error(f"no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    return options


def show(value, indent=2):
    """A result as indented lines, rounds left to the JSON."""
    for name, item in value.items():
        pad = " " * indent
        if isinstance(item, dict) and "median" in item:
            print(f"{pad}{name:34} {item['median']:10.3f}   ({item['least']:.3f} to {item['most']:.3f})")
        elif isinstance(item, dict):
            print(f"{pad}{name}")
            show(item, indent + 2)
        elif isinstance(item, float):
            print(f"{pad}{name:34} {item:10.3f}")
        elif name == "goals":
            for goal in item:
                mark = "reached" if goal["reached"] else "MISSED"
                print(f"{pad}goal: {goal['figure']:50} {goal['value']:10.3f} ≤ {goal['at most']:<8} {mark}")
        else:
            print(f"{pad}{name:34} {item}")


def main():
    options = parse()
    h.WORK.mkdir(exist_ok=True)
    h.raise_descriptor_limit()
    report = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": h.commit(), "machine": h.machine(), "versions": h.versions(), "results": {},
    }
    missed = False
    undo = h.go_first()
    try:
        for name in options.scenarios or SCENARIOS:
            scenario = importlib.import_module(name)
            print(f"{name}: {scenario.__doc__.splitlines()[0]}", flush=True)
            result = scenario.run(options)
            report["results"][name] = result
            show(result)
            missed |= any(not goal["reached"] for goal in result.get("goals", []))
    finally:
        undo()
    folder = RESULTS if options.save else h.WORK
    stamp = report["date"].replace(":", "").replace("-", "")[:13]
    path = pathlib.Path(folder) / f"{stamp}-{report['commit'].replace('+', '-')}.json"
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    print(f"written to {path.relative_to(h.ROOT)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
