"""`pipectl plan-preview`: what a pull request would change, for people and for PipeCD's GitHub action."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click

from pipecd.client import Client
from pipecd.config.flags import Duration
from pipecd.errors import ConfigError, NotFound
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.output import echo
from pipecd.pipectl.preview_summary import format_summary, summarize
from pipecd.pipectl.values import parse_list
from pipecd.pipectl.waiting import poll_until
from pipecd.schema.api.plan_preview_pb2 import GetPlanPreviewResultsRequest, RequestPlanPreviewRequest
from pipecd.schema.model.plan_preview_pb2 import PlanPreviewCommandResult

#: Interval between two requests for the results, in seconds.
POLL_INTERVAL = 2.0


@click.command("plan-preview")
@click.option("--repo-remote-url", required=True, help="Remote URL, as in the pipeds' configuration.")
@click.option("--head-branch", required=True, help="Branch of the pull request.")
@click.option("--head-commit", required=True, help="Hash of the branch's latest commit.")
@click.option("--base-branch", required=True, help="Branch to merge into.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Write the result to this file, as JSON.",
)
@click.option(
    "--timeout", type=Duration(), default="10m", show_default=True, help="Timeout of the whole command."
)
@click.option(
    "--piped-handle-timeout", type=Duration(), default="5m", show_default=True, help="Timeout of each piped."
)
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
    """Show what a pull request would change.

    Fails if the pipeds do not respond in time. Applications and pipeds whose preview failed are part of the
    result, marked FAILED.
    """
    if out:
        _write(out, "", "a")  # Report an unwritable file before the wait, not after it.
    request = RequestPlanPreviewRequest(
        repo_remote_url=repo_remote_url,
        head_branch=head_branch,
        head_commit=head_commit,
        base_branch=base_branch,
        timeout=int(piped_handle_timeout),
    )
    commands = (await client.call(client.api.RequestPlanPreview, request)).commands
    results_request = GetPlanPreviewResultsRequest(
        commands=commands, command_handle_timeout=int(piped_handle_timeout)
    )
    if commands:
        echo(f"Requested plan previews from {len(commands)} piped(s), waiting for results", err=True)
    else:
        echo(f"No piped deploys {base_branch} of {repo_remote_url}; see `pipectl piped list`", err=True)
    results = await poll_until(
        lambda: _get_results(client, results_request),
        client.clock,
        interval=POLL_INTERVAL,
        timeout=timeout,
        what="the pipeds did not respond",
    )
    summary = summarize(results, parse_list(sort_label_keys))
    if out:
        _write(out, json.dumps(summary, indent=2))
    if commands:
        echo("\n".join(format_summary(summary)))


async def _get_results(
    client: Client, request: GetPlanPreviewResultsRequest
) -> Sequence[PlanPreviewCommandResult] | None:
    if not request.commands:
        return ()
    try:
        return (await client.call(client.api.GetPlanPreviewResults, request)).results
    except NotFound:
        return None


def _write(out: Path, text: str, mode: Literal["a", "w"] = "w") -> None:
    try:
        with out.open(mode) as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"--out: {out}: {error.strerror}") from error
