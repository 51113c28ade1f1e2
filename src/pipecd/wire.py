"""Conversion between model values and the schema's messages.

Called by the users of `client` (piped, pipectl). `*_from` converts a message to a value, `*_to` a value to a
message. An enum number that this version does not know (from a newer control plane) raises `Unsupported`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import IntEnum
from typing import Any, TypeVar

from pipecd.errors import Unsupported
from pipecd.model.application import (
    DEFAULT_CONFIG_FILENAME,
    Application,
    DeploymentReference,
    GitPath,
    Pin,
    kind_of_plugin,
    plugin_of_kind,
)
from pipecd.model.command import (
    ApproveStage,
    BuildPlanPreview,
    CancelDeployment,
    ChainSyncApplication,
    Command,
    RestartAgent,
    RollBackApplication,
    SkipStage,
    SyncApplication,
    UnknownCommand,
)
from pipecd.model.deployment import (
    Commit,
    Deployment,
    ManualOperation,
    Stage,
    SyncStrategy,
    Trigger,
    Version,
    VersionKind,
)
from pipecd.model.plan import ROLLBACK_NAMES
from pipecd.model.policy_text import WrittenPolicy
from pipecd.model.resource import Resource, aggregate_health
from pipecd.model.status import DeploymentStatus, StageStatus, SyncStatus
from pipecd.schema.agent.live_state_pb2 import ReportApplicationLiveStateEventsRequest
from pipecd.schema.model import (
    access_pb2,
    application_pb2,
    artifact_pb2,
    command_pb2,
    deployment_pb2,
    git_path_pb2,
    kind_pb2,
    live_state_pb2,
    stage_pb2,
    strategy_pb2,
    trigger_pb2,
)
from pipecd.schema.pipecd.v1 import pin_pb2

#: Placeholders: the schema requires a message and an author, Git does not.
NO_MESSAGE, NO_AUTHOR = "(no message)", "(unknown)"

Number = TypeVar("Number", bound=IntEnum)


def enum_from(kind: type[Number], number: int) -> Number:
    """Return the member of `kind` with the value `number`."""
    try:
        return kind(number)
    except ValueError:
        raise Unsupported(f"{kind.__name__} {number} is unknown to this version") from None


#: The kind of a record with several plugins; no platform has this name.
SEVERAL_PLUGINS = "APPLICATION"


def kind_from(message: application_pb2.Application | deployment_pb2.Deployment) -> str:
    """Return the name of the kind. A record of PipeCD's plugin architecture has the kind of its plugin."""
    plugins = list(message.deploy_targets_by_plugin)
    if plugins:
        return kind_of_plugin(plugins[0]) if len(plugins) == 1 else SEVERAL_PLUGINS
    return kind_name(message.kind)


def kind_name(number: int) -> str:
    """Return the name of a kind that has a number. One that this version does not know has a made-up name."""
    numbers = kind_pb2.ApplicationKind
    return numbers.Name(number) if number in numbers.values() else f"KIND_{number}"  # type: ignore[arg-type]


def has_number(kind: str) -> bool:
    """Whether the schema has a number for the kind. All others are transferred as plugins."""
    return kind in kind_pb2.ApplicationKind.keys()  # noqa: SIM118 - an enum wrapper is no mapping


def kind_number(kind: str) -> kind_pb2.ApplicationKind.ValueType:
    """Return the kind's number; for a kind without one 0, as PipeCD's plugin architecture sends it."""
    return kind_pb2.ApplicationKind.Value(kind) if has_number(kind) else kind_pb2.ApplicationKind.ValueType(0)


def deploy_targets_to(kind: str, platform_provider: str) -> Mapping[str, artifact_pb2.DeployTargets]:
    """Return the field `deploy_targets_by_plugin`; it is empty for a kind that has a number."""
    if has_number(kind):
        return {}
    targets = [platform_provider] if platform_provider else []
    return {plugin_of_kind(kind): artifact_pb2.DeployTargets(deploy_targets=targets)}


def provider_to(kind: str, platform_provider: str) -> str:
    """Return the field `platform_provider`; it is empty for a kind that has no number.

    As in PipeCD, a record has either a provider or plugins.
    """
    return platform_provider if has_number(kind) else ""


def provider_from(message: application_pb2.Application | deployment_pb2.Deployment) -> str:
    """Return the name of the platform provider. Several deploy targets become a name that no provider has."""
    targets = [name for plugin in message.deploy_targets_by_plugin.values() for name in plugin.deploy_targets]
    return ", ".join(targets) or message.platform_provider or message.cloud_provider


def git_path_from(message: git_path_pb2.ApplicationGitPath) -> GitPath:
    return GitPath(
        repo_id=message.repo.id,
        path=message.path,
        remote=message.repo.remote,
        branch=message.repo.branch,
        config_filename=message.config_filename or DEFAULT_CONFIG_FILENAME,
        url=message.url,
    )


def git_path_to(value: GitPath) -> git_path_pb2.ApplicationGitPath:
    return git_path_pb2.ApplicationGitPath(
        repo=git_path_pb2.ApplicationGitRepository(
            id=value.repo_id, remote=value.remote, branch=value.branch
        ),
        path=value.path,
        config_filename=value.config_filename,
        url=value.url,
    )


def reference_from(message: application_pb2.ApplicationDeploymentReference) -> DeploymentReference:
    return DeploymentReference(
        deployment_id=message.deployment_id,
        commit=message.trigger.commit.hash,
        completed_at=message.completed_at,
        started_at=message.started_at,
        config_filename=message.config_filename or DEFAULT_CONFIG_FILENAME,
    )


def reference_to(deployment: Deployment) -> application_pb2.ApplicationDeploymentReference:
    """Build the reference to `deployment` that is stored with its application."""
    return application_pb2.ApplicationDeploymentReference(
        deployment_id=deployment.id,
        trigger=trigger_to(deployment.trigger),
        summary=deployment.summary,
        config_filename=deployment.git_path.config_filename,
        versions=[version_to(version) for version in deployment.versions],
        started_at=deployment.created_at or deployment.trigger.timestamp,
        completed_at=deployment.completed_at,
    )


def application_from(message: application_pb2.Application) -> Application:
    successful = message.most_recently_successful_deployment
    triggered = message.most_recently_triggered_deployment
    return Application(
        id=message.id,
        name=message.name,
        piped_id=message.piped_id,
        project_id=message.project_id,
        kind=kind_from(message),
        git_path=git_path_from(message.git_path),
        platform_provider=provider_from(message),
        disabled=message.disabled,
        description=message.description,
        labels=dict(message.labels),
        sync_status=enum_from(SyncStatus, message.sync_state.status),
        sync_reason=message.sync_state.reason or message.sync_state.short_reason,
        sync_reported_at=message.sync_state.timestamp,
        deploying=message.deploying,
        last_successful=reference_from(successful) if successful.deployment_id else None,
        last_triggered=reference_from(triggered) if triggered.deployment_id else None,
        pin=_pin_from(message.pin) if message.HasField("pin") else None,
    )


def _pin_from(message: pin_pb2.ApplicationPin) -> Pin:
    return Pin(
        commit=message.commit_hash,
        deployment_id=message.deployment_id,
        by=message.by,
        reason=message.reason,
        until=message.until,
        newest_held=message.held_commits[0].hash if message.held_commits else "",
    )


def commit_from(message: trigger_pb2.Commit) -> Commit:
    return Commit(
        hash=message.hash,
        message=message.message,
        author=message.author,
        branch=message.branch,
        created_at=message.created_at,
        url=message.url,
        pull_request=message.pull_request,
    )


def commit_to(value: Commit) -> trigger_pb2.Commit:
    return trigger_pb2.Commit(
        hash=value.hash,
        message=value.message or NO_MESSAGE,
        author=value.author or NO_AUTHOR,
        branch=value.branch,
        created_at=max(value.created_at, 1),
        url=value.url,
        pull_request=value.pull_request,
    )


def trigger_from(message: trigger_pb2.DeploymentTrigger) -> Trigger:
    return Trigger(
        commit=commit_from(message.commit),
        timestamp=message.timestamp,
        commander=message.commander,
        strategy=enum_from(SyncStrategy, message.sync_strategy),
        summary=message.strategy_summary,
    )


def trigger_to(value: Trigger) -> trigger_pb2.DeploymentTrigger:
    return trigger_pb2.DeploymentTrigger(
        commit=commit_to(value.commit),
        timestamp=value.timestamp,
        commander=value.commander,
        sync_strategy=strategy_to(value.strategy),
        strategy_summary=value.summary,
    )


def strategy_to(value: SyncStrategy) -> strategy_pb2.SyncStrategy.ValueType:
    return strategy_pb2.SyncStrategy.ValueType(value)


def version_from(message: artifact_pb2.ArtifactVersion) -> Version:
    return Version(
        kind=enum_from(VersionKind, message.kind), version=message.version, name=message.name, url=message.url
    )


def version_to(value: Version) -> artifact_pb2.ArtifactVersion:
    return artifact_pb2.ArtifactVersion(
        kind=artifact_pb2.ArtifactVersion.Kind.ValueType(value.kind),
        version=value.version,
        name=value.name,
        url=value.url,
    )


def is_rollback(stage: stage_pb2.PipelineStage) -> bool:
    """Whether it is a rollback stage, which PipeCD's agents without plugins say only by its name."""
    return stage.rollback or stage.name in ROLLBACK_NAMES


def stage_from(message: stage_pb2.PipelineStage) -> Stage:
    return Stage(
        id=message.id,
        name=message.name,
        index=message.index,
        desc=message.desc,
        requires=tuple(message.requires),
        visible=message.visible,
        rollback=is_rollback(message),
        predefined=message.predefined,
        status=enum_from(StageStatus, message.status),
        reason=message.status_reason,
        metadata=dict(message.metadata),
        completed_at=message.completed_at,
        created_at=message.created_at,
        operation=enum_from(ManualOperation, message.available_operation),
        approvers=tuple(message.authorized_operators),
    )


def stage_to(value: Stage, *, now: int) -> stage_pb2.PipelineStage:
    """`now` (epoch seconds) is the creation time of a stage that has none."""
    return stage_pb2.PipelineStage(
        id=value.id,
        name=value.name,
        desc=value.desc,
        index=value.index,
        predefined=value.predefined,
        requires=value.requires,
        visible=value.visible,
        rollback=value.rollback,
        status=stage_status_to(value.status),
        status_reason=value.reason,
        metadata=dict(value.metadata),
        completed_at=value.completed_at,
        created_at=value.created_at or now,
        updated_at=now,
        available_operation=stage_pb2.ManualOperation.ValueType(value.operation),
        authorized_operators=value.approvers,
    )


def stage_status_to(value: StageStatus) -> stage_pb2.StageStatus.ValueType:
    return stage_pb2.StageStatus.ValueType(value)


def deployment_status_to(value: DeploymentStatus) -> deployment_pb2.DeploymentStatus.ValueType:
    return deployment_pb2.DeploymentStatus.ValueType(value)


def deployment_from(message: deployment_pb2.Deployment) -> Deployment:
    return Deployment(
        id=message.id,
        application_id=message.application_id,
        application_name=message.application_name,
        piped_id=message.piped_id,
        project_id=message.project_id,
        kind=kind_from(message),
        git_path=git_path_from(message.git_path),
        trigger=trigger_from(message.trigger),
        platform_provider=provider_from(message),
        labels=dict(message.labels),
        status=enum_from(DeploymentStatus, message.status),
        reason=message.status_reason,
        summary=message.summary,
        versions=tuple(version_from(version) for version in message.versions),
        running_commit=message.running_commit_hash,
        running_config_filename=message.running_config_filename,
        stages=tuple(stage_from(stage) for stage in message.stages),
        shared=_shared_from(message),
        chain_id=message.deployment_chain_id,
        chain_block=message.deployment_chain_block_index,
        trace_commits=_trace_commits_from(message),
        created_at=message.created_at,
        completed_at=message.completed_at,
    )


def _trace_commits_from(message: deployment_pb2.Deployment) -> tuple[str, ...]:
    """PipeCD has at most one."""
    first = message.deployment_trace_commit_hash
    return tuple(message.deployment_trace_commit_hashes) or ((first,) if first else ())


def _shared_from(message: deployment_pb2.Deployment) -> Mapping[str, str]:
    """Return the shared metadata; PipeCD's v0 agent stores it in `metadata`."""
    return {**message.metadata, **message.metadata_v2.shared.keyValues}


def deployment_to(value: Deployment, *, now: int) -> deployment_pb2.Deployment:
    """`now` (epoch seconds) is the creation time of a deployment that has none."""
    provider = provider_to(value.kind, value.platform_provider)
    metadata = deployment_pb2.DeploymentMetadata(
        shared=deployment_pb2.DeploymentMetadata.KeyValues(keyValues=dict(value.shared))
    )
    return deployment_pb2.Deployment(
        id=value.id,
        application_id=value.application_id,
        application_name=value.application_name,
        piped_id=value.piped_id,
        project_id=value.project_id,
        kind=kind_number(value.kind),
        git_path=git_path_to(value.git_path),
        platform_provider=provider,
        cloud_provider=provider,
        deploy_targets_by_plugin=deploy_targets_to(value.kind, value.platform_provider),
        labels=dict(value.labels),
        trigger=trigger_to(value.trigger),
        summary=value.summary,
        versions=[version_to(version) for version in value.versions],
        running_commit_hash=value.running_commit,
        running_config_filename=value.running_config_filename,
        status=deployment_status_to(value.status),
        status_reason=value.reason,
        stages=[stage_to(stage, now=now) for stage in value.stages],
        metadata_v2=metadata,
        deployment_chain_id=value.chain_id,
        deployment_chain_block_index=value.chain_block,
        deployment_trace_commit_hash=value.trace_commits[0] if value.trace_commits else "",
        deployment_trace_commit_hashes=value.trace_commits if len(value.trace_commits) > 1 else (),
        completed_at=value.completed_at,
        created_at=value.created_at or now,
        updated_at=now,
    )


def command_from(message: command_pb2.Command) -> Command:
    """Convert a command; `UnknownCommand` if this version does not support its type."""
    return replace(_command_from(message), trace_parent=message.trace_parent)


def _command_from(message: command_pb2.Command) -> Command:
    kinds = command_pb2.Command.Type
    match message.type:
        case kinds.SYNC_APPLICATION:
            return SyncApplication(
                id=message.id,
                commander=message.commander,
                created_at=message.created_at,
                application_id=message.sync_application.application_id,
                strategy=enum_from(SyncStrategy, message.sync_application.sync_strategy),
            )
        case kinds.CHAIN_SYNC_APPLICATION:
            chain = message.chain_sync_application
            return ChainSyncApplication(
                id=message.id,
                commander=message.commander,
                created_at=message.created_at,
                application_id=chain.application_id,
                chain_id=chain.deployment_chain_id,
                block=chain.block_index,
                strategy=enum_from(SyncStrategy, chain.sync_strategy),
            )
        case kinds.ROLL_BACK_APPLICATION:
            return RollBackApplication(
                id=message.id,
                commander=message.commander,
                created_at=message.created_at,
                application_id=message.roll_back_application.application_id,
                target_id=message.roll_back_application.target_deployment_id,
                strategy=enum_from(SyncStrategy, message.roll_back_application.sync_strategy),
                reason=message.roll_back_application.reason,
            )
        case kinds.CANCEL_DEPLOYMENT:
            return CancelDeployment(
                id=message.id,
                commander=message.commander,
                created_at=message.created_at,
                deployment_id=message.cancel_deployment.deployment_id,
                rollback=_rollback_from(message.cancel_deployment),
                rejected_stage_id=message.cancel_deployment.rejected_stage_id,
                comment=message.cancel_deployment.comment,
            )
        case kinds.APPROVE_STAGE:
            return ApproveStage(
                id=message.id,
                commander=message.commander,
                created_at=message.created_at,
                deployment_id=message.approve_stage.deployment_id,
                stage_id=message.approve_stage.stage_id,
                comment=message.approve_stage.comment,
            )
        case kinds.SKIP_STAGE:
            return SkipStage(
                id=message.id,
                commander=message.commander,
                created_at=message.created_at,
                deployment_id=message.skip_stage.deployment_id,
                stage_id=message.skip_stage.stage_id,
            )
        case kinds.BUILD_PLAN_PREVIEW:
            preview = message.build_plan_preview
            return BuildPlanPreview(
                id=message.id,
                commander=message.commander,
                created_at=message.created_at,
                repository_id=preview.repository_id,
                head_branch=preview.head_branch,
                head_commit=preview.head_commit,
                base_branch=preview.base_branch,
                timeout=preview.timeout,
            )
        case kinds.RESTART_PIPED:
            return RestartAgent(id=message.id, commander=message.commander, created_at=message.created_at)
    name = kinds.Name(message.type) if message.type in kinds.values() else str(message.type)
    return UnknownCommand(
        id=message.id, commander=message.commander, created_at=message.created_at, kind=name
    )


def _rollback_from(message: command_pb2.Command.CancelDeployment) -> bool | None:
    if message.force_rollback:
        return True
    return False if message.force_no_rollback else None


#: Of a live state: seconds since the epoch, and a number for those of one second.
LiveStateVersion = tuple[int, int]


def policy_from(message: access_pb2.ProjectRBACPolicy) -> WrittenPolicy:
    return WrittenPolicy(
        resources=[(resource.type, dict(resource.labels)) for resource in message.resources],
        actions=list(message.actions),
    )


def policy_to(value: WrittenPolicy) -> access_pb2.ProjectRBACPolicy:
    return access_pb2.ProjectRBACPolicy(
        resources=[
            access_pb2.ProjectRBACResource(
                type=access_pb2.ProjectRBACResource.ResourceType.ValueType(resource), labels=labels
            )
            for resource, labels in value.resources
        ],
        actions=[access_pb2.ProjectRBACPolicy.Action.ValueType(action) for action in value.actions],
    )


def snapshot_to(
    application: Application, resources: Sequence[Resource], *, now: int, version: LiveStateVersion = (0, 0)
) -> live_state_pb2.ApplicationLiveStateSnapshot:
    """Build the live state. Platforms with a resource list of their own in PipeCD's schema use that list.

    Without a version, it is `now`.
    """
    timestamp, index = max(version, (now, 0))
    snapshot = live_state_pb2.ApplicationLiveStateSnapshot(
        application_id=application.id,
        piped_id=application.piped_id,
        project_id=application.project_id,
        kind=kind_number(application.kind),
        health_status=live_state_pb2.ApplicationLiveStateSnapshot.Status.ValueType(
            aggregate_health(resources)
        ),
        version=live_state_pb2.ApplicationLiveStateVersion(timestamp=timestamp, index=index),
    )
    own_list = _own_resource_list(snapshot, application.kind)
    for resource in resources:
        if own_list is not None:
            _add_resource(own_list, resource, now)
        else:
            snapshot.application_live_state.resources.append(_resource_to(application, resource, now))
    return snapshot


def has_live_state_events(application: Application) -> bool:
    """Whether the schema has events for the resources of the application's kind."""
    events = f"{plugin_of_kind(application.kind)}_events"
    return events in ReportApplicationLiveStateEventsRequest.DESCRIPTOR.fields_by_name


def live_state_events_to(
    application: Application,
    changed: Sequence[Resource],
    removed: Sequence[str],
    *,
    now: int,
    version: LiveStateVersion,
) -> Sequence[live_state_pb2.KubernetesResourceStateEvent]:
    """Build events for resources that changed, and for the ids of those that do not exist any more."""
    message = live_state_pb2.KubernetesResourceStateEvent
    states = live_state_pb2.KubernetesApplicationLiveState()
    for resource in changed:
        _add_resource(states.resources, resource, now)
    types = [message.ADD_OR_UPDATED] * len(changed)
    for uid in removed:
        # The schema requires a complete state.
        gone = Resource(id=uid, api_version="-", kind="-", name="-")
        _add_resource(states.resources, gone, now)
        types.append(message.DELETED)
    timestamp, index = version
    return [
        message(
            id=f"{application.id}/{state.id}/{timestamp}.{index}",
            application_id=application.id,
            type=kind,
            state=state,
            snapshot_version=live_state_pb2.ApplicationLiveStateVersion(timestamp=timestamp, index=index),
            created_at=now,
        )
        for state, kind in zip(states.resources, types, strict=True)
    ]


def _own_resource_list(snapshot: live_state_pb2.ApplicationLiveStateSnapshot, kind: str) -> Any | None:
    """Return the resource list that the schema has for the kind alone; None if there is none."""
    name = plugin_of_kind(kind)
    if name not in snapshot.DESCRIPTOR.fields_by_name or not has_number(kind):
        return None
    return getattr(getattr(snapshot, name), "resources", None)


def _add_resource(own_list: Any, resource: Resource, now: int) -> None:
    state = own_list.add(
        id=resource.id,
        owner_ids=resource.parents,
        parent_ids=[*resource.parents, *resource.related],
        name=resource.name,
        kind=resource.kind,
        health_status=int(resource.health),
        health_description=resource.health_reason,
        created_at=resource.created_at or now,
        updated_at=resource.updated_at or resource.created_at or now,
    )
    if "api_version" in state.DESCRIPTOR.fields_by_name:
        state.api_version, state.namespace = resource.api_version, resource.namespace


def _resource_to(application: Application, resource: Resource, now: int) -> live_state_pb2.ResourceState:
    # PipeCD's plugins use the same keys.
    identity = {"API Version": resource.api_version, "Namespace": resource.namespace}
    return live_state_pb2.ResourceState(
        id=resource.id,
        parent_ids=[*resource.parents, *resource.related],
        name=resource.name,
        resource_type=resource.kind,
        resource_metadata={key: value for key, value in identity.items() if value} | dict(resource.metadata),
        health_status=live_state_pb2.ResourceState.HealthStatus.ValueType(resource.health),
        health_description=resource.health_reason,
        deploy_target=application.platform_provider,
        plugin_name=plugin_of_kind(application.kind),
        created_at=resource.created_at or now,
        updated_at=resource.updated_at or resource.created_at or now,
    )
