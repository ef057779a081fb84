"""What a node runs is on its disk before it runs; and a disk that takes nothing keeps no node from following."""

import contextlib
import json
import os
import re
import shutil
from signal import SIGKILL
import subprocess

import pytest

from nodes import WARM, Cluster
from support import ask, sluice, until


def answered(text):
    policy = {"type": "respond", "status": 200, "body": text}
    return [{"id": "said", "match": {"path": "/said"}, "policies": [policy]}, WARM]


def said(node):
    return ask(node.port, path="/said").body.decode()


def verb(node, *words):
    done = sluice(words[0], "--admin", f"127.0.0.1:{node.admin}", *words[1:])
    assert done.returncode == 0, done
    return done.stdout


def kept(node):
    """The newest revision on a node's disk."""
    return max((int(file.name.removeprefix("revision-")) for file in node.state.rglob("revision-*")
                if not file.name.endswith(".unfinished")), default=0)


@pytest.fixture
def pair(tmp_path, redis, origin):
    made = Cluster(tmp_path, redis(), origin(), answered("0"), count=2)
    yield made
    made.close()


def test_wherever_the_power_goes_what_was_in_force_is_what_the_node_comes_back_with(pair):
    c, node = pair, pair.nodes[0]
    path = node.folder / "next.json"
    for round in range(1, 6):
        path.write_text(json.dumps(c.content(0, answered(f"{round}"))))
        verb(c.nodes[1], "apply", path)
        until(lambda: said(node) == f"{round}", "the node runs it")
        node.stop(SIGKILL)
        assert kept(node) == round + 1
        if round == 5:
            c.redis.kill()
        node.start(wait=False).wait_for_port()
        assert said(node) == f"{round}"
        if round < 5:
            node.wait()


@contextlib.contextmanager
def unwritable(folder):
    shutil.rmtree(folder)
    folder.write_text("no folder")
    yield
    folder.unlink()


@contextlib.contextmanager
def full(folder):
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", folder], capture_output=True, text=True)
    if os.geteuid() != 0 or done.returncode != 0:
        pytest.skip(f"only who may mount has a small disk: {done.stderr}")
    try:
        with contextlib.suppress(OSError), open(folder / "filler", "wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("broken", [unwritable, full])
def test_a_node_whose_disk_takes_nothing_follows_all_the_same_and_says_so(pair, broken):
    c, node = pair, pair.nodes[0]
    path = node.folder / "next.json"
    path.write_text(json.dumps(c.content(0, answered("two"))))
    with broken(node.state / "revisions"):
        out = verb(c.nodes[1], "apply", "--wait", path)
        assert re.search(r"node-1: in force after \d+ ms; not kept over a restart: ", out), out
        assert re.search(r"node-2: in force after \d+ ms$", out, re.M), out
        assert [said(each) for each in c.nodes] == ["two"] * 2
        until(lambda: "2 (not on disk)" in verb(c.nodes[1], "status"), "status says so")
        assert "not kept over a restart" in node.said()
    path.write_text(json.dumps(c.content(0, answered("three"))))
    assert "not kept" not in verb(c.nodes[1], "apply", "--wait", path)
    until(lambda: "not on disk" not in verb(c.nodes[1], "status"), "status says nothing of it any more")
    assert kept(node) == 3
