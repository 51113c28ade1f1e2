"""SCRIPT_RUN and its rollback: a command from Git, run by the shell in the application's directory.

A script is one effect that only its author knows to repeat. Where the agent was killed while it ran, it
is run again with SR_ATTEMPT counting up; the first time it is 1.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipecd import process
from pipecd.config.stages import ScriptRunOptions
from pipecd.errors import ConfigError
from pipecd.model.plan import ENVIRONMENT, ON_ROLLBACK
from pipecd.model.stage import Again, Done, Failed, Outcome, Work

#: Stage metadata: how many times the script was begun.
ATTEMPT = "pipecd/attempt"


async def script_run(work: Work[ScriptRunOptions]) -> Outcome:
    options = work.options
    if not begun_in_this_process(work):
        return begin_attempt(work)
    source = await work.target()
    return await run_script(work, options.run, source.directory, {**variables(work), **options.env})


async def script_run_rollback(work: Work[Any]) -> Outcome:
    """What the stage's `onRollback` says, as it stood when the deployment was planned."""
    script = work.saved.get(ON_ROLLBACK, "")
    if not script:
        return Done(note="Nothing to run")
    if not begun_in_this_process(work):
        return begin_attempt(work)
    source = await work.target()
    own = json.loads(work.saved.get(ENVIRONMENT) or "{}")
    return await run_script(work, script, source.directory, {**variables(work), **own})


def begun_in_this_process(work: Work[Any]) -> bool:
    """Whether the attempt that is noted is this very one: noted by the call before, in this process."""
    return ATTEMPT in work.saved and work.saved[ATTEMPT] == _noted.get(work.token)


def begin_attempt(work: Work[Any]) -> Outcome:
    """Note the attempt before it is made, so that a kill in the middle is seen afterwards."""
    attempt = str(int(work.saved.get(ATTEMPT, "0")) + 1)
    _noted[work.token] = attempt
    if attempt != "1":
        work.log.info(f"The agent was stopped while the script ran; running it again (SR_ATTEMPT={attempt})")
    return Again(saved={ATTEMPT: attempt})


#: Token → the attempt that this process began.
_noted: dict[str, str] = {}


async def run_script(
    work: Work[Any], script: str, directory: Path, environment: Mapping[str, str]
) -> Outcome:
    """Run it to its end, every line into the log. Raises ConfigError for an impossible environment."""
    for name, value in environment.items():
        if not name or "=" in name or "\0" in name + value:
            raise ConfigError(
                f"{name!r} cannot be a variable of the environment",
                remedy="use letters, digits and underscores in names, and no zero bytes",
            )
    work.log.info(f"$ {script.strip()}")
    try:
        finished = await process.run(
            ["/bin/sh", "-l", "-c", script],
            on_line=work.log.info,
            cwd=directory,
            env={**os.environ, **environment},
        )
    finally:
        _noted.pop(work.token, None)
    if finished.code:
        how = f"with code {finished.code}" if finished.code > 0 else f"by signal {-finished.code}"
        return Failed(reason=f"the script ended {how}", remedy="its last lines in the log say why")
    work.log.success("The script ended well")
    return Done(note="The script ended well")


def variables(work: Work[Any]) -> dict[str, str]:
    """SR_*: what a script may want to know of its deployment."""
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
    labels = {f"SR_LABELS_{key.upper()}": value for key, value in deployment.labels.items()}
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
        **labels,
    }
