"""Which credential each method needs, written down apart from the schema, for tests.

`tests.controlplane.test_rights` compares it with what the guard decides. A new method fails until it is here.
"""

from collections.abc import Mapping

#: What is needed → names of the methods, by service. `session` is any session of the project.
NEEDS: Mapping[str, Mapping[str, str]] = {
    "API key ADMIN": {
        "ProgramService": (
            "AddProjectRBACRole AddProjectUserGroup DeleteProjectRBACRole "
            "DeleteOldPipedKeys DeleteProjectUserGroup DisableAPIKey DisableStaticAdmin EnableStaticAdmin "
            "EndSessions GenerateAPIKey ListAPIKeys ListAudit ListSessions RecreatePipedKey RemoveSSO "
            "RestartPiped SeeProject UpdatePipedDesiredVersion UpdateProject UpdateProjectRBACRole "
            "UpdateProjectSSOConfig UpdateProjectStaticAdmin VerifyAudit VerifySSO"
        ),
    },
    "API key READ_ONLY": {
        "APIService": (
            "Encrypt GetApplication GetCommand GetDeployment GetPiped ListApplications "
            "ListDeployments ListStageLogs"
        ),
        "ProgramService": (
            "GetControlPlane GetDeploymentChain GetInsights GetStageLog ListDeploymentChains "
            "ListDeploymentTraces ListEvents ListPipeds ListProjectReceivers ListReceivers"
        ),
    },
    "API key READ_WRITE": {
        "APIService": (
            "AddApplication DeleteApplication DisableApplication DisablePiped EnableApplication "
            "EnablePiped GetPlanPreviewResults RegisterEvent RegisterPiped "
            "RenameApplicationConfigFile RequestPlanPreview SyncApplication UpdateApplication "
            "UpdateApplicationDeployTargets UpdatePiped"
        ),
        "ProgramService": (
            "AddApplication ApproveStage RejectStage RollBackTo TestProjectReceiver TestReceiver Unpin"
        ),
    },
    "API_KEY CREATE": {
        "WebService": "GenerateAPIKey",
    },
    "API_KEY LIST": {
        "WebService": "ListAPIKeys",
    },
    "API_KEY UPDATE": {
        "WebService": "DisableAPIKey",
    },
    "APPLICATION CREATE": {
        "WebService": "AddApplication",
    },
    "APPLICATION DELETE": {
        "WebService": "DeleteApplication",
    },
    "APPLICATION GET": {
        "ConsoleService": "SeeLiveState SeeResource",
        "WebService": "GetApplication GetApplicationLiveState",
    },
    "APPLICATION LIST": {
        "ConsoleService": "ListSuggestions PageApplications",
        "WebService": "ListApplications ListUnregisteredApplications",
    },
    "APPLICATION UPDATE": {
        "ConsoleService": "RollBackTo Unpin",
        "WebService": (
            "DisableApplication EnableApplication GenerateApplicationSealedSecret SyncApplication "
            "UpdateApplication"
        ),
    },
    "AUDIT_LOG LIST": {
        "ConsoleService": "ListAudit VerifyAudit",
    },
    "CONTAINER_LOG GET": {
        "ConsoleService": "FollowContainerLog",
    },
    "DEPLOYMENT GET": {
        "ConsoleService": "SeeStageLog",
        "WebService": "GetDeployment GetStageLog",
    },
    "DEPLOYMENT LIST": {
        "ConsoleService": "PageDeployments",
        "WebService": "ListDeploymentTraces ListDeployments",
    },
    "DEPLOYMENT UPDATE": {
        "ConsoleService": "RejectStage",
        "WebService": "ApproveStage CancelDeployment SkipStage",
    },
    "DEPLOYMENT_CHAIN GET": {
        "WebService": "GetDeploymentChain",
    },
    "DEPLOYMENT_CHAIN LIST": {
        "WebService": "ListDeploymentChains",
    },
    "EVENT LIST": {
        "WebService": "ListEvents",
    },
    "INSIGHT GET": {
        "ConsoleService": "GetInsights",
        "WebService": "GetInsightApplicationCount GetInsightData",
    },
    "PIPED CREATE": {
        "WebService": "RegisterPiped",
    },
    "PIPED GET": {
        "ConsoleService": "ListReceivers",
        "WebService": "GetPiped",
    },
    "PIPED LIST": {
        "ConsoleService": "SeePipeds",
        "WebService": "ListDeprecatedNotes ListPipeds ListReleasedVersions",
    },
    "PIPED UPDATE": {
        "ConsoleService": "TestReceiver",
        "WebService": (
            "DeleteOldPipedKeys DisablePiped EnablePiped RecreatePipedKey RestartPiped "
            "UpdatePiped UpdatePipedDesiredVersion"
        ),
    },
    "PROJECT GET": {
        "ConsoleService": "ListProjectReceivers SeeProject",
        "WebService": "GetProject",
    },
    "PROJECT UPDATE": {
        "ConsoleService": (
            "AddProjectReceiver DeleteProjectReceiver EndSessions ListSessions RemoveSSO "
            "TestProjectReceiver UpdateProject UpdateProjectReceiver VerifySSO"
        ),
        "WebService": (
            "AddProjectRBACRole AddProjectUserGroup DeleteProjectRBACRole DeleteProjectUserGroup "
            "DisableStaticAdmin EnableStaticAdmin UpdateProjectRBACConfig UpdateProjectRBACRole "
            "UpdateProjectSSOConfig UpdateProjectStaticAdmin"
        ),
    },
    "piped key": {
        "AgentService": (
            "AnswerResourceRequest Beat ReportEventResults ReportEventWatchers ReportHeldCommits "
            "ReportReceivers ReportUnregisteredApplications Watch"
        ),
        "PipedService": (
            "CreateDeployment CreateDeploymentChain GetApplicationMostRecentDeployment "
            "GetApplicationSharedObject GetDeployment GetDesiredVersion GetLatestAnalysisResult "
            "GetLatestEvent InChainDeploymentPlannable ListApplications ListEvents "
            "ListNotCompletedDeployments ListUnhandledCommands PutApplicationSharedObject "
            "PutLatestAnalysisResult ReportApplicationDeployingStatus ReportApplicationLiveState "
            "ReportApplicationLiveStateEvents ReportApplicationMostRecentDeployment "
            "ReportApplicationSyncState ReportCommandHandled ReportDeploymentCompleted "
            "ReportDeploymentPlanned ReportDeploymentStatusChanged ReportEventStatuses "
            "ReportPipedMeta ReportStageLogs ReportStageLogsFromLastCheckpoint "
            "ReportStageStatusChanged ReportStat ReportUnregisteredApplicationConfigurations "
            "SaveDeploymentMetadata SaveDeploymentPluginMetadata SaveDeploymentSharedMetadata "
            "SaveStageMetadata UpdateApplicationConfigurations"
        ),
    },
    "session": {
        "ConsoleService": "EndOwnSessions ListOwnSessions SeeEndpoint SeeRights Watch",
        "WebService": "GetCommand GetMe",
    },
}

_READ = ("GET", "LIST")
#: Role → the rights on kinds of records that it has.
ROLES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "Editor": {
        "APPLICATION": ("CREATE", "DELETE", "GET", "LIST", "UPDATE"),
        "DEPLOYMENT": ("CREATE", "DELETE", "GET", "LIST", "UPDATE"),
        "CONTAINER_LOG": ("GET",),
        "DEPLOYMENT_CHAIN": _READ,
        "PIPED": _READ,
        "PROJECT": ("GET",),
        "INSIGHT": ("GET",),
        "EVENT": ("LIST",),
    },
    "Viewer": {
        "APPLICATION": _READ,
        "DEPLOYMENT": _READ,
        "DEPLOYMENT_CHAIN": _READ,
        "PIPED": _READ,
        "PROJECT": ("GET",),
        "INSIGHT": ("GET",),
        "EVENT": ("LIST",),
    },
    # Custom roles.
    "deployer": {"DEPLOYMENT": ("UPDATE",)},
    "Deleted": {},
}


def needs_by_method() -> Mapping[str, str]:
    """`WebService/GetMe` → what it needs."""
    return {
        f"{service}/{name}": needs
        for needs, services in NEEDS.items()
        for service, names in services.items()
        for name in names.split()
    }
