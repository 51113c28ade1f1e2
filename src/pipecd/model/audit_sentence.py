"""Sentences of the audit log: what an entry says, for the console and `pipectl`.

`sentence` returns what follows the name of the actor, such as `disabled the API key ci`.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial

#: Kind of record → what people call it.
NOUNS: Mapping[str, str] = {
    "application": "application",
    "deployment": "deployment",
    "piped": "piped",
    "api_key": "API key",
    "project": "project",
    "configured_project": "project",
    "event": "event",
    "command": "command",
    "chain": "deployment chain",
    "trace": "trace",
    "suggestions": "unregistered applications of piped",
    "analysis_result": "analysis result of application",
    "shared_object": "object",
    "command_output": "command outputs",
    "session": "session",
    "audit_log": "audit log",
}
#: Action, without the service of an RPC → sentence. `{it}` is the record: its kind and name. An action that
#: changes records of several kinds, or in several ways, may have a sentence of its own for one: with the kind
#: or the operation after a space.
SENTENCES: Mapping[str, str] = {
    "sign-in": "signed in",
    "sign-in delete": "ended their least recently used session by signing in once more",
    "sign-out": "signed out",
    "check-groups": "read changed groups of a user from the provider",
    "check-groups delete": "ended a session that the provider did not confirm",
    "EndSessions": "ended a session of a user",
    "EndOwnSessions": "ended one of their sessions",
    "start": "changed {it} in the configuration file",
    "AddApplication": "added {it}",
    "UpdateApplication": "changed {it}",
    "EnableApplication": "enabled {it}",
    "DisableApplication": "disabled {it}",
    "DeleteApplication": "deleted {it}",
    "RenameApplicationConfigFile": "renamed the configuration file of {it}",
    "UpdateApplicationDeployTargets": "changed the deploy targets of {it}",
    "SyncApplication": "requested a sync of {it}",
    "CancelDeployment": "requested to cancel {it}",
    "ApproveStage": "approved a stage of {it}",
    "RejectStage": "rejected a stage of {it}",
    "SkipStage": "skipped a stage of {it}",
    "RollBackTo": "requested to roll {it} back to an earlier deployment",
    "RollBackTo application": "pinned {it} to the commit of an earlier deployment",
    "Unpin": "unpinned {it}",
    "ReportHeldCommits": "reported commits that a pin holds back from {it}",
    "RegisterPiped": "registered {it}",
    "UpdatePiped": "changed {it}",
    "EnablePiped": "enabled {it}",
    "DisablePiped": "disabled {it}",
    "RestartPiped": "requested a restart of {it}",
    "UpdatePipedDesiredVersion": "changed the version of {it}",
    "RecreatePipedKey": "added a key to {it}",
    "DeleteOldPipedKeys": "deleted old keys of {it}",
    "GenerateAPIKey": "created {it}",
    "DisableAPIKey": "disabled {it}",
    "use-key": "used {it}",
    "UpdateProjectStaticAdmin": "changed the user name or password of the static admin",
    "EnableStaticAdmin": "enabled the static admin",
    "DisableStaticAdmin": "disabled the static admin",
    "UpdateProjectSSOConfig": "changed the single sign-on of the project",
    "UpdateProjectRBACConfig": "changed the teams of the built-in roles",
    "TestReceiver": "sent a test message to a receiver of {it}",
    "AddProjectReceiver": "added a receiver of notifications",
    "UpdateProjectReceiver": "changed a receiver of notifications",
    "DeleteProjectReceiver": "deleted a receiver of notifications",
    "TestProjectReceiver": "sent a test message to a receiver of the project",
    "UpdateProject": "changed the description or the sign-in of users without a group",
    "RemoveSSO": "removed the single sign-on of the project",
    "add-project": "added {it}",
    "reset-password": "changed the password of the static admin",
    "AddProjectRBACRole": "added a role",
    "UpdateProjectRBACRole": "changed a role",
    "DeleteProjectRBACRole": "deleted a role",
    "AddProjectUserGroup": "gave a role to a user group",
    "DeleteProjectUserGroup": "deleted a user group",
    "RegisterEvent": "registered {it}",
    "RequestPlanPreview": "requested a plan preview",
    "CreateDeployment": "triggered {it}",
    "CreateDeploymentChain": "triggered {it}",
    "ReportPipedMeta": "reported its configuration",
    "ReportApplicationSyncState": "reported the sync state of {it}",
    "ReportApplicationDeployingStatus": "reported whether {it} is being deployed",
    "ReportApplicationMostRecentDeployment": "reported the latest deployment of {it}",
    "UpdateApplicationConfigurations": "read a changed configuration of {it}",
    "ReportUnregisteredApplicationConfigurations": "reported the {it}",
    "ReportUnregisteredApplications": "reported the {it}",
    "ReportDeploymentPlanned": "planned {it}",
    "ReportDeploymentStatusChanged": "reported the status of {it}",
    "ReportDeploymentCompleted": "completed {it}",
    "ReportStageStatusChanged": "reported the status of a stage of {it}",
    "SaveDeploymentMetadata": "stored metadata of {it}",
    "SaveDeploymentSharedMetadata": "stored metadata of {it}",
    "SaveDeploymentPluginMetadata": "stored metadata of {it}",
    "SaveStageMetadata": "stored metadata of a stage of {it}",
    "ReportCommandHandled": "handled {it}",
    "ReportEventResults": "handled {it}",
    "ReportEventWatchers": "reported its event watchers",
    "ReportEventStatuses": "handled {it}",
    "PutLatestAnalysisResult": "stored the {it}",
    "PutApplicationSharedObject": "stored {it}",
    "update-chains": "updated {it}",
    "cancel-in-chain": "requested to cancel {it}, because of its deployment chain",
    "expire-commands": "timed out {it}",
    "delete-command-outputs": "deleted old {it}",
    "delete-old-audit-rows": "deleted old rows of the audit log",
}
_Values = Mapping[str, str]


def _value(pattern: str, before: _Values, after: _Values) -> str:
    """What the paths like `pattern` contain before or after the change, but not on both sides."""
    sides = [
        {value for path, value in side.items() if re.fullmatch(pattern, path)} for side in (before, after)
    ]
    return ", ".join(sorted(sides[0] ^ sides[1]))


def _key(items: str, before: _Values, after: _Values) -> str:
    """The one item of the list `items` that was changed.

    Entries of earlier versions have its index, which says nothing when the list was changed since.
    """
    paths = (re.match(rf"{items}\[(?!\d+\])(.+?)\](?:\.|$)", path) for path in (*before, *after))
    keys = {path[1] for path in paths if path}
    return keys.pop() if len(keys) == 1 else ""


_ROLE = r"rbac_roles\[.*\]\.name"
_GROUP = r"user_groups\[.*\]\.sso_group|rbac\.(?:admin|editor|viewer)"
_RECEIVER = r"receivers\[.*\]\.name"
_TESTED = "test message to"
#: Action → sentence with names that are only in the values of the entry, and how to find each of them. If the
#: entry has them not, such as one whose values were cut, its sentence is that of `SENTENCES`.
_WITH_VALUES: Mapping[str, tuple[str, Mapping[str, Callable[[_Values, _Values], str]]]] = {
    "AddProjectRBACRole": ("added the role {role}", {"role": partial(_value, _ROLE)}),
    "UpdateProjectRBACRole": ("changed the role {role}", {"role": partial(_key, "rbac_roles")}),
    "DeleteProjectRBACRole": ("deleted the role {role}", {"role": partial(_value, _ROLE)}),
    "AddProjectUserGroup": (
        "gave the role {role} to the user group {group}",
        {"role": partial(_value, r"user_groups\[.*\]\.role"), "group": partial(_value, _GROUP)},
    ),
    "DeleteProjectUserGroup": ("deleted the user group {group}", {"group": partial(_value, _GROUP)}),
    "AddProjectReceiver": (
        "added the receiver of notifications {receiver}",
        {"receiver": partial(_value, _RECEIVER)},
    ),
    "UpdateProjectReceiver": (
        "changed the receiver of notifications {receiver}",
        {"receiver": partial(_key, "receivers")},
    ),
    "DeleteProjectReceiver": (
        "deleted the receiver of notifications {receiver}",
        {"receiver": partial(_value, _RECEIVER)},
    ),
    "TestProjectReceiver": (
        "sent a test message to the receiver {receiver} of the project",
        {"receiver": partial(_value, _TESTED)},
    ),
    "TestReceiver": (
        "sent a test message to the receiver {receiver} of {it}",
        {"receiver": partial(_value, _TESTED)},
    ),
    "EndSessions": ("ended a session of {user}", {"user": partial(_value, "username")}),
    "check-groups delete": (
        "ended a session of {user} that the provider did not confirm",
        {"user": partial(_value, "username")},
    ),
}
_VERBS: Mapping[str, str] = {"create": "created", "update": "changed", "delete": "deleted"}


def sentence(
    action: str,
    operation: str,
    record_kind: str,
    name: str,
    *,
    before: _Values,
    after: _Values,
    changed_kind: str = "",
) -> str:
    """What the entry says.

    `record_kind` and `name`, or id, are those of the record that the entry is about; `changed_kind` is the
    kind of the one that was changed, such as a command about an application. `before` and `after` are the
    values of the entry.
    """
    short = action.rpartition("/")[2]
    if operation == "refuse":
        what = "a sign-in" if short == "sign-in" else _words(short)
        reason = after.get("reason", "")
        return f"was refused {what}: {reason}" if reason else f"was refused {what}"
    noun = NOUNS.get(record_kind, record_kind.replace("_", " "))
    it = f"{noun} {name}".strip()
    for key in (f"{short} {changed_kind}", f"{short} {operation}", short):
        if key in SENTENCES:
            template, values = _WITH_VALUES.get(key, ("", {}))
            names = {each: find(before, after) for each, find in values.items()}
            return (template if names and all(names.values()) else SENTENCES[key]).format(it=it, **names)
    return f"{_VERBS.get(operation, operation)} {it} ({_words(short)})"


def _words(action: str) -> str:
    """`RestartPiped` → `restart piped`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", action).replace("-", " ").lower()
