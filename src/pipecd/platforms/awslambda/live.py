"""Live state of a Lambda application: the function, its alias, and the versions that receive traffic.

Called by the agent's live-state loop.
"""

from collections.abc import Sequence
from datetime import datetime

from pipecd.errors import NotFound
from pipecd.model.observation import ObservationRequest
from pipecd.model.resource import Health, Resource
from pipecd.platforms.awslambda.client import Alias, Function, LambdaClient, connect
from pipecd.platforms.awslambda.function import LambdaFunction
from pipecd.platforms.awslambda.traffic import ALIAS

#: AWS's values of a function's state.
_STATES = {
    "Active": Health.HEALTHY,
    "Pending": Health.UNHEALTHY,
    "Inactive": Health.UNHEALTHY,
    "Failed": Health.UNHEALTHY,
}


async def load_live_state(request: ObservationRequest) -> Sequence[Resource]:
    desired: LambdaFunction | None = request.desired
    if desired is None:
        return []
    async with connect(request.provider) as client:
        function = await client.get_function(desired.name)
        if function is None:
            return []
        alias = await client.get_alias(desired.name)
        top = _function(desired.name, function)
        if alias is None:
            return [top]
        alias_resource = Resource(
            id=f"{function.arn}:{ALIAS}",
            kind="Alias",
            name=ALIAS,
            parents=(top.id,),
            health=Health.HEALTHY,
            health_reason=" and ".join(
                f"{share:g} % to version {version}" for version, share in alias.traffic.shares.items()
            ),
        )
        return [
            top,
            alias_resource,
            *[
                await _version(client, desired.name, alias_resource.id, alias, version)
                for version in alias.traffic.shares
            ],
        ]


async def _version(client: LambdaClient, name: str, parent: str, alias: Alias, version: str) -> Resource:
    function = await client.get_function(name, version)
    if function is None:
        raise NotFound(f"version {version} of {name} was deleted while it receives traffic")
    health, reason = _health(function)
    share = f"{alias.traffic.shares[version]:g} % of the traffic"
    return Resource(
        id=function.arn,
        kind="Version",
        name=version,
        parents=(parent,),
        health=health,
        health_reason=f"{share}; {reason}" if reason else share,
        created_at=_seconds(function),
    )


def _function(name: str, function: Function) -> Resource:
    health, reason = _health(function)
    return Resource(
        id=function.arn,
        kind="Function",
        name=name,
        health=health,
        health_reason=reason,
        updated_at=_seconds(function),
    )


def _health(function: Function) -> tuple[Health, str]:
    code = function.configuration.get("StateReasonCode", "")
    reason = " ".join(word for word in (function.state_reason, f"({code})" if code else "") if word)
    if function.update == "Failed":
        return Health.UNHEALTHY, function.update_reason or "The last update failed"
    return _STATES.get(function.state, Health.UNKNOWN), reason


def _seconds(function: Function) -> int:
    text = str(function.configuration.get("LastModified", ""))
    try:
        return int(datetime.fromisoformat(text.replace("+0000", "+00:00")).timestamp())
    except ValueError:
        return 0
