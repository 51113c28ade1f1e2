"""A request for every call that changes something, and the records that these calls need.

`tests.controlplane.test_audit` makes them all; a new call that is not listed here fails it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipecd.schema.model.access_pb2 import ProjectRBACConfig, ProjectRBACPolicy, ProjectRBACResource
from pipecd.schema.model.analysis_pb2 import AnalysisResult
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.application_pb2 import (
    Application,
    ApplicationDeploymentReference,
    ApplicationInfo,
    ApplicationSyncState,
    ApplicationSyncStatus,
)
from pipecd.schema.model.artifact_pb2 import DeployTargets
from pipecd.schema.model.command_pb2 import Command, CommandStatus
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.event_pb2 import Event, EventStatus
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath, ApplicationGitRepository
from pipecd.schema.model.kind_pb2 import ApplicationKind
from pipecd.schema.model.live_state_pb2 import ApplicationLiveStateSnapshot, ApplicationLiveStateVersion
from pipecd.schema.model.piped_pb2 import Piped, PipedKey
from pipecd.schema.model.project_pb2 import Project, ProjectSSOConfig, ProjectStaticUser
from pipecd.schema.model.stage_log_pb2 import LogBlock
from pipecd.schema.model.stage_pb2 import PipelineStage, StageStatus
from pipecd.schema.model.trigger_pb2 import Commit, DeploymentTrigger
from pipecd.schema.pipecd.v1.notifications_pb2 import ProjectReceiver, ReceiverStatus, WebhookReceiver

#: A project in the store; projects of the configuration file cannot be changed by a call.
TEAM = "team"
REPOSITORY = ApplicationGitRepository(id="demo", remote="https://git.example/d.git", branch="main")
TRIGGER = DeploymentTrigger(
    commit=Commit(hash="abc", message="m", author="a", branch="main", created_at=1), timestamp=1
)


def deployment(id: str, **fields: Any) -> Deployment:
    stages = [
        PipelineStage(
            id="stage", name="WAIT_APPROVAL", status=StageStatus.STAGE_RUNNING, created_at=1, updated_at=1
        ),
        PipelineStage(
            id="analysis", name="ANALYSIS", status=StageStatus.STAGE_RUNNING, created_at=1, updated_at=1
        ),
    ]
    return Deployment(
        id=id,
        application_id="app",
        application_name="shop",
        project_id=TEAM,
        piped_id="home",
        git_path=ApplicationGitPath(repo=REPOSITORY, path="shop"),
        trigger=TRIGGER,
        stages=stages,
        created_at=1,
        updated_at=1,
        **fields,
    )


def records() -> list[Any]:
    """What exists before the first call, besides the agent `home` and the API key that make the calls."""
    git_path = ApplicationGitPath(repo=REPOSITORY, path="shop")
    return [
        Project(id=TEAM, static_admin=ProjectStaticUser(username="admin", password_hash="$argon2-of-test")),
        Piped(id="spare", name="Spare", project_id=TEAM, keys=[PipedKey(hash="a"), PipedKey(hash="b")]),
        APIKey(id="old-key", name="old", project_id=TEAM),
        APIKey(id="older-key", name="older", project_id=TEAM),
        Application(id="app", name="shop", project_id=TEAM, piped_id="home", git_path=git_path),
        Application(id="doomed", name="doomed", project_id=TEAM, piped_id="home"),
        Application(id="doomed-too", name="doomed", project_id=TEAM, piped_id="home"),
        deployment("running", status=DeploymentStatus.DEPLOYMENT_RUNNING),
        deployment("pending"),
        deployment("deployed", status=DeploymentStatus.DEPLOYMENT_SUCCESS),
        Event(id="event", name="image", project_id=TEAM),
        Command(id="command", project_id=TEAM, piped_id="home", application_id="app"),
    ]


@dataclass(frozen=True, kw_only=True)
class Write:
    """A request that changes something: its fields, and the record that is changed.

    `id` is empty if the request does not determine the ID of the record.
    """

    kind: str
    id: str
    fields: Mapping[str, Any]


def write(kind: str, id: str = "", /, **fields: Any) -> Write:
    return Write(kind=kind, id=id, fields=fields)


GIT_PATH = ApplicationGitPath(repo=ApplicationGitRepository(id="demo"), path="new")
NEW_APPLICATION = {"name": "new", "piped_id": "home", "kind": ApplicationKind.TERRAFORM, "git_path": GIT_PATH}
POLICY = ProjectRBACPolicy(
    resources=[ProjectRBACResource(type=ProjectRBACResource.APPLICATION)], actions=[ProjectRBACPolicy.GET]
)

RECEIVER = ProjectReceiver(name="ops", webhook=WebhookReceiver(url="https://hooks.example.com/a"))
CHANGED_RECEIVER = ProjectReceiver(name="ops", webhook=WebhookReceiver(format="cloudevents"))

#: Every call that changes something, in an order in which each of them succeeds.
WRITES = {
    "PipedService/ReportPipedMeta": write(
        "piped", "home", version="v1", package="pipecd", repositories=[REPOSITORY]
    ),
    "PipedService/ReportApplicationSyncState": write(
        "application",
        "app",
        application_id="app",
        state=ApplicationSyncState(status=ApplicationSyncStatus.SYNCED, timestamp=1),
    ),
    "PipedService/ReportApplicationDeployingStatus": write(
        "application", "app", application_id="app", deploying=True
    ),
    "PipedService/ReportApplicationMostRecentDeployment": write(
        "application",
        "app",
        application_id="app",
        status=DeploymentStatus.DEPLOYMENT_SUCCESS,
        deployment=ApplicationDeploymentReference(deployment_id="running", trigger=TRIGGER, started_at=1),
    ),
    "PipedService/UpdateApplicationConfigurations": write(
        "application",
        "app",
        applications=[
            ApplicationInfo(id="app", name="renamed", repo_id="demo", path="shop", piped_id="home")
        ],
    ),
    "PipedService/ReportUnregisteredApplicationConfigurations": write(
        "suggestions",
        "home",
        applications=[ApplicationInfo(id="", name="found", repo_id="demo", path="found", piped_id="home")],
    ),
    "AgentService/ReportUnregisteredApplications": write(
        "suggestions",
        "home",
        applications=[ApplicationInfo(id="", name="other", repo_id="demo", path="other", piped_id="home")],
        kinds=["DIRECTORY"],
    ),
    "PipedService/CreateDeployment": write("deployment", "created", deployment=deployment("created")),
    "PipedService/CreateDeploymentChain": write(
        "chain", first_deployment=deployment("first"), matchers=[{"name": "doomed"}]
    ),
    "PipedService/ReportDeploymentStatusChanged": write(
        "deployment",
        "running",
        deployment_id="running",
        status=DeploymentStatus.DEPLOYMENT_ROLLING_BACK,
        status_reason="failed",
    ),
    "PipedService/SaveDeploymentMetadata": write(
        "deployment", "running", deployment_id="running", metadata={"a": "1"}
    ),
    "PipedService/SaveDeploymentSharedMetadata": write(
        "deployment", "running", deployment_id="running", metadata={"a": "1"}
    ),
    "PipedService/SaveDeploymentPluginMetadata": write(
        "deployment", "running", deployment_id="running", plugin_name="p", metadata={"a": "1"}
    ),
    "PipedService/SaveStageMetadata": write(
        "deployment", "running", deployment_id="running", stage_id="stage", metadata={"a": "1"}
    ),
    "WebService/ApproveStage": write("command", deployment_id="running", stage_id="stage"),
    "ConsoleService/RejectStage": write("command", deployment_id="running", stage_id="stage"),
    "ProgramService/ApproveStage": write("command", deployment_id="running", stage_id="stage"),
    "ProgramService/RejectStage": write("command", deployment_id="running", stage_id="stage"),
    "WebService/SkipStage": write("command", deployment_id="running", stage_id="analysis"),
    "WebService/CancelDeployment": write("command", deployment_id="running"),
    "PipedService/ReportStageStatusChanged": write(
        "deployment",
        "running",
        deployment_id="running",
        stage_id="stage",
        status=StageStatus.STAGE_SUCCESS,
        completed_at=1,
    ),
    "PipedService/ReportDeploymentCompleted": write(
        "deployment",
        "running",
        deployment_id="running",
        status=DeploymentStatus.DEPLOYMENT_FAILURE,
        completed_at=1,
    ),
    "PipedService/ReportDeploymentPlanned": write(
        "deployment",
        "pending",
        deployment_id="pending",
        stages=[PipelineStage(id="s", name="WAIT", created_at=1, updated_at=1)],
    ),
    "PipedService/ReportCommandHandled": write(
        "command", "command", command_id="command", status=CommandStatus.COMMAND_SUCCEEDED, handled_at=1
    ),
    "PipedService/ReportEventStatuses": write(
        "event",
        "event",
        events=[{"id": "event", "status": EventStatus.EVENT_SUCCESS, "status_description": "done"}],
    ),
    "AgentService/ReportEventWatchers": write(
        "event_watchers", repo_id="demo", watchers=[{"id": "a#0", "event_key": "k"}]
    ),
    "AgentService/ReportEventResults": write(
        "event",
        "event",
        results=[{"event_id": "event", "result": {"repo_id": "demo", "watcher": "a#0", "status": 1}}],
    ),
    "PipedService/PutLatestAnalysisResult": write(
        "analysis_result", "app", application_id="app", analysis_result=AnalysisResult(start_time=1)
    ),
    "PipedService/PutApplicationSharedObject": write(
        "shared_object",
        "app/plugin/key",
        application_id="app",
        plugin_name="plugin",
        key="key",
        object=b"content",
    ),
    "APIService/AddApplication": write("application", **NEW_APPLICATION),
    "ProgramService/AddApplication": write("application", application=NEW_APPLICATION, kind="DIRECTORY"),
    "ProgramService/RollBackTo": write("command", deployment_id="deployed"),
    "ProgramService/Unpin": write("application", "app", application_id="app"),
    "ConsoleService/RollBackTo": write("command", deployment_id="deployed"),
    "AgentService/ReportHeldCommits": write(
        "application", "app", application_id="app", pinned_deployment_id="deployed", commits=[TRIGGER.commit]
    ),
    "ConsoleService/Unpin": write("application", "app", application_id="app"),
    "APIService/SyncApplication": write("command", application_id="app"),
    "APIService/UpdateApplication": write(
        "application",
        "app",
        application_id="app",
        piped_id="home",
        git_path=GIT_PATH,
        platform_provider="other",
    ),
    "APIService/RenameApplicationConfigFile": write(
        "application", "app", application_ids=["app"], new_filename="new.yaml"
    ),
    "APIService/UpdateApplicationDeployTargets": write(
        "application", "app", application_id="app", deploy_targets_by_plugin={"plugin": DeployTargets()}
    ),
    "APIService/DisableApplication": write("application", "doomed", application_id="doomed"),
    "APIService/EnableApplication": write("application", "doomed", application_id="doomed"),
    "APIService/DeleteApplication": write("application", "doomed", application_id="doomed"),
    "APIService/RegisterPiped": write("piped", name="new"),
    "APIService/UpdatePiped": write("piped", "spare", piped_id="spare", name="spare", desc="changed"),
    "APIService/DisablePiped": write("piped", "spare", piped_id="spare"),
    "APIService/EnablePiped": write("piped", "spare", piped_id="spare"),
    "APIService/RegisterEvent": write(
        "event", name="image", data="v2", commit_hash="abc", commit_url="https://x"
    ),
    "APIService/RequestPlanPreview": write(
        "command", repo_remote_url=REPOSITORY.remote, head_branch="b", head_commit="abc", base_branch="main"
    ),
    "WebService/RegisterPiped": write("piped", name="another"),
    "WebService/UpdatePiped": write("piped", "spare", piped_id="spare", name="spare", desc="again"),
    "WebService/RecreatePipedKey": write("piped", "home", id="home"),
    "WebService/DeleteOldPipedKeys": write("piped", "spare", piped_id="spare"),
    "WebService/DisablePiped": write("piped", "spare", piped_id="spare"),
    "WebService/EnablePiped": write("piped", "spare", piped_id="spare"),
    "WebService/UpdatePipedDesiredVersion": write("piped", "spare", piped_ids=["spare"], version="v1.2.3"),
    "WebService/RestartPiped": write("command", piped_id="home"),
    "WebService/AddApplication": write("application", **NEW_APPLICATION),
    "WebService/UpdateApplication": write(
        "application",
        "app",
        application_id="app",
        name="shop",
        piped_id="home",
        kind=ApplicationKind.TERRAFORM,
    ),
    "WebService/SyncApplication": write("command", application_id="app"),
    "WebService/DisableApplication": write("application", "doomed-too", application_id="doomed-too"),
    "WebService/EnableApplication": write("application", "doomed-too", application_id="doomed-too"),
    "WebService/DeleteApplication": write("application", "doomed-too", application_id="doomed-too"),
    "WebService/UpdateProjectStaticAdmin": write("project", TEAM, username="admin", password="new-password"),
    "WebService/DisableStaticAdmin": write("project", TEAM),
    "WebService/EnableStaticAdmin": write("project", TEAM),
    "WebService/UpdateProjectSSOConfig": write(
        "project",
        TEAM,
        sso=ProjectSSOConfig(
            provider=ProjectSSOConfig.GITHUB,
            github=ProjectSSOConfig.GitHub(client_id="client", client_secret="of-github"),
        ),
    ),
    "ConsoleService/RemoveSSO": write("project", TEAM),
    "ConsoleService/UpdateProject": write("project", TEAM, description="changed"),
    "ConsoleService/AddProjectReceiver": write("project", TEAM, receiver=RECEIVER),
    "ConsoleService/UpdateProjectReceiver": write("project", TEAM, receiver=CHANGED_RECEIVER),
    "ConsoleService/DeleteProjectReceiver": write("project", TEAM, name=RECEIVER.name),
    "WebService/UpdateProjectRBACConfig": write(
        "project", TEAM, rbac=ProjectRBACConfig(admin="a", editor="e", viewer="v")
    ),
    "WebService/AddProjectRBACRole": write("project", TEAM, name="Reader", policies=[POLICY]),
    "WebService/UpdateProjectRBACRole": write("project", TEAM, name="Reader", policies=[POLICY, POLICY]),
    "WebService/AddProjectUserGroup": write("project", TEAM, sso_group="readers", role="Reader"),
    "WebService/DeleteProjectUserGroup": write("project", TEAM, sso_group="readers"),
    "WebService/DeleteProjectRBACRole": write("project", TEAM, name="Reader"),
    "ProgramService/UpdateProject": write("project", TEAM, description="by a program"),
    "ProgramService/UpdateProjectStaticAdmin": write(
        "project", TEAM, username="admin", password="newer-password"
    ),
    "ProgramService/DisableStaticAdmin": write("project", TEAM),
    "ProgramService/EnableStaticAdmin": write("project", TEAM),
    "ProgramService/UpdateProjectSSOConfig": write(
        "project",
        TEAM,
        sso=ProjectSSOConfig(
            provider=ProjectSSOConfig.GITHUB,
            github=ProjectSSOConfig.GitHub(client_id="another", client_secret="of-github"),
        ),
    ),
    "ProgramService/RemoveSSO": write("project", TEAM),
    "ProgramService/AddProjectRBACRole": write("project", TEAM, name="Auditor", policies=[POLICY]),
    "ProgramService/UpdateProjectRBACRole": write("project", TEAM, name="Auditor", policies=[POLICY, POLICY]),
    "ProgramService/AddProjectUserGroup": write("project", TEAM, sso_group="auditors", role="Auditor"),
    "ProgramService/DeleteProjectUserGroup": write("project", TEAM, sso_group="auditors"),
    "ProgramService/DeleteProjectRBACRole": write("project", TEAM, name="Auditor"),
    "ProgramService/GenerateAPIKey": write("api_key", name="newest", role=APIKey.READ_ONLY),
    "ProgramService/RecreatePipedKey": write("piped", "spare", id="spare"),
    "ProgramService/DeleteOldPipedKeys": write("piped", "spare", piped_id="spare"),
    "ProgramService/UpdatePipedDesiredVersion": write(
        "piped", "spare", piped_ids=["spare"], version="v1.2.4"
    ),
    "ProgramService/RestartPiped": write("command", piped_id="home"),
    "ProgramService/DisableAPIKey": write("api_key", "older-key", id="older-key"),
    "ConsoleService/EndOwnSessions": write("session", "ann-0", ids=["ann-0"]),
    "ConsoleService/EndSessions": write("session", "ann-1", ids=["ann-1"]),
    "ProgramService/EndSessions": write("session", "ann-2", ids=["ann-2"]),
    "WebService/GenerateAPIKey": write("api_key", name="new", role=APIKey.READ_ONLY),
    "WebService/DisableAPIKey": write("api_key", "old-key", id="old-key"),
}

#: Calls that store something that is not audited; see docs/decisions/0014-audit-log-with-every-write.md.
NOT_AUDITED: Mapping[str, dict[str, Any]] = {
    "PipedService/ReportStat": {"piped_stats": b"up 1\n"},
    "AgentService/Beat": {"instance": "process"},
    "AgentService/AnswerResourceRequest": {"id": "unknown"},
    "AgentService/ReportReceivers": {"receivers": [ReceiverStatus(name="chat")]},
    "PipedService/ReportStageLogs": {
        "deployment_id": "pending",
        "stage_id": "analysis",
        "blocks": [LogBlock(index=1, log="line", created_at=1)],
    },
    "PipedService/ReportStageLogsFromLastCheckpoint": {
        "deployment_id": "pending",
        "stage_id": "analysis",
        "blocks": [LogBlock(index=1, log="line", created_at=1)],
    },
    "PipedService/ReportApplicationLiveState": {
        "snapshot": ApplicationLiveStateSnapshot(
            application_id="app",
            piped_id="home",
            project_id=TEAM,
            version=ApplicationLiveStateVersion(timestamp=1),
        )
    },
    "PipedService/ReportApplicationLiveStateEvents": {},
}

#: Calls that are audited, and that need an agent: see tests/e2e/test_notifications.py.
NEED_AN_AGENT = {"ConsoleService/TestReceiver", "ProgramService/TestReceiver"}

#: Calls that are audited, and that need a server to send to: see test_project_receivers.py.
NEED_A_SERVER = {"ConsoleService/TestProjectReceiver", "ProgramService/TestProjectReceiver"}
