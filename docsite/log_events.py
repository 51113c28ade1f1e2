"""Reference page of the log events: names, levels and fields from the code, meanings from here.

An event is a call `log.<level>("name", field=…)`. Its name is an identifier that does not change, so that
alerts and searches can refer to it.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pipecd
from docsite.markdown import code, page, table

LEVELS = ("debug", "info", "warning", "error", "exception", "critical")
#: Names under which modules have their logger, and the method that was chosen before.
_LOGGERS, _CHOSEN = {"log", "logger"}, "level"
_ROOT = Path(pipecd.__file__).parent
#: Where an event is logged, by the beginning of the module's path.
_PROGRAMS = {
    "piped/": "agent",
    "platforms/": "agent",
    "stages/": "agent",
    "controlplane/": "control plane",
    "launcher/": "launcher",
    "pipectl/": "pipectl",
    "quickstart/": "quickstart",
}


@dataclass
class Event:
    name: str
    levels: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    programs: set[str] = field(default_factory=set)


def pages() -> Mapping[str, str]:
    """Page text by path below docs/reference."""
    rows = (
        (
            code(event.name),
            ", ".join(sorted(event.levels, key=LEVELS.index)),
            ", ".join(sorted(event.programs)),
            ", ".join(code(name) for name in sorted(event.fields)),
            MEANINGS.get(event.name, ""),
        )
        for event in sorted(events().values(), key=lambda event: event.name)
    )
    return {
        "log-events.md": page(
            "Log events",
            "The programs log events to stderr: as JSON objects with `--log-encoding=json`, with the keys"
            " `event`, `level` and `timestamp`, and the fields below. Names of events and fields do not"
            " change without a note in the changelog. `exception` is the level `error` with a traceback."
            " Secrets are masked.",
            table(("Event", "Level", "Program", "Fields", "Meaning"), rows),
        )
    }


def events() -> Mapping[str, Event]:
    """The events in the code, by name."""
    found: dict[str, Event] = {}
    for path in sorted(_ROOT.rglob("*.py")):
        module = path.relative_to(_ROOT).as_posix()
        if module.startswith("schema/"):
            continue
        text = path.read_text()
        # Parsing all other modules would take most of the time.
        tree = ast.parse(text if any(f"{logger}." in text for logger in _LOGGERS) else "")
        for level, call in _calls(tree):
            for name in _names(call, module):
                event = found.setdefault(name, Event(name))
                event.levels.update(level)
                event.fields.update(keyword.arg or "…" for keyword in call.keywords)
                event.programs.add(_program(module))
                event.fields.discard("exc_info")
    return found


def _calls(tree: ast.AST) -> Iterator[tuple[tuple[str, ...], ast.Call]]:
    """Level and call. A call of `level(…)` has one of the levels that its function chooses from."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.Call):
            continue
        match function.func:
            case ast.Attribute(value=ast.Name(id=logger), attr=level) if (
                logger in _LOGGERS and level in LEVELS
            ):
                yield (level,), function
            case ast.Name(id=name) if name == _CHOSEN:
                yield _chosen_levels(tree), function


def _chosen_levels(tree: ast.AST) -> tuple[str, ...]:
    return tuple(
        node.attr
        for assignment in ast.walk(tree)
        if isinstance(assignment, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == _CHOSEN for target in assignment.targets)
        for node in ast.walk(assignment.value)
        if isinstance(node, ast.Attribute) and node.attr in LEVELS
    )


def _names(call: ast.Call, module: str) -> Iterator[str]:
    match call.args:
        case [ast.Constant(value=str(name))]:
            yield name
        case [ast.IfExp(body=ast.Constant(value=str(first)), orelse=ast.Constant(value=str(second)))]:
            yield from (first, second)
        case _:
            raise ValueError(f"{module}:{call.lineno}: the name of a log event must be a literal")


def _program(module: str) -> str:
    return next((name for prefix, name in _PROGRAMS.items() if module.startswith(prefix)), "all")


MEANINGS: Mapping[str, str] = {
    "admin_request_dropped": "A request to the admin port was malformed or too slow.",
    "agent_failed": "The agent ended unexpectedly and is started again.",
    "agent_lease": "An agent process received the lease of its piped, or waits for it.",
    "agent_metrics_incomplete": "Agents report more series than are published; some are missing.",
    "agent_metrics_invalid": "The metrics that an agent reported are left out.",
    "agent_not_responding": "An agent is connected but sends no heartbeats.",
    "agent_responding": "An agent sends heartbeats again.",
    "agent_restart_requested": "A user requested a restart of the agent.",
    "agent_stable": "The agent has run long enough for its version and configuration to count as good.",
    "agent_started": "The agent is connected and has started its loops.",
    "agent_stopped": "The agent has shut down gracefully.",
    "agent_stream_replaced": "An agent process opened another stream, and the earlier one was ended.",
    "answer_not_forwarded": "The answer of an agent could not be passed to the replica that waits for it.",
    "api_version_not_discovered": "A cluster did not list the kinds of an API version.",
    "capabilities_of_absent_cluster": "Helm renders without the capabilities of an unreachable cluster.",
    "change_feed_listener_failed": "Notices of other replicas are not received; changes are polled.",
    "change_feed_read_failed": "Changes could not be read from the database; the next attempt follows.",
    "command_not_found": "The control plane no longer has a command that was handled.",
    "command_rejected": "A command was answered as failed, with the reason.",
    "commits_held": "New commits are not deployed because the application is pinned.",
    "config_source_unavailable": "The launcher cannot read the agent's configuration and tries again.",
    "connections_closed": "HTTP connections were closed because of a limit.",
    "console_unavailable": "The quickstart's console does not answer yet.",
    "control_plane_ready": "The control plane serves its ports.",
    "control_plane_stopping": "The control plane shuts down.",
    "control_plane_unreachable": "The agent cannot connect to the control plane and tries again.",
    "created_objects_not_listed": "Objects that a cluster created for an application could not be listed.",
    "database_notifications_unavailable": "PostgreSQL sends no notifications; changes are polled.",
    "database_schema_is_newer": "A newer version has migrated the database. The server works with it.",
    "database_unavailable": "The database does not answer; calls fail with UNAVAILABLE.",
    "deployment_already_exists": "A deployment was created before, by this agent or an earlier process.",
    "deployment_not_accessible": "A deployment cannot be read or changed; the agent leaves it.",
    "deployment_not_ended": "A failed deployment could not be reported as ended.",
    "deployment_paused": "A deployment waits because of an error and is continued later.",
    "deployment_triggered": "A deployment was created.",
    "desired_state_not_stored": "A desired state is too large for the cache.",
    "desired_version_unavailable": "The version that the control plane asks for cannot be installed.",
    "discovery_skipped_repository": "A repository could not be searched for application files.",
    "downgrade_refused": "The control plane asks for an older version than is allowed.",
    "drift_not_demonstrated": "The quickstart could not show drift.",
    "event_failed": "An event could not be written to Git.",
    "event_loop_blocked": "The event loop is blocked; `frames` is where.",
    "event_loop_unblocked": "The event loop runs again after it was blocked.",
    "event_not_settled": "The status of an event could not be derived from its results yet.",
    "event_push_repeated": "A push of events was rejected and is made again on the new head.",
    "event_watcher_file_invalid": "A file of event watchers is invalid and ignored.",
    "event_watcher_files_omitted": "A repository has more event watcher files than are read.",
    "events_written": "Events were written to Git as a commit.",
    "flag_without_effect": "A flag of PipeCD is accepted but has no effect.",
    "further_yaml_documents_ignored": "Only the first document of a YAML file is read.",
    "group_check_is_slow": "A call did not wait longer for a provider that was asked for its user's groups.",
    "groups_changed": "The provider says that a signed-in user is in other groups that have a role.",
    "groups_not_confirmed": "A provider could not be asked for a user's groups; it is asked again later.",
    "installing_version": "The launcher installs a version of the agent.",
    "job_failed": "A job ended with an error and runs again later.",
    "job_internal_error": "A job ended with an internal error.",
    "keeping_current_version": "The launcher keeps the running agent because of an error.",
    "key_without_effect": "A key of a configuration file is accepted but has no effect.",
    "kind_not_listed": "Objects of a kind could not be listed.",
    "kinds_not_discovered": "A cluster's kinds could not be read; the next attempt follows.",
    "kubeconfig_not_reloaded": "A changed kubeconfig could not be read; the earlier one is used.",
    "kubeconfig_reloaded": "A changed kubeconfig was read.",
    "launcher_started": "The launcher runs.",
    "lease_changed": "The agent received, lost, or waits for the lease of its piped.",
    "log_chunk_missing": "A part of a stage log is not in the object store.",
    "log_chunk_not_deleted": "A part of a stage log could not be deleted.",
    "loop_failed": "A loop of the agent failed and is repeated.",
    "loop_resumed": "A loop of the agent succeeds again.",
    "mentions_ignored": "Users or groups to mention are not valid and are left out.",
    "metrics_not_read": "Metrics that come from the database are missing or old.",
    "next_target": "The launcher switches to another version or configuration.",
    "notification": "A notification event, as receivers get it.",
    "notification_lost": "A notification was dropped because too many waited.",
    "notification_not_delivered": "A receiver did not accept a message.",
    "notification_not_stored": "A notification could not be stored, and is lost.",
    "notifications_damaged": "The file of waiting messages was damaged and is replaced by an empty one.",
    "notifications_not_flushed": "Notifications were not delivered before the shutdown.",
    "notifications_not_sent": "The messages of a receiver of a project could not be sent.",
    "object_stored_locally": "The control plane stores no objects of stages; the agent's disk does.",
    "object_store_unusable": "At its start, the control plane could not read objects from the object store.",
    "obsolete_pull_requests_kept": "Whether pull requests are obsolete is not known; checked again later.",
    "old_version_removed": "The launcher removed a version that is no longer used.",
    "passwd_entry_not_added": "The user has no entry in the password file, which SSH needs.",
    "plan_preview_completed": "A plan preview was answered.",
    "plan_preview_result_rejected": "The control plane refused the result of a plan preview.",
    "plan_preview_started": "A plan preview begins.",
    "planning_delayed": "A deployment could not be planned yet.",
    "platform_memory_not_saved": "What a platform remembers between starts could not be stored.",
    "platform_not_loaded": "A platform's package is broken; its applications fail.",
    "platform_unavailable": "The platform of a provider is not installed.",
    "platforms": "The platforms of this agent.",
    "presence_not_published": "Users are not notified that an agent came or went.",
    "provider_limited": "A platform provider lacks permissions or programs.",
    "provider_unavailable": "The provider of single sign-on does not answer.",
    "pull_request_closed": "A pull request was closed: the branch has its values already.",
    "pull_request_ready": "A pull request of the event watcher was opened or updated.",
    "refusal_not_recorded": "A refused call is not in the audit log, because the database does not answer.",
    "replica_lease_not_renewed": "A replica could not renew its lease; others may consider it gone.",
    "replica_message_malformed": "A message of another replica is not valid and is ignored.",
    "replica_message_not_read": "A message of another replica could not be read.",
    "replica_message_not_sent": "A message to another replica could not be sent.",
    "replicas_not_notified": "Other replicas were not notified of a write; they find it by polling.",
    "report_conflict": "A report conflicts with the stored deployment, which is read again.",
    "report_rejected": "The control plane refused a report; the deployment ends.",
    "report_waiting_for_control_plane": "A report waits for the control plane.",
    "resource_request_dropped": "There are too many open requests for resources or logs.",
    "resource_request_failed": "A request for a resource or its log ended with an internal error.",
    "restarting": "The agent ends because a user requested a restart.",
    "rpc": "A call was answered. Level `info` if it was refused or failed.",
    "rpc_configuration_error": "A call failed because of the control plane's configuration.",
    "rpc_internal_error": "A call failed with an internal error.",
    "session_cookie_needs_https": "The console's address is plain HTTP: browsers drop the session's cookie.",
    "session_ended_by_provider": "The provider has ended a sign-in, or no group of the user has a role.",
    "session_use_not_stored": "The last use of a session could not be stored.",
    "shutting_down": "The program received a signal and ends.",
    "sign_in_failed": "A sign-in was refused.",
    "sign_in_not_started": "A sign-in to the provider could not begin.",
    "sign_in_unavailable": "A sign-in failed because the database or the provider does not answer.",
    "signed_in": "A user signed in.",
    "signed_out": "A user signed out.",
    "stage_log_not_stored": "The log of a stage could not be stored.",
    "stage_log_not_stored_yet": "A stage ended before its log was stored.",
    "stage_log_overflowing": "A stage writes faster than its log can be stored.",
    "stage_log_rejected": "The control plane refused lines of a stage log.",
    "stage_logs_delayed": "Stage logs wait for the control plane.",
    "stage_logs_not_flushed": "Lines of stage logs were not sent before the shutdown.",
    "starting_agent": "The launcher starts the agent.",
    "suggestions_omitted": "A repository has more unregistered applications than are reported.",
    "traces_exported": "Traces are exported to this address.",
    "traces_not_exported": "Spans could not be sent and are dropped. Logged at most every five minutes.",
    "traces_unavailable": "The environment names a collector, but the extra `otel` is not installed.",
    "trigger_delayed": "An application could not be checked for a trigger yet.",
    "trigger_failed": "A deployment could not be triggered.",
    "unhandled_error": "An internal error. Report it with the traceback.",
    "unregistered_application_invalid": "A file of an unregistered application is invalid.",
    "unsupported_record_ignored": "A record of the control plane is of an unknown kind.",
    "value_rejected_by_database": "A request contains a value that PostgreSQL cannot store.",
    "version_unavailable": "A version of the agent cannot be installed.",
    "watch_interrupted": "A watch of a cluster was interrupted and continues later.",
    "watch_stream_disconnected": "The stream of change notifications ended; the agent connects again.",
    "watch_stream_unsupported": "The control plane has no stream of change notifications; the agent polls.",
    "webhook_invalid": "A webhook has a body that cannot be read.",
    "webhook_not_delivered": "The quickstart's Git server could not announce a push.",
    "webhook_received": "A webhook was accepted, and agents are notified.",
    "webhook_rejected": "A webhook has a wrong signature.",
    "workers_stopped": "The agent stops its deployments because it lost the lease.",
}
