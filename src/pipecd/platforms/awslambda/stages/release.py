"""From a manifest to a published version, one AWS call at a time.

`settle` brings the function's unpublished code, configuration and tags to what a manifest says; `release`
publishes that. Both observe the function first and then take the next missing step, so it does not matter
which of their calls a kill cut off. No traffic moves here.
"""

from collections.abc import Mapping
from typing import Any

from pipecd.errors import AlreadyExists
from pipecd.model.stage import Again, Failed, Work
from pipecd.platforms import aws
from pipecd.platforms.awslambda.client import Function, Lambda
from pipecd.platforms.awslambda.function import LambdaFunction, configuration
from pipecd.platforms.awslambda.source import code_of

#: Stage metadata: code and configuration were sent, under which token; and the version that came of it.
CODE_SENT, CONFIGURATION_SENT, VERSION = (
    "pipecd/code-sent",
    "pipecd/configuration-sent",
    "pipecd/version",
)
#: AWS settles a change within seconds; image functions take longest.
SETTLE_SECONDS = 2.0


async def release(
    work: Work[Any], functions: Lambda, wanted: LambdaFunction, commit: str
) -> Again | Failed | str:
    """The published version, or what to do first."""
    if version := work.saved.get(VERSION):
        return version
    if unfinished := await settle(work, functions, wanted, commit):
        return unfinished
    version = await functions.publish(wanted.name, work.token)
    work.log.success(f"Published version {version} of {wanted.name}")
    return Again(saved={VERSION: version}, note=f"Published version {version}")


async def settle(
    work: Work[Any], functions: Lambda, wanted: LambdaFunction, commit: str
) -> Again | Failed | None:
    """The next step towards the manifest; None when AWS has all of it. `commit` is what the tag says."""
    live = await functions.function(wanted.name)
    if live is None:
        return await _create(work, functions, wanted, commit)
    if live.state == "Failed":
        return Failed(
            reason=f"Lambda could not create the function: {live.state_reason}",
            remedy="mend what it says, delete the function, and sync again",
        )
    if live.state == "Pending" or live.update == "InProgress":
        return Again(after=SETTLE_SECONDS, note="Waiting until Lambda has settled the last change")
    if work.saved.get(CODE_SENT) != work.token:
        await functions.send_code(wanted, await code_of(work, wanted))
        work.log.info(f"Sent the code of {wanted.name}: {wanted.version or 'the newest'}")
        return Again(saved={CODE_SENT: work.token}, note="Updating the code")
    # Only now: a failure from before this deployment is what the new code may mend.
    if live.update == "Failed":
        return Failed(reason=f"Lambda could not update the function: {live.update_reason}")
    if work.saved.get(CONFIGURATION_SENT) != work.token and differs(live.configuration, wanted):
        await functions.send_configuration(wanted)
        work.log.info(f"Updated the configuration of {wanted.name}")
        return Again(
            after=SETTLE_SECONDS,
            saved={CONFIGURATION_SENT: work.token},
            note="Updating the configuration",
        )
    return await _tag(work, functions, wanted, live, commit)


async def _create(work: Work[Any], functions: Lambda, wanted: LambdaFunction, commit: str) -> Again:
    try:
        await functions.create(wanted, await code_of(work, wanted), _tags(work, wanted, commit))
    except AlreadyExists:
        # The answer to our own call was lost, or somebody was faster: look again.
        return Again(after=SETTLE_SECONDS, note="The function appeared in the meantime")
    work.log.info(f"Created function {wanted.name}")
    return Again(saved={CODE_SENT: work.token}, note="Creating the function")


async def _tag(
    work: Work[Any], functions: Lambda, wanted: LambdaFunction, live: Function, commit: str
) -> Again | None:
    tags = _tags(work, wanted, commit)
    if any(live.tags.get(key) != value for key, value in tags.items()):
        await functions.tag(live.arn, tags)
        return Again(note="Tagging")
    if stale := aws.stale_tags(live.tags, tags):
        await functions.untag(live.arn, stale)
        return Again(note="Removing tags that Git no longer has")
    return None


def differs(live: Mapping[str, Any], wanted: LambdaFunction) -> bool:
    """Whether the configuration would have to change. Architectures are the code's, and sent with it."""
    return any(
        _plain(key, live.get(key)) != _plain(key, value)
        for key, value in configuration(wanted).items()
        if key != "FunctionName"
    )


def _plain(key: str, value: Any) -> Any:
    """AWS answers with more than was asked for; this keeps what can be asked for, order aside."""
    match key:
        case "Environment":
            return dict((value or {}).get("Variables") or {})
        case "VpcConfig":
            value = value or {}
            return sorted(value.get("SubnetIds") or []), sorted(value.get("SecurityGroupIds") or [])
        case "Layers":
            return [layer["Arn"] if isinstance(layer, dict) else layer for layer in value or []]
        case "EphemeralStorage":
            return (value or {"Size": 512})["Size"]
        case _:
            return value


def _tags(work: Work[Any], wanted: LambdaFunction, commit: str) -> dict[str, str]:
    return aws.tags(
        piped=work.deployment.piped_id, application=work.application.id, commit=commit, own=wanted.tags
    )
