"""Hosted CI, Git hooks and commit messages: what can be checked without running them on a Git host."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from check_jsonschema import main as check_jsonschema
from click.testing import CliRunner
from pre_commit.clientlib import load_config

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def test_there_are_workflows_for_ci_documentation_and_releases() -> None:
    assert [path.stem for path in WORKFLOWS] == ["ci", "docs", "release"]


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in yaml.safe_load(path.read_text())["jobs"].values():
        yield from job.get("steps", ())


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", WORKFLOWS),
        ("vendor.dependabot", [ROOT / ".github/dependabot.yml"]),
    ],
)
def test_files_match_the_schemas_of_the_host(schema: str, files: list[Path]) -> None:
    result = CliRunner().invoke(check_jsonschema, ["--builtin-schema", schema, *map(str, files)])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit(path: Path) -> None:
    for line in re.findall(r"uses: (.*)", path.read_text()):
        assert line.startswith("./") or re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), (
            line
        )


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_may_only_read_unless_a_job_says_otherwise(path: Path) -> None:
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_commands_of_workflows_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = "\n".join(step.get("run", "") for step in steps(path))
    assert set(re.findall(r"^make ([a-z-]+)", commands, re.MULTILINE)) <= targets
    for script in re.findall(r"(?:\.ci|deploy)/[\w./-]+", commands):
        assert os.access(ROOT / script, os.X_OK), script


def test_the_package_is_installed_with_every_supported_python() -> None:
    (ci,) = (path for path in WORKFLOWS if path.stem == "ci")
    versions = yaml.safe_load(ci.read_text())["jobs"]["install"]["strategy"]["matrix"]["python"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f">={versions[0]}" == project["requires-python"]
    assert versions == ["3.11", "3.12", "3.13"]


def test_hooks_run_programs_of_the_environment() -> None:
    (repository,) = load_config(str(ROOT / ".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        program = hook["entry"].split()[0]
        if program.startswith(".venv/bin/"):
            environment = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
            assert shutil.which(Path(program).name, path=environment), program
        else:
            assert program == "sh" or os.access(ROOT / program, os.X_OK), program


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("Fix race in outage test's health check\n", ""),
        ("Speed up the suite\n\nA body that says why.\n", ""),
        ("Merge branch 'main'\nwithout an empty line", ""),
        ("fixup! Fix race\n", ""),
        ("# a comment of Git\nFix race\n# another\n", ""),
        ("", "the subject is empty"),
        (f"Fix {'x' * 57}\n", "the subject has 61 characters"),
        ("fix race\n", "capital letter"),
        ("Fix race.\n", "without a full stop"),
        ("Fixed race\n", "imperative"),
        ("Adds a test\n", "imperative"),
        ("Removing a test\n", "imperative"),
        ("Fix race\nWithout an empty line\n", "leave the second line empty"),
    ],
)
def test_commit_messages_are_checked(tmp_path: Path, message: str, problem: str) -> None:
    file = tmp_path / "message"
    file.write_text(message)
    result = subprocess.run([ROOT / ".ci/check-commit-message", file], capture_output=True, text=True)
    assert result.returncode == (1 if problem else 0)
    assert problem in result.stderr
