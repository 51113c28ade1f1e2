"""Whether the version of a function that gets the traffic is what Git asks for.

Called by the agent's drift loop. In `driftDetection.ignoreFields` it is `lambda:Function::<name>`. Where the
code came from (S3, a repository) AWS does not tell: of the code only an image is compared.
"""

from collections.abc import Mapping
from typing import Any

from pipecd.model.drift import Drift, Pair, compare
from pipecd.model.look import Look
from pipecd.platforms.awslambda.client import Function, connect
from pipecd.platforms.awslambda.function import LambdaFunction, architectures, configuration


def drift_enabled(_: Any) -> bool:
    return True


async def detect_drift(look: Look) -> Drift:
    wanted: LambdaFunction = look.desired
    async with connect(look.provider) as sdk:
        latest = await sdk.function(wanted.name)
        alias = await sdk.alias(wanted.name) if latest else None
        serving = await sdk.function(wanted.name, alias.traffic.primary) if alias else latest
    pair = Pair(
        key=f"lambda:Function::{wanted.name}",
        running=_running(serving, latest.tags) if serving and latest else None,
        git=_asked(wanted),
    )
    return compare([pair], look.ignored, look.clean)


def _asked(wanted: LambdaFunction) -> Mapping[str, Any]:
    image = {"ImageUri": wanted.image} if wanted.image else {}
    fields = {**configuration(wanted), "Architectures": architectures(wanted), "Tags": dict(wanted.tags)}
    return _settled({**fields, **image})


def _running(live: Function, tags: Mapping[str, str]) -> Mapping[str, Any]:
    """In the words of a request. Tags belong to the function, not to its versions."""
    fields = dict(live.configuration)
    fields["Layers"] = [one["Arn"] for one in fields.get("Layers") or []]
    return _settled({**fields, "ImageUri": live.image, "Tags": dict(tags)})


def _settled(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without an order where there is none."""
    network = fields.get("VpcConfig") or {}
    names = ("SecurityGroupIds", "SubnetIds")
    return {
        **fields,
        "Architectures": sorted(fields.get("Architectures") or []),
        "VpcConfig": {name: sorted(network.get(name) or []) for name in names},
    }
