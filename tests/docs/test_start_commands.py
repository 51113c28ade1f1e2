"""The commands with which the console starts an agent name what is in the repository."""

import re
from pathlib import Path

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
    (chart,) = re.findall(r"helm upgrade --install \w+ (\S+)", COMMANDS)
    assert (ROOT / chart / "Chart.yaml").is_file()
