"""Plan preview results: as data for PipeCD's GitHub action and as text for people.

Called by `pipectl plan-preview` with the agents' results. PipeCD's GitHub action defines the field names and
their order.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pipecd import proto_json
from pipecd.model.application import kind_of_plugin
from pipecd.schema.model.plan_preview_pb2 import ApplicationPlanPreviewResult, PlanPreviewCommandResult
from pipecd.schema.model.strategy_pb2 import SyncStrategy
from pipecd.wire import kind_name

Summary = Mapping[str, Sequence[Mapping[str, Any]]]


def summarize(results: Iterable[PlanPreviewCommandResult], keys: Sequence[str]) -> Summary:
    """Build the summary, sorted by agent, then by the values of the labels `keys`, then by name."""
    planned, failed, failed_pipeds = [], [], []
    for result in sorted(results, key=lambda result: result.piped_id):
        piped = {"PipedID": result.piped_id, "PipedName": result.piped_name, "PipedURL": result.piped_url}
        if result.error:
            failed_pipeds.append({**piped, "Reason": result.error})
            continue
        for application in sorted(result.results, key=lambda application: _sort_key(application, keys)):
            plans = [proto_json.to_object(plan) for plan in application.plugin_plan_results] or None
            if application.error:
                details = {"PlanDetails": _decode(application.plan_details), "PluginPlanResults": plans}
                failed.append(
                    {**_application_fields(application), "Reason": application.error, **details, **piped}
                )
            else:
                planned.append(
                    {
                        **_application_fields(application),
                        **_plan_fields(application),
                        "PluginPlanResults": plans,
                        **piped,
                    }
                )
    return {"Applications": planned, "FailureApplications": failed, "FailurePipeds": failed_pipeds}


def format_summary(summary: Summary) -> Iterator[str]:
    """Yield the lines of the text for people."""
    changed = [application for application in summary["Applications"] if not application["NoChange"]]
    if not any(summary.values()):
        yield "This pull request would change no applications."
    if changed:
        yield f"{len(changed)} application(s) would change:"
    for number, application in enumerate(changed, start=1):
        yield ""
        yield f"{number}. {_title(application)}"
        yield from _format_url(application)
        yield f"  sync strategy: {application['SyncStrategy']}"
        yield from _format_plan(application)
    unchanged = [
        application["ApplicationName"] for application in summary["Applications"] if application["NoChange"]
    ]
    if unchanged:
        yield ""
        yield f"{len(unchanged)} application(s) would not change: {', '.join(unchanged)}"
    for application in summary["FailureApplications"]:
        yield ""
        yield f"FAILED {_title(application)}"
        yield from _format_url(application)
        yield f"  reason: {application['Reason']}"
        yield from _format_details(application["PlanDetails"])
    for piped in summary["FailurePipeds"]:
        yield ""
        yield f"FAILED piped: {piped['PipedName'] or piped['PipedID']}: {piped['Reason']}"


def _sort_key(application: ApplicationPlanPreviewResult, keys: Sequence[str]) -> tuple[Sequence[str], str]:
    return [application.labels.get(key, "") for key in keys], application.application_name


def _application_fields(application: ApplicationPlanPreviewResult) -> dict[str, Any]:
    planned = dict.fromkeys(plan.plugin_name for plan in application.plugin_plan_results)
    return {
        "ApplicationID": application.application_id,
        "ApplicationName": application.application_name,
        "ApplicationURL": application.application_url,
        "ApplicationKind": _kind(application),
        "ApplicationDirectory": application.application_directory,
        "Env": application.labels.get("env", ""),
        "PlannedPluginNames": ", ".join(planned),
        "AllPluginNames": ", ".join(application.plugin_names),
    }


def _kind(application: ApplicationPlanPreviewResult) -> str:
    plugins = application.plugin_names
    return kind_of_plugin(plugins[0]) if len(plugins) == 1 else kind_name(application.application_kind)


def _plan_fields(application: ApplicationPlanPreviewResult) -> dict[str, Any]:
    return {
        "SyncStrategy": SyncStrategy.Name(application.sync_strategy),
        "PlanSummary": _decode(application.plan_summary),
        "PlanDetails": _decode(application.plan_details),
        "NoChange": application.no_change,
    }


def _decode(content: bytes) -> str:
    return content.decode(errors="replace")


def _decode_field(plan: Mapping[str, Any], field: str) -> str:
    return _decode(base64.standard_b64decode(plan.get(field, "")))


def _title(application: Mapping[str, Any]) -> str:
    env = f", env: {application['Env']}" if application["Env"] else ""
    platform = (
        f"plugins: {application['AllPluginNames']}"
        if application["AllPluginNames"]
        else f"kind: {application['ApplicationKind']}"
    )
    return f"app: {application['ApplicationName']}{env}, {platform}"


def _format_url(application: Mapping[str, Any]) -> Iterator[str]:
    if application["ApplicationURL"]:
        yield f"  console: {application['ApplicationURL']}"


def _format_plan(application: Mapping[str, Any]) -> Iterator[str]:
    """Format the plan. v1 agents send one plan per plugin and deploy target, v0 agents a single plan."""
    if application["PlanSummary"]:
        yield f"  summary: {application['PlanSummary']}"
    yield from _format_details(application["PlanDetails"])
    for plan in application["PluginPlanResults"] or ():
        target = plan.get("deploy_target", "")
        yield f"  {plan['plugin_name']} ({target}): {_decode_field(plan, 'plan_summary')}"
        yield from _format_details(_decode_field(plan, "plan_details"))


def _format_details(text: str) -> Iterator[str]:
    if text:
        yield "  details:"
        yield ""
        yield from (f"    {line}" for line in text.splitlines())
