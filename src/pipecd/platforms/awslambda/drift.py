"""Drift of a Lambda application: compares the version that serves the traffic with the manifest.

Called by the agent's drift loop. The key in `driftDetection.ignoreFields` is `lambda:Function::<name>`. AWS
does not return where code came from (S3, a repository), so code is compared only for images.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from pipecd.model.drift import NO_DRIFT, Drift, Pair, compare
from pipecd.model.observation import ObservationRequest
from pipecd.platforms.awslambda.client import Function, connect
from pipecd.platforms.awslambda.function import LambdaFunction, architectures, configuration


async def detect_drift(request: ObservationRequest) -> Drift:
    desired: LambdaFunction | None = request.desired
    if desired is None:
        return NO_DRIFT
    async with connect(request.provider) as client:
        latest = await client.get_function(desired.name)
        alias = await client.get_alias(desired.name) if latest else None
        serving = await client.get_function(desired.name, alias.traffic.primary) if alias else latest
    pair = Pair(
        key=f"lambda:Function::{desired.name}",
        running=_running(serving, latest.tags) if serving and latest else None,
        git=_declared(desired),
    )
    return await asyncio.to_thread(compare, [pair], request.ignored, request.redact)


def _declared(desired: LambdaFunction) -> Mapping[str, Any]:
    image = {"ImageUri": desired.image} if desired.image else {}
    fields = {**configuration(desired), "Architectures": architectures(desired), "Tags": dict(desired.tags)}
    return _sorted({**fields, **image})


def _running(live: Function, tags: Mapping[str, str]) -> Mapping[str, Any]:
    """In the form of an API request. Tags belong to the function, not to its versions."""
    fields = dict(live.configuration)
    fields["Layers"] = [layer["Arn"] for layer in fields.get("Layers") or []]
    return _sorted({**fields, "ImageUri": live.image, "Tags": dict(tags)})


def _sorted(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """With the lists sorted whose order means nothing to AWS."""
    network = fields.get("VpcConfig") or {}
    names = ("SecurityGroupIds", "SubnetIds")
    return {
        **fields,
        "Architectures": sorted(fields.get("Architectures") or []),
        "VpcConfig": {name: sorted(network.get(name) or []) for name in names},
    }
