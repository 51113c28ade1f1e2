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
from pipecd.pipectl.preview_summary import lines, summarize
from pipecd.pipectl.values import words
from pipecd.pipectl.waiting import wait_for
from pipecd.schema.api.plan_preview_pb2 import GetPlanPreviewResultsRequest, RequestPlanPreviewRequest
from pipecd.schema.model.plan_preview_pb2 import PlanPreviewCommandResult

#: How often the results are asked for (seconds).
INTERVAL = 2.0


@click.command("plan-preview")
@click.option("--repo-remote-url", required=True, help="As the agents' configuration writes it.")
@click.option("--head-branch", required=True, help="The pull request's branch.")
@click.option("--head-commit", required=True, help="The hash of its newest commit.")
@click.option("--base-branch", required=True, help="The branch that it is to be merged into.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=None, help="Write JSON here.")
@click.option(
    "--timeout", type=Duration(), default="10m", show_default=True, help="For the command as a whole."
)
@click.option(
    "--piped-handle-timeout", type=Duration(), default="5m", show_default=True, help="For each agent."
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

    Fails when nobody answers in time. Applications and agents that could not be previewed are part of
    the answer, marked FAILED.
    """
    if out:
        _write(out, "", "a")  # Whether it can be written is told before the wait, not after it.
    request = RequestPlanPreviewRequest(
        repo_remote_url=repo_remote_url,
        head_branch=head_branch,
        head_commit=head_commit,
        base_branch=base_branch,
        timeout=int(piped_handle_timeout),
    )
    commands = (await client.call(client.api.RequestPlanPreview, request)).commands
    asked = GetPlanPreviewResultsRequest(commands=commands, command_handle_timeout=int(piped_handle_timeout))
    if commands:
        click.echo(f"Asked {len(commands)} agent(s), waiting for their answers", err=True)
    else:
        click.echo(f"No agent deploys {base_branch} of {repo_remote_url}; see `pipectl piped list`", err=True)
    results = await wait_for(
        lambda: _answered(client, asked),
        interval=INTERVAL,
        timeout=timeout,
        what="the agents did not answer",
    )
    summary = summarize(results, words(sort_label_keys))
    if out:
        _write(out, json.dumps(summary, indent=2))
    click.echo("\n".join(lines(summary)))


async def _answered(
    client: Client, asked: GetPlanPreviewResultsRequest
) -> Sequence[PlanPreviewCommandResult] | None:
    if not asked.commands:
        return ()
    try:
        return (await client.call(client.api.GetPlanPreviewResults, asked)).results
    except NotFound:
        return None


def _write(out: Path, text: str, mode: Literal["a", "w"] = "w") -> None:
    try:
        with out.open(mode) as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"--out: {out}: {error.strerror}") from error
