"""How a deployment goes about it: which strategy, with the sentence that says why, and which stages.

Pure: `piped.planner` gathers the facts. Where neither the trigger nor the application's file decides,
`strategy` answers None and the platform is asked.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Protocol

from pipecd.model.deployment import ManualOperation, Stage, SyncStrategy, Trigger
from pipecd.model.progress import BASE_STAGE, ONLY_ON_REQUEST

#: Stage metadata that other programs read: who may approve, and what a script's rollback runs.
APPROVERS, ON_ROLLBACK, ENVIRONMENT = "Approvers", "onRollback", "env"


@dataclass(frozen=True, kw_only=True)
class Predefined:
    """A stage that the planner adds by itself: the wire's id and name, and what people read."""

    id: str
    name: str
    desc: str


ROLLBACK = Predefined(id="Rollback", name="ROLLBACK", desc="Go back to what ran before")
CUSTOM_SYNC_ROLLBACK = Predefined(
    id="CustomSyncRollback", name="CUSTOM_SYNC_ROLLBACK", desc="Sync the commit that ran before once more"
)
SCRIPT_RUN_ROLLBACK = Predefined(
    id="ScriptRunRollback", name="SCRIPT_RUN_ROLLBACK", desc="Run what a script's stage says for a rollback"
)


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """How to sync, and the sentence that says why."""

    strategy: SyncStrategy
    why: str


class ConfiguredStage(Protocol):
    """`config.application.StageConfig`."""

    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def desc(self) -> str: ...

    @property
    def options(self) -> Any: ...


class CommitMatcher(Protocol):
    @property
    def quick_sync(self) -> str: ...

    @property
    def pipeline(self) -> str: ...


class NoPipeline(ValueError):
    """The pipeline was asked for and there is none."""


def strategy(
    trigger: Trigger,
    *,
    pipeline: Sequence[ConfiguredStage],
    always_use_pipeline: bool,
    commit_matcher: CommitMatcher,
) -> Strategy | None:
    """What the trigger or the file decides; None leaves it to the platform. Raises NoPipeline."""
    if trigger.strategy is SyncStrategy.QUICK_SYNC:
        return Strategy(strategy=SyncStrategy.QUICK_SYNC, why=trigger.summary or "Quick sync as asked for")
    if trigger.strategy is SyncStrategy.PIPELINE:
        if not pipeline:
            raise NoPipeline("a sync with the pipeline was asked for, and the application has no pipeline")
        return Strategy(
            strategy=SyncStrategy.PIPELINE, why=trigger.summary or "Sync with the pipeline as asked"
        )
    if not pipeline:
        return Strategy(strategy=SyncStrategy.QUICK_SYNC, why="Quick sync, because no pipeline is configured")
    if always_use_pipeline:
        return Strategy(
            strategy=SyncStrategy.PIPELINE, why="Sync with the pipeline, because alwaysUsePipeline is set"
        )
    # Who asks for a sync in person does not mean the words of an old commit.
    return None if trigger.commander else _by_message(trigger.commit.message, commit_matcher)


def _by_message(message: str, matcher: CommitMatcher) -> Strategy | None:
    for regex, kind, words in (
        (matcher.pipeline, SyncStrategy.PIPELINE, "Sync with the pipeline"),
        (matcher.quick_sync, SyncStrategy.QUICK_SYNC, "Quick sync"),
    ):
        if regex and re.search(regex, message):
            return Strategy(strategy=kind, why=f'{words}, because the commit message matches "{regex}"')
    return None


def quick_sync_stages(quick_sync: Predefined, *, rolls_back: bool, auto_rollback: bool) -> Sequence[Stage]:
    """One stage, and the one that undoes it. `rolls_back`: the platform knows ROLLBACK."""
    forward = _predefined(quick_sync)
    undoing = [_rollback(ROLLBACK)] if rolls_back else []
    return _numbered([forward], undoing, auto_rollback=auto_rollback)


def pipeline_stages(
    pipeline: Sequence[ConfiguredStage], *, rolls_back: bool, auto_rollback: bool
) -> Sequence[Stage]:
    """The configured stages one after another, and those that undo them.

    A pipeline that syncs by a command of its own is undone by that command at the commit before.
    """
    forward = [_configured(stage) for stage in pipeline]
    chained = [replace(now, requires=(before.id,)) for before, now in pairwise(forward)]
    custom = any(stage.name == "CUSTOM_SYNC" for stage in pipeline)
    undoing = [_rollback(CUSTOM_SYNC_ROLLBACK)] if custom else [_rollback(ROLLBACK)] if rolls_back else []
    return _numbered(
        [*forward[:1], *chained], [*undoing, *_script_rollbacks(pipeline)], auto_rollback=auto_rollback
    )


def _configured(stage: ConfiguredStage) -> Stage:
    made = Stage(id=stage.id, name=stage.name, index=0, desc=stage.desc)
    if stage.name == "WAIT_APPROVAL":
        approvers = tuple(stage.options.approvers)
        return replace(
            made,
            operation=ManualOperation.APPROVE,
            approvers=approvers,
            metadata={APPROVERS: ",".join(approvers)},
        )
    return replace(made, operation=ManualOperation.SKIP) if stage.name == "ANALYSIS" else made


def _script_rollbacks(pipeline: Sequence[ConfiguredStage]) -> Sequence[Stage]:
    scripts = [stage for stage in pipeline if stage.name == "SCRIPT_RUN" and stage.options.on_rollback]
    undoing = []
    for number, script in enumerate(scripts):
        facts = {
            BASE_STAGE: script.id,
            ON_ROLLBACK: script.options.on_rollback,
            ENVIRONMENT: json.dumps(dict(script.options.env)),
        }
        # The wire knows one id; a second one must still be another stage.
        name = SCRIPT_RUN_ROLLBACK.id if number == 0 else f"{SCRIPT_RUN_ROLLBACK.id}-{number}"
        undoing.append(replace(_rollback(SCRIPT_RUN_ROLLBACK, facts), id=name))
    return undoing


def _predefined(what: Predefined) -> Stage:
    return Stage(id=what.id, name=what.name, index=0, desc=what.desc, predefined=True)


def _rollback(what: Predefined, metadata: Mapping[str, str] | None = None) -> Stage:
    """Out of sight until it runs."""
    return replace(_predefined(what), rollback=True, visible=False, metadata=metadata or {})


def _numbered(forward: Sequence[Stage], undoing: Sequence[Stage], *, auto_rollback: bool) -> Sequence[Stage]:
    """A rollback that is not automatic is planned all the same: a person may ask for it."""
    if not auto_rollback:
        undoing = [replace(one, metadata={**one.metadata, ONLY_ON_REQUEST: "true"}) for one in undoing]
    return tuple(replace(stage, index=index) for index, stage in enumerate([*forward, *undoing]))
