"""SCRIPT_RUN and its rollback: a command from Git, run by the shell in the application's directory.

Whether a script can be repeated depends on the script. If the agent is killed while it runs, it is run
again with SR_ATTEMPT incremented; the first attempt is 1.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipecd import process
from pipecd.config.stages import ScriptRunOptions
from pipecd.json_input import decode_json
from pipecd.model.plan import ENVIRONMENT, ON_ROLLBACK
from pipecd.model.stage import CANDIDATE_URL, Again, Done, Failed, Outcome, Work

#: Key of stage metadata: how many times the script was started.
ATTEMPT = "pipecd/attempt"


async def script_run(work: Work[ScriptRunOptions]) -> Outcome:
    options, source = work.options, await work.checkouts.target()
    if not attempt_started(work):
        return start_attempt(work)
    return await run_script(work, options.run, source.directory, {**variables(work), **options.env})


async def script_run_rollback(work: Work[Any]) -> Outcome:
    """Runs the stage's `onRollback` as of the time when the deployment was planned."""
    script = work.saved.get(ON_ROLLBACK, "")
    if not script:
        return Done(note="Nothing to run")
    source = await work.checkouts.target()
    if not attempt_started(work):
        return start_attempt(work)
    env = decode_json(work.saved.get(ENVIRONMENT) or "{}")
    return await run_script(work, script, source.directory, {**variables(work), **env})


def attempt_started(work: Work[Any]) -> bool:
    """Whether the previous call stored the attempt. An interrupted attempt needs another number.

    Callers make their checkouts first: one that fails for a while must not count as an interrupted attempt.
    """
    return ATTEMPT in work.saved and not work.interrupted


def start_attempt(work: Work[Any]) -> Outcome:
    """Stores the attempt before it is made, so that an interrupted attempt is detected afterwards."""
    attempt = str(int(work.saved.get(ATTEMPT, "0")) + 1)
    if attempt != "1":
        work.log.info(f"The agent was stopped while the script ran; running it again (SR_ATTEMPT={attempt})")
    return Again(saved={ATTEMPT: attempt})


async def run_script(
    work: Work[Any], script: str, directory: Path, environment: Mapping[str, str]
) -> Outcome:
    """Runs the script and logs every line. Raises ConfigError if it is too long to be started."""
    work.log.info(f"$ {script.strip()}")
    result = await process.run(
        ["/bin/sh", "-l", "-c", script],
        on_line=work.log.info,
        drain=work.log.drain,
        cwd=directory,
        env={**os.environ, **environment},
    )
    if result.code:
        exit_reason = (
            f"exited with code {result.code}" if result.code > 0 else f"was killed by signal {-result.code}"
        )
        return Failed(reason=f"the script {exit_reason}", remedy="see the last lines of the stage log")
    work.log.success("The script succeeded")
    return Done(note="The script succeeded")


def variables(work: Work[Any]) -> dict[str, str]:
    """The SR_* environment variables, which describe the deployment."""
    deployment, trigger = work.deployment, work.deployment.trigger
    context = {
        "deploymentID": deployment.id,
        "applicationID": deployment.application_id,
        "applicationName": deployment.application_name,
        "triggeredAt": trigger.timestamp,
        "triggeredCommitHash": trigger.commit.hash,
        "triggeredCommander": trigger.commander,
        "repositoryURL": deployment.git_path.remote,
        "summary": deployment.summary,
        "labels": dict(deployment.labels),
        "isRollback": work.stage.rollback,
    }
    labels = {f"SR_LABELS_{key.upper()}": value for key, value in deployment.labels.items() if "=" not in key}
    return {
        "SR_DEPLOYMENT_ID": deployment.id,
        "SR_APPLICATION_ID": deployment.application_id,
        "SR_APPLICATION_NAME": deployment.application_name,
        "SR_TRIGGERED_AT": str(trigger.timestamp),
        "SR_TRIGGERED_COMMIT_HASH": trigger.commit.hash,
        "SR_TRIGGERED_COMMANDER": trigger.commander,
        "SR_REPOSITORY_URL": deployment.git_path.remote,
        "SR_SUMMARY": deployment.summary,
        "SR_IS_ROLLBACK": "true" if work.stage.rollback else "false",
        "SR_CONTEXT_RAW": json.dumps({key: value for key, value in context.items() if value}),
        "SR_ATTEMPT": work.saved.get(ATTEMPT, "1"),
        **({"SR_CANDIDATE_URL": url} if (url := work.shared.get(CANDIDATE_URL)) else {}),
        **labels,
    }
