"""The Dockerfile, checked without Docker: sources, entry points, users, pinned packages; and the scripts."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PUSH_IMAGE = ROOT / "deploy" / "modules" / "launcher-image" / "push-image.sh"
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
BIN = Path(sys.executable).parent
COMPONENTS = ("controlplane", "piped", "launcher", "pipectl")


def instructions() -> list[tuple[str, str, str]]:
    """Stage, instruction and arguments, with continuation lines joined."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    stage, result = "", []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            stage = rest.split(" AS ")[1].strip()
        if word:
            result.append((stage, word, rest.strip()))
    return result


def inherited(stage: str) -> list[tuple[str, str]]:
    """The instructions of a stage, preceded by those of its base stages."""
    own = [(word, rest) for name, word, rest in instructions() if name == stage]
    parent = next(rest.split(" AS ")[0].split()[-1] for word, rest in own if word == "FROM")
    stages = {name for name, _, _ in instructions()}
    return [*(inherited(parent) if parent in stages else []), *own]


@pytest.mark.parametrize("component", COMPONENTS)
def test_no_image_runs_as_root(component: str) -> None:
    assert [rest for word, rest in inherited(component) if word == "USER"][-1] == "10001:10001"


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_server_image_has_a_health_check(component: str) -> None:
    check = [rest for word, rest in inherited(component) if word == "HEALTHCHECK"][-1]
    assert check == "NONE" if component == "pipectl" else "http://127.0.0.1:9085/healthz" in check


@pytest.mark.parametrize("component", ["piped", "launcher"])
def test_the_admin_port_of_an_agent_is_reached_from_outside_its_container(component: str) -> None:
    """By default it listens on loopback."""
    assert ("ENV", "PIPECD_ADMIN_HOST=0.0.0.0") in inherited(component)


@pytest.mark.parametrize("component", COMPONENTS)
def test_the_entry_point_is_a_program_of_the_package(component: str) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    entry = [rest for word, rest in inherited(component) if word == "ENTRYPOINT"][-1]
    assert entry.strip('[]"') in scripts


def test_no_image_is_based_on_a_build_stage() -> None:
    for component in COMPONENTS:
        stages = {rest.split()[0] for word, rest in inherited(component) if word == "FROM"}
        assert not stages & {"package", "console", "installed-agent", "installed-server"}


def test_files_copied_from_the_repository_exist_and_are_not_ignored() -> None:
    ignored = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    included = [line[1:] for line in ignored if line.startswith("!")]
    for _, word, rest in instructions():
        if word != "COPY" or rest.startswith("--from"):
            continue
        for source in shlex.split(rest)[:-1]:
            names = [source.replace("${AGENT}", agent) for agent in ("agent", "agent-terraform")]
            for name in names:
                if name != ".":
                    assert (ROOT / name).exists(), name
                    assert any(
                        Path(name).match(pattern) or name.split("/")[0] == pattern for pattern in included
                    ), name


def test_packages_are_pinned_by_hash() -> None:
    for _, word, rest in instructions():
        for command in re.split(r"&&|;", rest) if word == "RUN" else ():
            if "pip install" in command:
                assert "--require-hashes" in command or "--no-deps /wheels" in command, command
            if "npm " in command:
                assert "npm ci" in command or "npm run build" in command
    for name in ("agent", "agent-terraform", "server", "build"):
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        assert len(re.findall(r"^[a-z0-9]", text, re.MULTILINE)) <= text.count("--hash=sha256:")


def test_base_images_have_full_version_tags() -> None:
    arguments = [rest for _, word, rest in instructions() if word == "ARG" and "IMAGE=" in rest]
    assert len(arguments) == 2
    assert all(re.search(r":\d+\.\d+\.\d+-", argument) for argument in arguments)


def test_hadolint_reports_nothing() -> None:
    completed = subprocess.run([BIN / "hadolint", DOCKERFILE], capture_output=True, text=True, timeout=120)
    assert (completed.returncode, completed.stdout + completed.stderr) == (0, "")


@pytest.mark.parametrize("script", sorted((ROOT / "deploy").rglob("*.sh")), ids=lambda path: path.name)
def test_shellcheck_reports_nothing(script: Path) -> None:
    completed = subprocess.run([BIN / "shellcheck", script], capture_output=True, text=True, timeout=120)
    assert (completed.returncode, completed.stdout + completed.stderr) == (0, "")
    assert "set -eu" in script.read_text()


def test_pushing_an_image_without_docker_prints_a_remedy(tmp_path: Path) -> None:
    settings = {
        "AWS_REGION": "eu-central-1",
        "PLATFORM": "linux/amd64",
        "TARGET_IMAGE": "x/y:z",
        "REPOSITORY": str(ROOT),
    }
    completed = subprocess.run(
        ["/bin/sh", str(PUSH_IMAGE)],
        env={"PATH": str(tmp_path), **settings},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert completed.returncode == 1
    assert completed.stderr.startswith(
        "docker is not installed: install it, or set push_image = false and push x/y:z"
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [("", "build --platform linux/arm64"), ("ghcr.io/x/launcher:v1", "pull --platform linux/arm64")],
)
def test_the_image_is_built_or_copied_and_then_pushed(source: str, expected: str, tmp_path: Path) -> None:
    """`docker` and `aws` are stubs that record their arguments."""
    calls_file = tmp_path / "calls_file"
    for name in ("docker", "aws"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {calls_file}\necho password\n')
        (tmp_path / name).chmod(0o755)
    settings = {
        "AWS_REGION": "eu-central-1",
        "PLATFORM": "linux/arm64",
        "TARGET_IMAGE": "1.dkr.ecr.eu-central-1.amazonaws.com/piped:v1",
        "REPOSITORY": str(ROOT),
        "SOURCE_IMAGE": source,
    }
    subprocess.run(
        ["/bin/sh", str(PUSH_IMAGE)],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", **settings},
        check=True,
        timeout=60,
    )
    calls = calls_file.read_text().splitlines()
    assert "aws ecr get-login-password --region eu-central-1" in calls
    assert "docker login --username AWS --password-stdin 1.dkr.ecr.eu-central-1.amazonaws.com" in calls
    assert any(call.startswith(f"docker {expected}") for call in calls)
    assert calls[-1] == "docker push 1.dkr.ecr.eu-central-1.amazonaws.com/piped:v1"
