"""The scenarios that people play: the quickest of them here, the others by cluster/scenarios/all."""

import json
import os
import pathlib
import subprocess

import pytest

from support import ROOT, SLUICE

SCENARIOS = sorted(file.name for file in (ROOT / "cluster" / "scenarios").iterdir() if file.name != "all")


def play(name, *arguments):
    return subprocess.run(
        [str(ROOT / "cluster" / "scenarios" / name), *arguments], capture_output=True, text=True, timeout=100,
        env={**os.environ, "SLUICE_BINARY": str(SLUICE)})


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_says_what_it_is_and_has_three_parts(name):
    text = (ROOT / "cluster" / "scenarios" / name).read_text()
    parts = [text.index(f"# {part}") for part in ("given", "when", "expect")]
    assert parts == sorted(parts)
    done = play(name, "--help")
    assert done.returncode == 0 and text.split('"""')[1].split(":")[0] in " ".join(done.stdout.split())


def test_a_killed_node_and_its_account():
    done = play("kill-node", "--rate", "0.05", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    outcome = json.loads(done.stdout)
    figures = {figure["name"]: figure["value"] for figure in outcome["figures"]}
    assert outcome["passed"] and figures["requests"] == 4000 and figures["failed at clients"] == 0
    assert [mark["text"] for mark in outcome["marks"]] == ["node-2 is killed", "node-2 is started again"]
    assert len(outcome["loads"][0]["timeline"]) == 80
    leftover = [path for path in pathlib.Path("/proc").glob("[0-9]*/cmdline") if b"sluice-scenario-" in read(path)]
    assert leftover == []


def read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""
