"""`pipectl plan-preview`: what a pull request would change, for people and for PipeCD's GitHub action."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from pipecd import gojson
from pipecd.client import Client
from pipecd.config.flags import Duration
from pipecd.errors import NotFound
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.waiting import wait_for
from pipecd.schema.api.plan_preview_pb2 import (
    GetPlanPreviewResultsRequest,
    GetPlanPreviewResultsResponse,
    RequestPlanPreviewRequest,
)
from pipecd.schema.model.kind_pb2 import ApplicationKind
from pipecd.schema.model.plan_preview_pb2 import ApplicationPlanPreviewResult, PlanPreviewCommandResult
from pipecd.schema.model.strategy_pb2 import SyncStrategy

#: How often the results are asked for (seconds).
INTERVAL = 2.0


@click.command("plan-preview")
@click.option("--repo-remote-url", required=True, help="As the agents' configuration writes it.")
@click.option("--head-branch", required=True)
@click.option("--head-commit", required=True)
@click.option("--base-branch", required=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=None, help="Write JSON here.")
@click.option("--timeout", type=Duration(), default="10m", show_default=True)
@click.option("--piped-handle-timeout", type=Duration(), default="5m", show_default=True)
@click.option("--sort-label-keys", multiple=True, help="Sort applications by these labels.")
@with_client
async def plan_preview(
    client: Client,
    *,
    repo_remote_url: str,
    head_branch: str,
    head_commit: str,
    base_branch: str,
    out: Path | None,
    timeout: float,
    piped_handle_timeout: float,
    sort_label_keys: tuple[str, ...],
) -> None:
    """Show what a pull request would change."""
    request = RequestPlanPreviewRequest(
        repo_remote_url=repo_remote_url,
        head_branch=head_branch,
        head_commit=head_commit,
        base_branch=base_branch,
        timeout=int(piped_handle_timeout),
    )
    commands = (await client.call(client.api.RequestPlanPreview, request)).commands
    results: Sequence[PlanPreviewCommandResult] = ()
    if commands:
        click.echo(f"Asked {len(commands)} agent(s), waiting for their answers", err=True)
        asked = GetPlanPreviewResultsRequest(
            commands=commands, command_handle_timeout=int(piped_handle_timeout)
        )
        results = (
            await wait_for(
                lambda: _answered(client, asked),
                interval=INTERVAL,
                timeout=timeout,
                what="the agents did not answer",
            )
        ).results
    keys = [key for text in sort_label_keys for key in text.split(",") if key]
    summary = _summary(results, keys)
    if out:
        out.write_text(json.dumps(summary, indent=2))
    _print(summary)


async def _answered(
    client: Client, asked: GetPlanPreviewResultsRequest
) -> GetPlanPreviewResultsResponse | None:
    try:
        return await client.call(client.api.GetPlanPreviewResults, asked)
    except NotFound:
        return None


def _summary(results: Iterable[PlanPreviewCommandResult], keys: Sequence[str]) -> dict[str, Any]:
    """The keys are those that PipeCD's GitHub action reads."""
    changed, failed, pipeds = [], [], []
    for answer in results:
        piped = {"PipedID": answer.piped_id, "PipedName": answer.piped_name, "PipedURL": answer.piped_url}
        if answer.error:
            pipeds.append({**piped, "Reason": answer.error})
            continue
        for one in sorted(answer.results, key=lambda one: [one.labels.get(key, "") for key in keys]):
            if one.error:
                failed.append({**_application(one), "Reason": one.error, **piped})
            else:
                changed.append({**_application(one), **_plan(one), **piped})
    return {"Applications": changed, "FailureApplications": failed, "FailurePipeds": pipeds}


def _application(one: ApplicationPlanPreviewResult) -> dict[str, Any]:
    return {
        "ApplicationID": one.application_id,
        "ApplicationName": one.application_name,
        "ApplicationURL": one.application_url,
        "Env": one.labels.get("env", ""),
        "ApplicationKind": ApplicationKind.Name(one.application_kind),
        "ApplicationDirectory": one.application_directory,
    }


def _plan(one: ApplicationPlanPreviewResult) -> dict[str, Any]:
    return {
        "SyncStrategy": SyncStrategy.Name(one.sync_strategy),
        "PlanSummary": one.plan_summary.decode(errors="replace"),
        "PlanDetails": one.plan_details.decode(errors="replace"),
        "NoChange": one.no_change,
        "PluginPlanResults": [gojson.to_object(result) for result in one.plugin_plan_results] or None,
    }


def _print(summary: Mapping[str, Any]) -> None:
    changed = [one for one in summary["Applications"] if not one["NoChange"]]
    if not any(summary.values()):
        click.echo("There are no applications that this pull request would change.")
        return
    if changed:
        click.echo("Here are plan-preview for each application:\n")
    for number, one in enumerate(changed, start=1):
        click.echo(
            f"{number}. app: {one['ApplicationName']}, env: {one['Env']}, kind: {one['ApplicationKind']}"
        )
        click.echo(f"  sync strategy: {one['SyncStrategy']}")
        click.echo(f"  summary: {one['PlanSummary']}")
        if one["PlanDetails"]:
            details = "\n    ".join(one["PlanDetails"].splitlines())
            click.echo(f"  details:\n\n    {details}\n")
    unchanged = len(summary["Applications"]) - len(changed)
    if unchanged:
        click.echo(f"{unchanged} application(s) would not change.")
    for one in summary["FailureApplications"]:
        click.echo(f"FAILED app: {one['ApplicationName']}: {one['Reason']}")
    for one in summary["FailurePipeds"]:
        click.echo(f"FAILED piped: {one['PipedName'] or one['PipedID']}: {one['Reason']}")
