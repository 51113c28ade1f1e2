"""The commands with which the console starts an agent name what is in the repository."""

import re
import tomllib
from pathlib import Path

import yaml

from pipecd.piped.cli import command as piped_command

ROOT = Path(__file__).parents[2]
COMMANDS = (ROOT / "web/src/features/first-steps/start-commands.ts").read_text()


def test_every_required_variable_of_a_module_is_set() -> None:
    modules = re.findall(r'terraform\(\s*"([\w-]+)"', COMMANDS)
    assert sorted(modules) == ["apprunner", "cloudrun", "ecs-fargate"]
    for module in modules:
        text = (ROOT / f"deploy/{module}/terraform/variables.tf").read_text()
        variables = re.findall(r'variable "(\w+)" \{(.*?)\n\}', text, re.DOTALL)
        required = {name for name, body in variables if "default" not in body}
        arguments = COMMANDS.partition(f'"{module}"')[2].partition("},\n")[0]
        assert required == {"piped_config", *re.findall(r"-var (\w+)=", arguments)}, module


def test_the_chart_is_in_the_repository() -> None:
    (chart,) = re.findall(r"helm upgrade --install \w+ ([\w/]+)", COMMANDS)
    assert (ROOT / chart / "Chart.yaml").is_file()
    values = yaml.safe_load((ROOT / chart / "values.yaml").read_text())
    keys = re.findall(r"--set(?:-file)? (\w+)\.(\w+)=", COMMANDS)
    assert len(keys) == 3
    assert [(group, name) for group, name in keys if name not in values[group]] == []


def test_the_extras_and_options_of_the_shell_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = re.findall(r'extra: "(\w+)"', COMMANDS)
    assert len(named) == 5
    assert {*named} <= {*extras}
    flags = {flag for option in piped_command.params for flag in option.opts}
    assert {*re.findall(r'"(--[a-z-]+)[="]', COMMANDS)} <= flags
