"""The strategy of a deployment with its reason, and its stages."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipecd.config.application import CommitMatcher, StageConfig
from pipecd.config.stages import CustomSyncOptions, ScriptRunOptions, SkipOn, WaitApprovalOptions, WaitOptions
from pipecd.model.deployment import ManualOperation, SyncStrategy, Trigger
from pipecd.model.plan import NoPipeline, Predefined, determine_strategy, pipeline_stages, quick_sync_stages
from pipecd.model.progress import BASE_STAGE, ONLY_ON_REQUEST
from pipecd.model.skip import skip_reason
from tests.model.samples import trigger

AUTO, QUICK, PIPELINE = SyncStrategy.AUTO, SyncStrategy.QUICK_SYNC, SyncStrategy.PIPELINE
SYNC = Predefined(id="TerraformSync", name="TERRAFORM_SYNC", desc="Apply")


def stage(name: str, index: int, options: Any = None) -> StageConfig:
    config = StageConfig(name=name)
    return config.model_copy(update={"id": f"stage-{index}", "options": options})


WAITS = [stage("WAIT", 0, WaitOptions())]
BY_MESSAGE = CommitMatcher.model_validate({"quickSync": "^hotfix", "pipeline": "slow"})
CASES: dict[str, tuple[Trigger, list[StageConfig], bool, CommitMatcher, SyncStrategy | None, str]] = {
    "a quick sync was requested": (trigger(QUICK, "ada"), WAITS, True, BY_MESSAGE, QUICK, "as requested"),
    "a pipeline sync was requested": (
        trigger(PIPELINE, "ada"),
        WAITS,
        False,
        BY_MESSAGE,
        PIPELINE,
        "as requested",
    ),
    "no pipeline": (trigger(message="slow"), [], True, BY_MESSAGE, QUICK, "no pipeline"),
    "always the pipeline": (
        trigger(message="hotfix"),
        WAITS,
        True,
        BY_MESSAGE,
        PIPELINE,
        "alwaysUsePipeline",
    ),
    "the message matches pipeline": (
        trigger(message="hotfix, slow"),
        WAITS,
        False,
        BY_MESSAGE,
        PIPELINE,
        '"slow"',
    ),
    "the message matches quickSync": (
        trigger(message="hotfix"),
        WAITS,
        False,
        BY_MESSAGE,
        QUICK,
        '"^hotfix"',
    ),
    "the message is ignored for a requested sync": (
        trigger(AUTO, "ada", "slow"),
        WAITS,
        False,
        BY_MESSAGE,
        None,
        "",
    ),
    "nothing decides": (trigger(), WAITS, False, BY_MESSAGE, None, ""),
    "an empty matcher matches nothing": (trigger(), WAITS, False, CommitMatcher(), None, ""),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_strategy(
    case: tuple[Trigger, list[StageConfig], bool, CommitMatcher, SyncStrategy | None, str],
) -> None:
    cause, pipeline, always, matcher, expected, reason = case
    result = determine_strategy(cause, pipeline=pipeline, always_use_pipeline=always, commit_matcher=matcher)
    assert (result.strategy if result else None) == expected
    assert reason in (result.reason if result else "")


def test_a_pipeline_sync_without_a_pipeline_is_rejected() -> None:
    with pytest.raises(NoPipeline, match="no pipeline"):
        determine_strategy(
            trigger(PIPELINE), pipeline=[], always_use_pipeline=False, commit_matcher=CommitMatcher()
        )


def test_quick_sync_is_one_stage_and_a_hidden_rollback() -> None:
    sync, rollback = quick_sync_stages(SYNC, rolls_back=True, auto_rollback=True)
    assert (sync.id, sync.name, sync.visible, sync.predefined) == (
        "TerraformSync",
        "TERRAFORM_SYNC",
        True,
        True,
    )
    assert (rollback.id, rollback.name, rollback.visible, rollback.rollback) == (
        "Rollback",
        "ROLLBACK",
        False,
        True,
    )
    assert ONLY_ON_REQUEST not in rollback.metadata


def test_a_rollback_that_is_not_automatic_is_planned_for_a_request() -> None:
    *_, rollback = quick_sync_stages(SYNC, rolls_back=True, auto_rollback=False)
    assert ONLY_ON_REQUEST in rollback.metadata


def test_each_script_has_its_own_rollback() -> None:
    scripts = [
        stage(
            "SCRIPT_RUN",
            0,
            ScriptRunOptions.model_validate({"run": "a", "onRollback": "ua", "env": {"K": "v"}}),
        ),
        stage("SCRIPT_RUN", 1, ScriptRunOptions(run="b")),
        stage("SCRIPT_RUN", 2, ScriptRunOptions.model_validate({"run": "c", "onRollback": "uc"})),
    ]
    stages = pipeline_stages(scripts, rolls_back=True, auto_rollback=True)
    rollbacks = [stage for stage in stages if stage.name == "SCRIPT_RUN_ROLLBACK"]
    assert [rollback.metadata[BASE_STAGE] for rollback in rollbacks] == ["stage-0", "stage-2"]
    assert [rollback.id for rollback in rollbacks] == ["ScriptRunRollback", "ScriptRunRollback-1"]
    metadata = rollbacks[0].metadata
    assert (metadata["onRollback"], json.loads(metadata["env"])) == ("ua", {"K": "v"})


def test_a_custom_sync_is_rolled_back_by_its_own_command() -> None:
    stages = pipeline_stages(
        [stage("CUSTOM_SYNC", 0, CustomSyncOptions(run="sam deploy"))], rolls_back=True, auto_rollback=True
    )
    assert [stage.name for stage in stages] == ["CUSTOM_SYNC", "CUSTOM_SYNC_ROLLBACK"]


def test_the_approvers_are_stored_in_the_stage() -> None:
    options = WaitApprovalOptions(approvers=("ada", "bob"))
    approval, *_ = pipeline_stages([stage("WAIT_APPROVAL", 0, options)], rolls_back=False, auto_rollback=True)
    assert approval.metadata == {"Approvers": "ada,bob"}
    assert approval.operation is ManualOperation.APPROVE


@given(st.integers(1, 8), st.booleans(), st.booleans(), st.data())
def test_a_plan_is_a_sequence_of_stages_with_unique_ids(
    count: int, rolls_back: bool, auto_rollback: bool, data: st.DataObject
) -> None:
    script = ScriptRunOptions.model_validate({"run": "a", "onRollback": "b"})
    kinds = {"WAIT": WaitOptions(), "SCRIPT_RUN": script, "CUSTOM_SYNC": CustomSyncOptions(run="x")}
    names = data.draw(st.lists(st.sampled_from(sorted(kinds)), min_size=count, max_size=count))
    pipeline = [stage(name, index, kinds[name]) for index, name in enumerate(names)]
    stages = pipeline_stages(pipeline, rolls_back=rolls_back, auto_rollback=auto_rollback)
    forward = [stage for stage in stages if not stage.rollback]
    rollbacks = [stage for stage in stages if stage.rollback]
    assert [stage.name for stage in forward] == names
    assert [stage.requires for stage in forward] == [(), *((stage.id,) for stage in forward[:-1])]
    assert len({stage.id for stage in stages}) == len(stages)
    assert [stage.index for stage in stages] == list(range(len(stages)))
    assert all((ONLY_ON_REQUEST in stage.metadata) is not auto_rollback for stage in rollbacks)


def skip_on(*paths: str) -> SkipOn:
    return SkipOn.model_validate({"paths": paths})


BY_PREFIX = SkipOn.model_validate({"commitMessagePrefixes": ["[skip]"]})
SKIPS = {
    "nothing configured": (SkipOn(), "m", ["a"], False),
    "the message has the prefix": (BY_PREFIX, "[skip] m", ["a"], True),
    "the message contains the prefix elsewhere": (BY_PREFIX, "m [skip]", ["a"], False),
    "only files that match": (skip_on("docs", "*.md"), "m", ["docs/a", "b.md"], True),
    "also another file": (skip_on("docs"), "m", ["docs/a", "b.md"], False),
    "nothing was deployed yet": (skip_on("**"), "m", None, False),
}


@pytest.mark.parametrize("case", SKIPS.values(), ids=SKIPS.keys())
def test_skip(case: tuple[SkipOn, str, list[str] | None, bool]) -> None:
    rule, message, changed, skipped = case
    assert bool(skip_reason(rule, message, changed)) is skipped
