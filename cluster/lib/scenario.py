"""What every scenario is made of: a stage, loads by `sluice bench` through the router, marks of what happened when, and
figures that are held against what must be."""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import time

import islands
from stage import ROOT, SLUICE, Stage, fetch, until

RESULTS = ROOT / "cluster" / "run" / "scenarios"
# How finely the timeline tells, in seconds.
STEP = 0.1
FREE = {"id": "free", "match": {"path": "/free"}, "upstream": "echo"}


def limited(limit, **options):
    """A route of which all requests together are admitted so often."""
    policy = {"type": "rate-limit", "limits": [{"per": "route", "window": f"{limit}/1h"}], **options}
    return {"id": "limited", "match": {"path": "/limited"}, "policies": [policy], "upstream": "echo"}


class Load:
    """`sluice bench` in the background."""

    def __init__(self, scenario, name, path, rate, seconds, connections=32, more=()):
        self.name, self.rate = name, rate
        self.file = scenario.stage.folder / f"load-{name}.json"
        # When it began, in seconds of the scenario.
        self.offset = scenario.now
        self.process = subprocess.Popen(
            [str(SLUICE), "bench", "--quiet", "-c", str(connections), "-R", str(rate), "-d", f"{int(seconds * 1000)}ms", "--interval",
             f"{int(STEP * 1000)}ms", "--timeout", "10s", "--json", str(self.file), *map(str, more), scenario.stage.url + path],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.result = None

    def end(self):
        """Waits for the load's own end; returns its account."""
        if self.result is None:
            _, errors = self.process.communicate(timeout=120)
            if not self.file.exists():
                raise SystemExit(f"the load \"{self.name}\" could not be measured: {errors}")
            self.result = json.loads(self.file.read_text())
        return self.result

    @property
    def requests(self):
        return self.end()["requests"]

    @property
    def admitted(self):
        return self.end()["statusClasses"]["2xx"]

    @property
    def failed(self):
        """Requests that were not answered, or with a failure of the gateway's; refusals by a limit are answers."""
        result = self.end()
        answered = sum(count for status, count in result["statuses"].items() if int(status) < 500)
        return result["requests"] - answered

    @property
    def longest(self):
        """Seconds that the slowest request took, from when it was due."""
        return self.end()["latencyNanoseconds"]["max"] / 1e9

    @property
    def gap(self):
        """The longest time in which nobody was answered, in seconds, by steps of the timeline."""
        longest = run = 0
        for step in self.end()["seconds"]:
            run = run + 1 if step["responses"] == 0 else 0
            longest = max(longest, run)
        return longest * STEP

    def recovered(self, since, below=0.05):
        """Seconds from `since` (of the scenario) until the last step in which a request failed or took longer than `below`."""
        end = since
        for step in self.end()["seconds"]:
            at = self.offset + (step["startNanoseconds"] + step["nanoseconds"]) / 1e9
            if at > since and (step["failed"] or (step.get("maxNanoseconds") or step.get("p99Nanoseconds") or 0) > below * 1e9):
                end = at
        return end - since

    def timeline(self):
        return [
            {"at": round(self.offset + step["startNanoseconds"] / 1e9, 3), "responses": step["responses"], "failed": step["failed"],
             "p99": step.get("p99Nanoseconds")}
            for step in self.end()["seconds"]]


class Scenario:
    """`with Scenario(__doc__) as s:` plays in three parts: given, when, expect. The exit status says whether all figures are
    what they must be."""

    def __init__(self, text, needs_island=False):
        parser = argparse.ArgumentParser(description=text)
        parser.add_argument("--rate", type=float, default=1.0, help="times as many requests a second as usual")
        parser.add_argument("--json", action="store_true", help="the outcome as JSON")
        self.options = parser.parse_args()
        self.name, self.title = pathlib.Path(sys.argv[0]).name, text.strip().splitlines()[0]
        self.figures, self.marks, self.loads = [], [], []
        missing = [tool for tool in ("redis-server", "redis-cli") if not shutil.which(tool)]
        if missing or not SLUICE.exists():
            raise SystemExit(f"{' and '.join(missing) or SLUICE} is not there; cluster/scenarios/all installs and builds what is needed")
        if needs_island and (reason := islands.why_not()):
            raise SystemExit(f"{self.name} needs to be root: {reason}")
        self.stage = Stage(islands.Island() if needs_island else None)
        self.began = time.monotonic()

    def __enter__(self):
        return self

    def given(self, shared=False, **more):
        """Starts the stage; see `Stage.begin`. With `shared` the nodes know their shares of limits. From here on the clock
        runs."""
        self.stage.begin(**more)
        if shared:
            self.stage.until_shared()
        self.began = time.monotonic()
        return self.stage

    def load(self, path, rate, seconds, name=None, **more):
        made = Load(self, name or path.strip("/"), path, rate * self.options.rate, seconds, **more)
        self.loads.append(made)
        return made

    @property
    def now(self):
        return time.monotonic() - self.began

    def at(self, second):
        """Waits until so many seconds after the beginning."""
        time.sleep(max(0, second - self.now))

    def mark(self, text):
        """Says what happens now; returns when that is."""
        moment = self.now
        self.marks.append({"at": round(moment, 3), "text": text})
        return moment

    def figure(self, name, value, at_most=None, at_least=None, unit=""):
        """A figure, and what it must be."""
        passed = (at_most is None or value <= at_most) and (at_least is None or value >= at_least)
        self.figures.append(
            {"name": name, "value": value, "unit": unit, "atMost": at_most, "atLeast": at_least, "passed": passed})

    def expect_clients_unharmed(self, load, since, failed=0, gap=None):
        """The figures that every scenario has."""
        self.figure("requests", load.requests)
        self.figure("failed at clients", load.failed, at_most=failed)
        self.figure("longest gap", load.gap, at_most=gap, unit="s")
        self.figure("slowest request", round(load.longest, 3), unit="s")
        self.figure("time to recover", round(load.recovered(since), 3), unit="s")

    def expect_limit(self, load, limit, at_most=1.0, at_least=None):
        self.figure("asked for / limit", round(load.requests / limit, 3))
        self.figure("admitted / limit", round(load.admitted / limit, 4), at_most=at_most, at_least=at_least)

    def outcome(self):
        return {
            "name": self.name, "title": self.title, "passed": all(figure["passed"] for figure in self.figures) and bool(self.figures),
            "seconds": round(self.now, 1), "figures": self.figures, "marks": self.marks, "step": STEP,
            "loads": [{"name": load.name, "timeline": load.timeline()} for load in self.loads],
        }

    def __exit__(self, kind, error, _):
        try:
            if kind is None:
                for load in self.loads:
                    load.end()
        finally:
            for load in self.loads:
                if load.process.poll() is None:
                    load.process.kill()
                    load.process.wait()
            outcome = self.outcome() if kind is None else None
            self.stage.close()
        if outcome:
            self.tell(outcome)
            sys.exit(0 if outcome["passed"] else 1)

    def tell(self, outcome):
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{self.name}.json").write_text(json.dumps(outcome, indent=1) + "\n")
        if self.options.json:
            print(json.dumps(outcome, indent=1))
            return
        print(f"{'passed' if outcome['passed'] else 'FAILED'}: {self.name}: {self.title} ({outcome['seconds']:.0f} s)")
        for mark in self.marks:
            print(f"  {mark['at']:7.2f} s  {mark['text']}")
        for figure in self.figures:
            bounds = " ".join(
                f"{sign} {figure[key]}" for sign, key in (("≤", "atMost"), ("≥", "atLeast")) if figure[key] is not None)
            verdict = "" if not bounds else "  ok" if figure["passed"] else "  MISSED"
            print(f"  {figure['name']:34} {figure['value']:>10}{figure['unit']:2} {bounds:12}{verdict}")


__all__ = ["FREE", "Scenario", "fetch", "limited", "until"]
