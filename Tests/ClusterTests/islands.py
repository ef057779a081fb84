"""Islands for tests: what cluster/lib/islands.py makes, and what to do where this user may make none."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

_file = pathlib.Path(__file__).resolve().parent.parent.parent / "cluster" / "lib" / "islands.py"
_spec = importlib.util.spec_from_file_location("cluster_islands", _file)
_made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_made)
Island, ip, why_not = _made.Island, _made.ip, _made.why_not

# Set for tests that have been run again in namespaces of their own.
NESTED = "SLUICE_NESTED_TESTS"


def pass_elsewhere(file, reason):
    """Runs a file of tests where this user is root of namespaces of its own; skips the test with what came of it."""
    within = f"mount -t tmpfs tmpfs /run && ip link set lo up && exec {sys.executable} -B -m pytest -q -p no:cacheprovider {file}"
    command = ["unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c", within]
    if NESTED in os.environ or subprocess.run([*command[:-2], "-c", "mount -t tmpfs tmpfs /run"], capture_output=True).returncode:
        pytest.skip(f"{reason}; nor may this user make its own")
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, NESTED: "1"}, timeout=120)
    assert done.returncode == 0, done.stdout
    pytest.skip(f"passed in namespaces of its own ({reason})")
