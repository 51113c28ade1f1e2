"""Which strategy and which stages, with the reasons people read."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipecd.config.application import CommitMatcher, StageConfig
from pipecd.config.stages import CustomSyncOptions, ScriptRunOptions, SkipOn, WaitApprovalOptions, WaitOptions
from pipecd.model.deployment import ManualOperation, SyncStrategy, Trigger
from pipecd.model.plan import NoPipeline, Predefined, pipeline_stages, quick_sync_stages, strategy
from pipecd.model.progress import BASE_STAGE, ONLY_ON_REQUEST
from pipecd.model.skip import skips
from tests.model.samples import trigger

AUTO, QUICK, PIPELINE = SyncStrategy.AUTO, SyncStrategy.QUICK_SYNC, SyncStrategy.PIPELINE
SYNC = Predefined(id="TerraformSync", name="TERRAFORM_SYNC", desc="Apply")


def stage(name: str, index: int, options: Any = None) -> StageConfig:
    made = StageConfig(name=name)
    return made.model_copy(update={"id": f"stage-{index}", "options": options})


WAITS = [stage("WAIT", 0, WaitOptions())]
BY_MESSAGE = CommitMatcher.model_validate({"quickSync": "^hotfix", "pipeline": "slow"})
CASES: dict[str, tuple[Trigger, list[StageConfig], bool, CommitMatcher, SyncStrategy | None, str]] = {
    "asked for quick sync": (trigger(QUICK, "ada"), WAITS, True, BY_MESSAGE, QUICK, "as asked"),
    "asked for the pipeline": (trigger(PIPELINE, "ada"), WAITS, False, BY_MESSAGE, PIPELINE, "as asked"),
    "no pipeline": (trigger(message="slow"), [], True, BY_MESSAGE, QUICK, "no pipeline"),
    "always the pipeline": (
        trigger(message="hotfix"),
        WAITS,
        True,
        BY_MESSAGE,
        PIPELINE,
        "alwaysUsePipeline",
    ),
    "message says pipeline": (trigger(message="hotfix, slow"), WAITS, False, BY_MESSAGE, PIPELINE, '"slow"'),
    "message says quick": (trigger(message="hotfix"), WAITS, False, BY_MESSAGE, QUICK, '"^hotfix"'),
    "a person is not bound by it": (
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
    why_made, pipeline, always, matcher, wanted, words = case
    found = strategy(why_made, pipeline=pipeline, always_use_pipeline=always, commit_matcher=matcher)
    assert (found.strategy if found else None) == wanted
    assert words in (found.why if found else "")


def test_a_pipeline_that_is_not_there_cannot_be_asked_for() -> None:
    with pytest.raises(NoPipeline, match="no pipeline"):
        strategy(trigger(PIPELINE), pipeline=[], always_use_pipeline=False, commit_matcher=CommitMatcher())


def test_quick_sync_is_one_stage_and_its_rollback_out_of_sight() -> None:
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


def test_a_rollback_that_is_not_automatic_is_planned_for_who_asks() -> None:
    *_, rollback = quick_sync_stages(SYNC, rolls_back=True, auto_rollback=False)
    assert ONLY_ON_REQUEST in rollback.metadata


def test_scripts_are_undone_one_by_one() -> None:
    scripts = [
        stage(
            "SCRIPT_RUN",
            0,
            ScriptRunOptions.model_validate({"run": "a", "onRollback": "ua", "env": {"K": "v"}}),
        ),
        stage("SCRIPT_RUN", 1, ScriptRunOptions(run="b")),
        stage("SCRIPT_RUN", 2, ScriptRunOptions.model_validate({"run": "c", "onRollback": "uc"})),
    ]
    made = pipeline_stages(scripts, rolls_back=True, auto_rollback=True)
    undone = [one for one in made if one.name == "SCRIPT_RUN_ROLLBACK"]
    assert [one.metadata[BASE_STAGE] for one in undone] == ["stage-0", "stage-2"]
    assert [one.id for one in undone] == ["ScriptRunRollback", "ScriptRunRollback-1"]
    assert (undone[0].metadata["onRollback"], json.loads(undone[0].metadata["env"])) == ("ua", {"K": "v"})


def test_a_custom_sync_is_undone_by_itself() -> None:
    made = pipeline_stages(
        [stage("CUSTOM_SYNC", 0, CustomSyncOptions(run="sam deploy"))], rolls_back=True, auto_rollback=True
    )
    assert [one.name for one in made] == ["CUSTOM_SYNC", "CUSTOM_SYNC_ROLLBACK"]


def test_who_may_approve_stands_in_the_stage() -> None:
    approval = WaitApprovalOptions(approvers=("ada", "bob"))
    made, *_ = pipeline_stages([stage("WAIT_APPROVAL", 0, approval)], rolls_back=False, auto_rollback=True)
    assert made.metadata == {"Approvers": "ada,bob"}
    assert made.operation is ManualOperation.APPROVE


@given(st.integers(1, 8), st.booleans(), st.booleans(), st.data())
def test_a_plan_is_a_chain_of_stages_with_ids_of_their_own(
    count: int, rolls_back: bool, auto_rollback: bool, data: st.DataObject
) -> None:
    script = ScriptRunOptions.model_validate({"run": "a", "onRollback": "b"})
    kinds = {"WAIT": WaitOptions(), "SCRIPT_RUN": script, "CUSTOM_SYNC": CustomSyncOptions(run="x")}
    names = data.draw(st.lists(st.sampled_from(sorted(kinds)), min_size=count, max_size=count))
    pipeline = [stage(name, index, kinds[name]) for index, name in enumerate(names)]
    made = pipeline_stages(pipeline, rolls_back=rolls_back, auto_rollback=auto_rollback)
    forward = [one for one in made if not one.rollback]
    assert [one.name for one in forward] == names
    assert [one.requires for one in forward] == [(), *((one.id,) for one in forward[:-1])]
    assert len({one.id for one in made}) == len(made)
    assert [one.index for one in made] == list(range(len(made)))
    assert all((ONLY_ON_REQUEST in one.metadata) is not auto_rollback for one in made if one.rollback)


BY_PREFIX = SkipOn.model_validate({"commitMessagePrefixes": ["[skip]"]})
SKIPS = {
    "nothing said": (SkipOn(), "m", ["a"], False),
    "the message begins so": (BY_PREFIX, "[skip] m", ["a"], True),
    "the message holds it elsewhere": (BY_PREFIX, "m [skip]", ["a"], False),
    "only such files": (SkipOn(paths=("docs", "*.md")), "m", ["docs/a", "b.md"], True),
    "also another file": (SkipOn(paths=("docs",)), "m", ["docs/a", "b.md"], False),
    "nothing runs yet": (SkipOn(paths=("**",)), "m", None, False),
}


@pytest.mark.parametrize("case", SKIPS.values(), ids=SKIPS.keys())
def test_skip(case: tuple[SkipOn, str, list[str] | None, bool]) -> None:
    rule, message, changed, skipped = case
    assert bool(skips(rule, message, changed)) is skipped
