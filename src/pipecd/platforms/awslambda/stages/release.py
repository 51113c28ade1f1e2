"""From a manifest to a published version, one AWS call at a time.

`apply_manifest` updates the function's unpublished code, configuration and tags; `release` publishes them.
Both observe the function first and then take the next missing step, so an interruption at any call is safe.
No traffic is moved here.
"""

from collections.abc import Mapping
from typing import Any

from pipecd.errors import AlreadyExists, Refused
from pipecd.model.stage import Again, Failed, Source, Work
from pipecd.platforms import aws
from pipecd.platforms.awslambda.client import Function, LambdaClient
from pipecd.platforms.awslambda.function import (
    PACKAGE_TYPE_REMEDY,
    LambdaFunction,
    configuration,
    package_type_change,
)
from pipecd.platforms.awslambda.source import load_code, manifest_keys_without_effect
from pipecd.platforms.awslambda.stages.waiting import VERSION, wait, wait_until_active

#: Stage metadata: the token with which code and configuration were sent.
CODE_SENT, CONFIGURATION_SENT = "pipecd/code-sent", "pipecd/configuration-sent"
#: Longest polling interval while AWS applies a change (seconds). Functions with an image take longest.
POLL_INTERVAL = 2.0


async def release(
    work: Work[Any], client: LambdaClient, desired: LambdaFunction, source: Source, commit: str
) -> Again | Failed | str:
    """The published version when it can be called, or the step towards it. `source` contains `desired`."""
    if version := work.saved.get(VERSION):
        return await wait_until_active(work, client, desired.name, version, replace_failed=True) or version
    if step := await apply_manifest(work, client, desired, commit):
        return step
    for sentence in manifest_keys_without_effect(source):
        work.log.info(sentence)
    version = await client.publish_version(desired.name, work.token)
    work.log.success(f"Published version {version} of {desired.name}")
    return Again(saved={VERSION: version}, note=f"Published version {version}")


async def apply_manifest(
    work: Work[Any], client: LambdaClient, desired: LambdaFunction, commit: str
) -> Again | Failed | None:
    """The next step towards the manifest; None when it is applied. `commit` is the commit tag's value."""
    live = await client.get_function(desired.name)
    if live is None:
        return await _create(work, client, desired, commit)
    if live.package_type != desired.package_type:
        raise Refused(package_type_change(desired, live.package_type), remedy=PACKAGE_TYPE_REMEDY)
    if live.state == "Failed":
        return Failed(
            reason=f"Lambda could not create the function: {live.state_reason}",
            remedy="fix the reported error, delete the function, and sync again",
        )
    if live.state == "Pending" or live.update == "InProgress":
        sent = [key for key in (CODE_SENT, CONFIGURATION_SENT) if work.saved.get(key) == work.token]
        return wait(work, f"change-{len(sent)}", "Lambda to apply the last change", longest=POLL_INTERVAL)
    if work.saved.get(CODE_SENT) != work.token:
        await client.update_code(desired, await load_code(work, desired))
        work.log.info(f"Updated the code of {desired.name} to {desired.version or 'the latest version'}")
        return Again(saved={CODE_SENT: work.token}, note="Updating the code")
    # Checked only now: the new code may fix a failed update from before this deployment.
    if live.update == "Failed":
        return Failed(
            reason=f"Lambda could not update the function: {live.update_reason}",
            remedy="fix the reported error, and sync again",
        )
    if work.saved.get(CONFIGURATION_SENT) != work.token and _configuration_differs(
        live.configuration, desired
    ):
        await client.update_configuration(desired)
        work.log.info(f"Updated the configuration of {desired.name}")
        return Again(
            after=aws.FIRST_POLL_DELAY,
            saved={CONFIGURATION_SENT: work.token},
            note="Updating the configuration",
        )
    return await _tag(work, client, desired, live, commit)


async def _create(work: Work[Any], client: LambdaClient, desired: LambdaFunction, commit: str) -> Again:
    try:
        await client.create_function(desired, await load_code(work, desired), _tags(work, desired, commit))
    except AlreadyExists:
        # The response to an earlier call was lost, or the function was created by someone else.
        return Again(after=POLL_INTERVAL, note="The function already exists; checking again")
    work.log.info(f"Created function {desired.name}")
    return Again(saved={CODE_SENT: work.token}, note="Creating the function")


async def _tag(
    work: Work[Any], client: LambdaClient, desired: LambdaFunction, live: Function, commit: str
) -> Again | None:
    tags = _tags(work, desired, commit)
    if any(live.tags.get(key) != value for key, value in tags.items()):
        await client.tag(live.arn, tags)
        return Again(note="Updating tags")
    if stale := aws.stale_tags(live.tags, tags):
        await client.untag(live.arn, stale)
        return Again(note="Removing tags that are no longer in Git")
    return None


def _configuration_differs(live: Mapping[str, Any], desired: LambdaFunction) -> bool:
    """Whether the configuration has to change. Architectures are sent with the code."""
    return any(
        _normalize(key, live.get(key)) != _normalize(key, value)
        for key, value in configuration(desired).items()
        if key != "FunctionName"
    )


def _normalize(key: str, value: Any) -> Any:
    """The part of AWS's response that a request can set, independent of order."""
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


def _tags(work: Work[Any], desired: LambdaFunction, commit: str) -> dict[str, str]:
    return aws.resource_tags(
        piped=work.deployment.piped_id, application=work.application.id, commit=commit, user_tags=desired.tags
    )
