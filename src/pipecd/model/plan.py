"""Plans a deployment: the sync strategy, with its reason as a sentence, and the stages.

Pure: `piped.deploy.planner` collects the inputs. If neither the trigger nor the application's file decides,
`determine_strategy` returns None and the platform decides.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from typing import Any, Protocol

from pipecd.model.deployment import ManualOperation, Stage, SyncStrategy, Trigger
from pipecd.model.progress import BASE_STAGE, ONLY_ON_REQUEST, STAGE_TIMEOUT

#: Names of stages that the planner treats specially.
WAIT_APPROVAL, ANALYSIS, SCRIPT_RUN, CUSTOM_SYNC = "WAIT_APPROVAL", "ANALYSIS", "SCRIPT_RUN", "CUSTOM_SYNC"
#: Keys of stage metadata that other programs read: the approvers, and the command and environment of a
#: script's rollback.
APPROVERS, ON_ROLLBACK, ENVIRONMENT = "Approvers", "onRollback", "env"


@dataclass(frozen=True, kw_only=True)
class Predefined:
    """A stage that the planner adds: its id and name on the wire, and its description."""

    id: str
    name: str
    desc: str


ROLLBACK = Predefined(id="Rollback", name="ROLLBACK", desc="Roll back to the previous version")
CUSTOM_SYNC_ROLLBACK = Predefined(
    id="CustomSyncRollback", name="CUSTOM_SYNC_ROLLBACK", desc="Run the custom sync at the previous commit"
)
SCRIPT_RUN_ROLLBACK = Predefined(
    id="ScriptRunRollback", name="SCRIPT_RUN_ROLLBACK", desc="Run the script stage's rollback command"
)


#: Names of the stages that only the planner adds.
ROLLBACK_NAMES = frozenset(stage.name for stage in (ROLLBACK, CUSTOM_SYNC_ROLLBACK, SCRIPT_RUN_ROLLBACK))


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """The sync strategy, and its reason as a sentence."""

    strategy: SyncStrategy
    reason: str


class ConfiguredStage(Protocol):
    """`config.application.StageConfig`."""

    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def desc(self) -> str: ...

    @property
    def timeout(self) -> timedelta | None: ...

    @property
    def options(self) -> Any: ...


class Regex(Protocol):
    """`patterns.Regex`."""

    @property
    def text(self) -> str: ...

    def matches(self, text: str) -> bool: ...


class CommitMatcher(Protocol):
    @property
    def quick_sync(self) -> Regex | None: ...

    @property
    def pipeline(self) -> Regex | None: ...


class NoPipeline(ValueError):
    """A pipeline sync was requested, but the application has no pipeline."""


def determine_strategy(
    trigger: Trigger,
    *,
    pipeline: Sequence[ConfiguredStage],
    always_use_pipeline: bool,
    commit_matcher: CommitMatcher,
) -> Strategy | None:
    """The strategy set by the trigger or the file; None leaves it to the platform. Raises NoPipeline."""
    if trigger.strategy is SyncStrategy.QUICK_SYNC:
        return Strategy(strategy=SyncStrategy.QUICK_SYNC, reason=trigger.summary or "Quick sync as requested")
    if trigger.strategy is SyncStrategy.PIPELINE:
        if not pipeline:
            raise NoPipeline("a pipeline sync was requested, but the application has no pipeline")
        return Strategy(
            strategy=SyncStrategy.PIPELINE, reason=trigger.summary or "Sync with the pipeline as requested"
        )
    if not pipeline:
        return Strategy(
            strategy=SyncStrategy.QUICK_SYNC, reason="Quick sync, because no pipeline is configured"
        )
    if always_use_pipeline:
        return Strategy(
            strategy=SyncStrategy.PIPELINE, reason="Sync with the pipeline, because alwaysUsePipeline is set"
        )
    # A requested sync deploys a commit that may be old; its message does not decide.
    return None if trigger.commander else _match_commit_message(trigger.commit.message, commit_matcher)


def _match_commit_message(message: str, matcher: CommitMatcher) -> Strategy | None:
    for regex, strategy, label in (
        (matcher.pipeline, SyncStrategy.PIPELINE, "Sync with the pipeline"),
        (matcher.quick_sync, SyncStrategy.QUICK_SYNC, "Quick sync"),
    ):
        if regex and regex.matches(message):
            reason = f'{label}, because the commit message matches "{regex.text}"'
            return Strategy(strategy=strategy, reason=reason)
    return None


def quick_sync_stages(quick_sync: Predefined, *, rolls_back: bool, auto_rollback: bool) -> Sequence[Stage]:
    """The sync stage and its rollback stage. `rolls_back`: the platform supports ROLLBACK."""
    forward = _predefined_stage(quick_sync)
    rollback = [_rollback_stage(ROLLBACK)] if rolls_back else []
    return _combine([forward], rollback, auto_rollback=auto_rollback)


def pipeline_stages(
    pipeline: Sequence[ConfiguredStage], *, rolls_back: bool, auto_rollback: bool
) -> Sequence[Stage]:
    """The configured stages in sequence, and their rollback stages.

    A pipeline with CUSTOM_SYNC is rolled back by running its command at the previous commit.
    """
    forward = [_configured_stage(stage) for stage in pipeline]
    chained = [replace(stage, requires=(previous.id,)) for previous, stage in pairwise(forward)]
    rollback = []
    if any(stage.name == CUSTOM_SYNC for stage in pipeline):
        rollback = [_rollback_stage(CUSTOM_SYNC_ROLLBACK)]
    elif rolls_back:
        rollback = [_rollback_stage(ROLLBACK)]
    return _combine(
        [*forward[:1], *chained], [*rollback, *_script_rollbacks(pipeline)], auto_rollback=auto_rollback
    )


def _configured_stage(configured: ConfiguredStage) -> Stage:
    timeout = configured.timeout
    metadata = {} if timeout is None else {STAGE_TIMEOUT: f"{timeout.total_seconds():g}"}
    stage = Stage(id=configured.id, name=configured.name, index=0, desc=configured.desc, metadata=metadata)
    if configured.name == WAIT_APPROVAL:
        approvers = tuple(configured.options.approvers)
        return replace(
            stage,
            operation=ManualOperation.APPROVE,
            approvers=approvers,
            metadata={**metadata, APPROVERS: ",".join(approvers)},
        )
    return replace(stage, operation=ManualOperation.SKIP) if configured.name == ANALYSIS else stage


def _script_rollbacks(pipeline: Sequence[ConfiguredStage]) -> Sequence[Stage]:
    scripts = [stage for stage in pipeline if stage.name == SCRIPT_RUN and stage.options.on_rollback]
    rollback_stages = []
    for number, script in enumerate(scripts):
        metadata = {
            BASE_STAGE: script.id,
            ON_ROLLBACK: script.options.on_rollback,
            ENVIRONMENT: json.dumps(dict(script.options.env)),
        }
        # The wire defines one id; further script rollbacks need ids that differ from it.
        stage_id = SCRIPT_RUN_ROLLBACK.id if number == 0 else f"{SCRIPT_RUN_ROLLBACK.id}-{number}"
        rollback_stages.append(replace(_rollback_stage(SCRIPT_RUN_ROLLBACK, metadata), id=stage_id))
    return rollback_stages


def _predefined_stage(predefined: Predefined) -> Stage:
    return Stage(id=predefined.id, name=predefined.name, index=0, desc=predefined.desc, predefined=True)


def _rollback_stage(predefined: Predefined, metadata: Mapping[str, str] | None = None) -> Stage:
    """A rollback stage, which is hidden until it runs."""
    return replace(_predefined_stage(predefined), rollback=True, visible=False, metadata=metadata or {})


def _combine(forward: Sequence[Stage], rollback: Sequence[Stage], *, auto_rollback: bool) -> Sequence[Stage]:
    """Number all stages. A rollback that is not automatic is still planned: a user may request it."""
    if not auto_rollback:
        rollback = [
            replace(stage, metadata={**stage.metadata, ONLY_ON_REQUEST: "true"}) for stage in rollback
        ]
    return tuple(replace(stage, index=index) for index, stage in enumerate([*forward, *rollback]))
