"""The cluster in containers, as far as a machine without an engine can tell: the files are right, and what they start works."""

import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys

import pytest
import yaml

from support import ROOT, SLUICE, accepts, ask, free_port, until

TOOLS = pathlib.Path(sys.executable).parent
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "cluster" / "Dockerfile").read_text()


def done(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, **options)


# --- The files ---------------------------------------------------------------------------------------------------------


def test_compose_says_what_its_specification_allows():
    said = done(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", ROOT / "compose.yaml")
    assert said.returncode == 0, said.stdout + said.stderr


def test_the_dockerfile_is_clean():
    said = done(TOOLS / "hadolint", ROOT / "cluster" / "Dockerfile")
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_rights(name):
    service = SERVICES[name]
    assert service["user"] not in ("root", "0", "0:0")
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices", "container_name"} & set(service)
    # The router alone is reached from outside, and gets there.
    assert ("front" in service["networks"]) == ("ports" in service) == (name == "router")
    assert "healthcheck" in service or "HEALTHCHECK" in DOCKERFILE and service["image"] == "sluice"


def test_no_secret_is_written_down():
    for name, secret in COMPOSE["secrets"].items():
        assert set(secret) == {"file"}
        assert done("git", "check-ignore", "-q", secret["file"], cwd=ROOT).returncode == 0, f"{name} could be committed"
        assert all(name in service.get("secrets", []) or name not in json.dumps(service) for service in SERVICES.values())


def test_what_is_mounted_is_there():
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source, _, rest = volume.partition(":")
            if source.startswith("."):
                assert (ROOT / source).is_file() and rest.endswith(":ro")
            else:
                assert source in COMPOSE["volumes"]


def test_secrets_are_made_once_and_read_by_whoever_runs_in_a_container(tmp_path):
    for folder in ("lib", "."):
        (tmp_path / "cluster" / folder).mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "cluster" / "lib" / "common.sh", tmp_path / "cluster" / "lib")
    script = shutil.copy(ROOT / "cluster" / "secrets", tmp_path / "cluster")
    assert done(script).stdout.count("made ") == len(COMPOSE["secrets"])
    files = [tmp_path / secret["file"] for secret in COMPOSE["secrets"].values()]
    texts = [file.read_text() for file in files]
    assert len(set(texts)) == len(texts) and all(re.fullmatch("[0-9a-f]{64}", text) for text in texts)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o444}
    assert stat.S_IMODE(files[0].parent.stat().st_mode) == 0o700
    assert done(script).stdout.count("kept ") == len(texts)
    assert [file.read_text() for file in files] == texts


# --- What the Dockerfile does ------------------------------------------------------------------------------------------


def stages():
    """The RUN commands of each stage, with the name of its image."""
    lines = re.sub(r"\\\n\s*", "", "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#"))).splitlines()
    found = []
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append((rest.split()[0], []))
        elif word == "RUN":
            found[-1][1].append(re.sub(r"--mount=\S+", "", rest).strip())
    return found


def packages(runs):
    """What they install by apt."""
    commands = [step.split() for run in runs for step in run.split("&&") if "apt-get install" in step]
    return [word for words in commands for word in words[2:] if not word.startswith("-")]


def test_the_packages_are_in_debian():
    assert [image for image, _ in stages()] == ["swift:6.3-bookworm", "debian:bookworm-slim"]
    if not shutil.which("apt-get") or "bookworm" not in pathlib.Path("/etc/os-release").read_text():
        pytest.skip("this is not Debian bookworm")
    for _, runs in stages():
        assert packages(runs)
        said = done("apt-get", "install", "--simulate", "--no-install-recommends", *packages(runs))
        assert said.returncode == 0, said.stderr


def test_the_image_is_built_as_the_release_is():
    (run,) = [run for run in stages()[0][1] if "swift build" in run]
    flags = re.search(r"swift build (.*?) &&", run)[1].split()
    script = (ROOT / "cluster" / "lib" / "common.sh").read_text()
    release = re.search(r"swift build (.*?) >", script)[1].replace('--package-path "$root"', "").split()
    assert flags == release
    # What the build needs of the repository goes into it, and nothing that changes without it.
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    sources = [words.split()[1] for words in DOCKERFILE.splitlines() if words.startswith("COPY") and "--from" not in words
               for words in [re.sub(r"--\S+ ", "", words)]]
    assert sources and all(f"!{source}" in ignored for source in sources)
    package = (ROOT / "Package.swift").read_text()
    assert set(re.findall(r'path: "(\w+)/', package)) - {"benchmarks"} <= set(sources)


def test_the_image_has_the_libraries_that_the_binary_calls():
    said = done("ldd", SLUICE).stdout
    if "libswiftCore" in said:
        pytest.skip("this binary is not linked as in the image")
    files = re.findall(r"=> (/\S+)", said)
    assert files and "not found" not in said
    owners = set()
    for file in files:
        # dpkg knows one of its two names where /lib is a link to /usr/lib.
        names = (file, os.path.realpath(file), os.path.realpath(file).removeprefix("/usr"))
        owner = next((out for name in names if (out := done("dpkg", "-S", name).stdout)), "")
        owners.add(owner.partition(":")[0])
    # The C library and that of the compiler are in every image of Debian.
    assert owners - {"libc6", "libgcc-s1"} <= set(packages(stages()[1][1])), owners


# --- What compose.yaml starts, as processes ----------------------------------------------------------------------------


class Composed:
    """The services of compose.yaml as processes of this machine: their commands and files, with addresses and folders that
    are not the containers'."""

    def __init__(self, folder, nodes=2):
        self.folder, self.processes, self.nodes = folder, {}, nodes
        self.ports = {name: free_port() for name in ("router", "upstream", "redis")}
        self.admins = {name: free_port() for name in ["router", *self.names]}
        self.ports |= {name: free_port() for name in self.names}
        for name in COMPOSE["secrets"]:
            (folder / name).write_text(f"{name}-of-a-test-which-is-long-enough")
        for name in ("upstream", "redis", "router", *self.names):
            self.start(name)

    @property
    def names(self):
        return [f"node-{number}" for number in range(1, self.nodes + 1)]

    def moved(self, name, text):
        """As on a machine on which all have the same address."""
        ports = self.ports
        for old, new in {
            "/run/secrets/": f"{self.folder}/", "/data": str(self.folder), "bind 0.0.0.0": f"bind 127.0.0.1\nport {ports['redis']}",
            "redis://redis:6379": f"redis://127.0.0.1:{ports['redis']}", "0.0.0.0:8080": f"127.0.0.1:{ports[name]}",
            "127.0.0.1:9901": f"127.0.0.1:{self.admins.get(name)}", "upstream:9001": f"localhost:{ports['upstream']}",
            "0.0.0.0:9001": f"127.0.0.1:{ports['upstream']}", "$$": "$",
        }.items():
            text = text.replace(old, new)
        return text

    def command(self, name):
        service = SERVICES[name.partition("-")[0]]
        words = [self.moved(name, word) for word in service["command"]]
        for volume in service.get("volumes", []):
            source, target = volume.split(":")[:2]
            if source.startswith("."):
                file = self.folder / f"{name}-{pathlib.Path(target).name}"
                file.write_text(self.moved(name, (ROOT / source).read_text()))
                words = [word.replace(target, str(file)) for word in words]
        return words if name == "redis" else [str(SLUICE), *words]

    def start(self, name):
        state = self.folder / f"{name}.state"
        state.mkdir(exist_ok=True)
        with open(self.folder / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                self.command(name), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                env={**os.environ, "STATE_DIRECTORY": str(state)})

    def healthy(self, name):
        """What the image's health check, or the service's own, says."""
        words = SERVICES[name.partition("-")[0]].get("healthcheck", {}).get("test")
        if name == "redis":
            line = self.moved(name, words[1]).replace("redis-cli", f"redis-cli -p {self.ports['redis']}")
            return done("sh", "-c", line).returncode == 0
        words = words[1:] if words else json.loads(re.search(r"HEALTHCHECK.* CMD (\[.*\])", DOCKERFILE)[1])
        assert words[0] == "healthy" and words[1] in ("8080", "9001")
        return done(ROOT / "cluster" / "lib" / "healthy", self.ports[name], *words[2:]).returncode == 0

    def end(self):
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(20)


@pytest.fixture
def composed(tmp_path):
    made = Composed(tmp_path)
    yield made
    made.end()


def test_the_composed_services_become_healthy_and_serve(composed):
    for name in composed.processes:
        until(lambda: composed.healthy(name), f"{name} is healthy", 15)
    port = composed.ports["router"]
    assert ask(port, path="/orders/1").status == 401
    # The nodes go by names that nobody chose, and each gets something to do.
    logs = [composed.folder / f"{name}.log" for name in composed.names]

    def all_have_served():
        assert ask(port, headers=[("X-API-Key", "demo-key")], path="/orders/1").status == 200
        return all('"/orders/1"' in log.read_text() for log in logs)

    until(all_have_served, "each node gets a request", 15)
    admin = f"127.0.0.1:{composed.admins['node-1']}"
    until(lambda: "\n2 nodes, " in done(SLUICE, "status", "--admin", admin).stdout, "the nodes know each other")
    # Who has not the password gets nothing of Redis.
    assert "NOAUTH" in done("redis-cli", "-p", composed.ports["redis"], "get", "x").stdout


def test_a_service_that_is_gone_is_not_healthy(composed):
    until(lambda: composed.healthy("node-1"), "it is healthy", 15)
    composed.processes["node-1"].kill()
    until(lambda: not accepts(composed.ports["node-1"]), "it is gone")
    assert not composed.healthy("node-1")
    until(lambda: composed.healthy("redis"), "it is healthy", 15)
    composed.processes["redis"].kill()
    composed.processes["redis"].wait()
    assert not composed.healthy("redis")
