"""From a manifest to a published version, one AWS call at a time.

Called by LAMBDA_SYNC, LAMBDA_CANARY_ROLLOUT and ROLLBACK. It observes the function first and then takes
the next missing step, so it does not matter which of its calls a kill cut off. No traffic moves here.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pipecd.model.stage import Again, Failed, Work
from pipecd.platforms import aws
from pipecd.platforms.awslambda.client import Function, Lambda
from pipecd.platforms.awslambda.function import LambdaFunction, architectures, configuration

#: Stage metadata: the code was sent, under which token; and the version that came of it.
CODE_SENT, VERSION = "pipecd/code-sent", "pipecd/version"
#: AWS settles a change within seconds; image functions take longest.
SETTLE_SECONDS = 2.0

CodeReader = Callable[[], Awaitable[Mapping[str, Any]]]


async def release(
    work: Work[Any], functions: Lambda, wanted: LambdaFunction, code: CodeReader
) -> Again | Failed | str:
    """The published version, or what to do first."""
    if version := work.saved.get(VERSION):
        return version
    live = await functions.function(wanted.name)
    if live is None:
        await functions.create(wanted, await code(), _tags(work, wanted))
        work.log.info(f"Created function {wanted.name}")
        return Again(saved={CODE_SENT: work.token}, note="Creating the function")
    if unsettled := _unsettled(live):
        return unsettled
    return await _next_change(work, functions, wanted, live, code)


async def _next_change(
    work: Work[Any], functions: Lambda, wanted: LambdaFunction, live: Function, code: CodeReader
) -> Again | str:
    if work.saved.get(CODE_SENT) != work.token:
        await functions.send_code(wanted, await code())
        work.log.info(f"Sent the code of {wanted.name}: {wanted.version or 'from the repository'}")
        return Again(saved={CODE_SENT: work.token}, note="Updating the code")
    if differs(live.configuration, wanted):
        await functions.send_configuration(wanted)
        work.log.info(f"Updated the configuration of {wanted.name}")
        return Again(after=SETTLE_SECONDS, note="Updating the configuration")
    tags = _tags(work, wanted)
    if any(live.tags.get(key) != value for key, value in tags.items()):
        await functions.tag(live.arn, tags)
        return Again(note="Tagging")
    if stale := aws.stale_tags(live.tags, tags):
        await functions.untag(live.arn, stale)
        return Again(note="Removing tags that Git no longer has")
    version = await functions.publish(wanted.name, work.token)
    work.log.success(f"Published version {version} of {wanted.name}")
    return Again(saved={VERSION: version}, note=f"Published version {version}")


def _unsettled(live: Function) -> Again | Failed | None:
    if live.state == "Failed":
        return Failed(reason=f"Lambda could not create the function: {live.state_reason}")
    if live.update == "Failed":
        return Failed(reason=f"Lambda could not update the function: {live.update_reason}")
    if live.state == "Pending" or live.update == "InProgress":
        return Again(after=SETTLE_SECONDS, note="Waiting until Lambda has settled the last change")
    return None


def differs(live: Mapping[str, Any], wanted: LambdaFunction) -> bool:
    """Whether Lambda would have to change anything to be as the manifest says."""
    for key, value in configuration(wanted).items():
        if key == "FunctionName":
            continue
        if _plain(key, live.get(key)) != _plain(key, value):
            return True
    return sorted(live.get("Architectures") or ["x86_64"]) != sorted(architectures(wanted))


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


def _tags(work: Work[Any], wanted: LambdaFunction) -> dict[str, str]:
    return aws.tags(
        piped=work.deployment.piped_id,
        application=work.application.id,
        commit=work.deployment.trigger.commit.hash,
        own=wanted.tags,
    )
