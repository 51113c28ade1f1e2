"""What a plan preview says, from the agents' answers: as data for PipeCD's GitHub action, as text for people.

Called by `pipectl plan-preview`. The names of the members and their order are the action's.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pipecd import proto_json
from pipecd.schema.model.kind_pb2 import ApplicationKind
from pipecd.schema.model.plan_preview_pb2 import ApplicationPlanPreviewResult, PlanPreviewCommandResult
from pipecd.schema.model.strategy_pb2 import SyncStrategy

Summary = Mapping[str, Sequence[Mapping[str, Any]]]


def summarize(results: Iterable[PlanPreviewCommandResult], keys: Sequence[str]) -> Summary:
    """Sorted by agent, by the labels that `keys` name, by name."""
    changed, failed, pipeds = [], [], []
    for answer in sorted(results, key=lambda answer: answer.piped_id):
        piped = {"PipedID": answer.piped_id, "PipedName": answer.piped_name, "PipedURL": answer.piped_url}
        if answer.error:
            pipeds.append({**piped, "Reason": answer.error})
            continue
        for one in sorted(answer.results, key=lambda one: _order(one, keys)):
            plans = [proto_json.to_object(plan) for plan in one.plugin_plan_results] or None
            if one.error:
                details = {"PlanDetails": _text(one.plan_details), "PluginPlanResults": plans}
                failed.append({**_application(one), "Reason": one.error, **details, **piped})
            else:
                changed.append({**_application(one), **_plan(one), "PluginPlanResults": plans, **piped})
    return {"Applications": changed, "FailureApplications": failed, "FailurePipeds": pipeds}


def lines(summary: Summary) -> Iterator[str]:
    """For people."""
    changed = [one for one in summary["Applications"] if not one["NoChange"]]
    if not any(summary.values()):
        yield "There are no applications that this pull request would change."
    if changed:
        yield f"{len(changed)} application(s) would change:"
    for number, one in enumerate(changed, start=1):
        yield ""
        yield f"{number}. {_title(one)}"
        yield f"  sync strategy: {one['SyncStrategy']}"
        yield from _shown_plan(one)
    unchanged = [one["ApplicationName"] for one in summary["Applications"] if one["NoChange"]]
    if unchanged:
        yield ""
        yield f"{len(unchanged)} application(s) would not change: {', '.join(unchanged)}"
    for one in summary["FailureApplications"]:
        yield ""
        yield f"FAILED {_title(one)}"
        yield f"  reason: {one['Reason']}"
        yield from _details(one["PlanDetails"])
    for one in summary["FailurePipeds"]:
        yield ""
        yield f"FAILED piped: {one['PipedName'] or one['PipedID']}: {one['Reason']}"


def _order(one: ApplicationPlanPreviewResult, keys: Sequence[str]) -> tuple[Sequence[str], str]:
    return [one.labels.get(key, "") for key in keys], one.application_name


def _application(one: ApplicationPlanPreviewResult) -> dict[str, Any]:
    planned = dict.fromkeys(plan.plugin_name for plan in one.plugin_plan_results)
    return {
        "ApplicationID": one.application_id,
        "ApplicationName": one.application_name,
        "ApplicationURL": one.application_url,
        "ApplicationKind": ApplicationKind.Name(one.application_kind),
        "ApplicationDirectory": one.application_directory,
        "Env": one.labels.get("env", ""),
        "PlannedPluginNames": ", ".join(planned),
        "AllPluginNames": ", ".join(one.plugin_names),
    }


def _plan(one: ApplicationPlanPreviewResult) -> dict[str, Any]:
    return {
        "SyncStrategy": SyncStrategy.Name(one.sync_strategy),
        "PlanSummary": _text(one.plan_summary),
        "PlanDetails": _text(one.plan_details),
        "NoChange": one.no_change,
    }


def _text(content: bytes) -> str:
    return content.decode(errors="replace")


def _decoded(plan: Mapping[str, Any], member: str) -> str:
    return _text(base64.standard_b64decode(plan.get(member, "")))


def _title(one: Mapping[str, Any]) -> str:
    env = f", env: {one['Env']}" if one["Env"] else ""
    by = f"plugins: {one['AllPluginNames']}" if one["AllPluginNames"] else f"kind: {one['ApplicationKind']}"
    return f"app: {one['ApplicationName']}{env}, {by}"


def _shown_plan(one: Mapping[str, Any]) -> Iterator[str]:
    """Agents of version 1 answer with a plan a plugin and target, those of version 0 with one plan."""
    if one["PlanSummary"]:
        yield f"  summary: {one['PlanSummary']}"
    yield from _details(one["PlanDetails"])
    for plan in one["PluginPlanResults"] or ():
        target = plan.get("deploy_target", "")
        yield f"  {plan['plugin_name']} ({target}): {_decoded(plan, 'plan_summary')}"
        yield from _details(_decoded(plan, "plan_details"))


def _details(text: str) -> Iterator[str]:
    if text:
        yield "  details:"
        yield ""
        yield from (f"    {line}" for line in text.splitlines())
