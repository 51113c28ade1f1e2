"""The stages that applications of a platform may use: its own ones and those of `pipecd.stages`.

Reading an application's file and calling a stage use the same tables, so a pipeline that can be read can be
executed. `check_tables` compares them at startup.
"""

from collections.abc import Mapping, Set
from typing import Any

from pydantic import BaseModel

from pipecd import stages
from pipecd.config.application import ApplicationTypes
from pipecd.errors import ConfigError
from pipecd.model.plan import ROLLBACK, ROLLBACK_NAMES
from pipecd.model.stage import StageFunction
from pipecd.platforms import Platform


def application_types(platform: Platform[Any]) -> ApplicationTypes:
    """How the file of an application of the platform is decoded."""
    return ApplicationTypes(
        config_kind=platform.config_kind,
        spec=platform.spec,
        plugin_fields=platform.plugin_fields,
        options={**stages.OPTIONS, **platform.options},
        check=platform.check,
    )


def stage_function(platform: Platform[Any], name: str) -> StageFunction:
    """Raises ConfigError for a stage that only another version of the agent, or another agent, has."""
    function = platform.stages.get(name) or stages.STAGES.get(name)
    if function is None:
        raise ConfigError(
            f"this agent has no stage {name} for {platform.config_kind}",
            remedy="upgrade the agent, or remove the stage from the pipeline",
        )
    return function


def check_tables(
    platforms: Mapping[str, Platform[Any]], common: Mapping[str, StageFunction] = stages.STAGES
) -> None:
    """Raises ConfigError if option types and functions do not agree. The keys are the names of the kinds."""
    faults = {"pipecd.stages": _disagreements(stages.OPTIONS, common, without_options=ROLLBACK_NAMES)}
    faults |= {f"the platform {kind}": _platform_faults(platform) for kind, platform in platforms.items()}
    for name, found in faults.items():
        if found:
            raise ConfigError(
                f"the stages of {name} cannot be used: {'; '.join(found)}",
                remedy="install versions of the agent and of the platform that were made for each other",
            )


def _platform_faults(platform: Platform[Any]) -> list[str]:
    quick_sync = platform.quick_sync.name
    faults = _disagreements(
        platform.options, platform.stages, without_options=frozenset({ROLLBACK.name, quick_sync})
    )
    if quick_sync not in platform.stages:
        faults.append(f"the quick sync {quick_sync} has no function")
    faults += [
        f"{name} can be stopped, but has no function"
        for name in sorted(platform.stop.keys() - platform.stages.keys())
    ]
    common = stages.OPTIONS.keys() | stages.STAGES.keys()
    own = platform.options.keys() | platform.stages.keys()
    return [*faults, *(f"{name} is a stage of every platform" for name in sorted(common & own))]


def _disagreements(
    options: Mapping[str, type[BaseModel]],
    functions: Mapping[str, StageFunction],
    *,
    without_options: Set[str],
) -> list[str]:
    """`without_options`: stages that the planner adds, which need only a function."""
    forgotten = functions.keys() - options.keys() - without_options
    return [
        *(f"{name} has options but no function" for name in sorted(options.keys() - functions.keys())),
        *(f"{name} has a function but no options" for name in sorted(forgotten)),
        *(f"{name} has options but is never configured" for name in sorted(options.keys() & ROLLBACK_NAMES)),
    ]
