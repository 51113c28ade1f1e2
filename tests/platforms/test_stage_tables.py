"""Options and functions of stages agree: at startup, and when a file is read."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pipecd import piped
from pipecd.config import piped as config
from pipecd.config.stages import WaitOptions
from pipecd.errors import ConfigError
from pipecd.model.plan import Predefined
from pipecd.piped.options import Options
from pipecd.platforms import Platform, terraform
from pipecd.platforms.registry import installed_platforms, load_platform, load_platforms
from pipecd.platforms.stage_tables import application_types, check_tables, stage_function
from pipecd.stages import OPTIONS, STAGES
from pipecd.stages.wait import wait_stage
from tests.platforms.altered import alter_platform
from tests.world import agent_spec


def piped_spec(folder: Path) -> config.PipedSpec:
    document = agent_spec("127.0.0.1:1", "p", folder / "key", {})
    return config.load(json.dumps(document), "piped.yaml")


def platform(options: Mapping[str, Any], stages: Mapping[str, Any]) -> Platform[Any]:
    quick_sync = Predefined(id="BakeSync", name="BAKE_SYNC", desc="Bake")
    return cast(
        Platform[Any], SimpleNamespace(quick_sync=quick_sync, options=options, stages=stages, stop={})
    )


FUNCTIONS = {"BAKE_SYNC": wait_stage, "BAKE": wait_stage, "ROLLBACK": wait_stage}
MISMATCHES: dict[str, tuple[Mapping[str, Any], Mapping[str, Any], str]] = {
    "no function": (
        {"BAKE": WaitOptions, "COOL": WaitOptions, "HEAT": WaitOptions},
        FUNCTIONS,
        "COOL has options but no function; HEAT has options but no function",
    ),
    "no options": (
        {"BAKE": WaitOptions},
        {**FUNCTIONS, "COOL": wait_stage},
        "COOL has a function but no options",
    ),
    "no quick sync": (
        {"BAKE": WaitOptions},
        {"BAKE": wait_stage},
        "the quick sync BAKE_SYNC has no function",
    ),
    "a stage of every platform": (
        {"BAKE": WaitOptions, "WAIT": WaitOptions},
        {**FUNCTIONS, "WAIT": wait_stage},
        "WAIT is a stage of every platform",
    ),
    "a stage that only the planner adds": (
        {"BAKE": WaitOptions, "ROLLBACK": WaitOptions},
        FUNCTIONS,
        "ROLLBACK has options but is never configured",
    ),
}


@pytest.mark.parametrize("case", MISMATCHES.values(), ids=MISMATCHES.keys())
def test_a_mismatch_names_the_platform_and_the_stage(
    case: tuple[Mapping[str, Any], Mapping[str, Any], str],
) -> None:
    options, functions, what = case
    with pytest.raises(ConfigError) as error:
        check_tables({"OVEN": platform(options, functions)})
    assert error.value.what == f"the stages of the platform OVEN cannot be used: {what}"
    assert error.value.remedy


@pytest.mark.parametrize("options", [{"BAKE": WaitOptions}, {"BAKE": WaitOptions, "BAKE_SYNC": WaitOptions}])
def test_the_quick_sync_needs_no_options_but_may_have_some(options: Mapping[str, Any]) -> None:
    check_tables({"OVEN": platform(options, FUNCTIONS)})


def test_the_tables_of_all_installed_platforms_agree() -> None:
    platforms = load_platforms(installed_platforms())
    assert set(platforms) == set(installed_platforms()) >= {"TERRAFORM", "ECS", "LAMBDA"}
    check_tables(platforms)


@pytest.mark.parametrize("kind", ["TERRAFORM", "ECS", "LAMBDA"])
def test_every_stage_that_a_file_may_contain_can_be_executed(kind: str) -> None:
    installed = load_platform(kind)
    for name in application_types(installed).options:
        assert stage_function(installed, name)
    with pytest.raises(ConfigError, match="this agent has no stage VERIFY for "):
        stage_function(installed, "VERIFY")


async def test_an_agent_with_a_mismatch_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**terraform.platform.options, "TERRAFORM_BAKE": WaitOptions}
    alter_platform(monkeypatch, "TERRAFORM", options=options)
    spec = piped_spec(tmp_path)
    with pytest.raises(ConfigError, match=r"the platform TERRAFORM .* TERRAFORM_BAKE has options but no"):
        await piped.run(spec, Options(home=tmp_path / "home"))


def test_a_stage_of_every_platform_needs_a_function() -> None:
    functions = {name: function for name, function in STAGES.items() if name != "SCRIPT_RUN"}
    with pytest.raises(ConfigError, match="SCRIPT_RUN has options but no function"):
        check_tables({}, functions)
    assert "SCRIPT_RUN" in OPTIONS
