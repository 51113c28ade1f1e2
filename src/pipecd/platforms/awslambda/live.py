"""What runs of a Lambda application: the function, its alias, and the versions that get traffic.

Called by the agent's live-state loop.
"""

from collections.abc import Sequence
from datetime import datetime

from pipecd.errors import NotFound
from pipecd.model.look import Look
from pipecd.model.resource import Health, Resource
from pipecd.platforms.awslambda.client import Alias, Function, Lambda, connect
from pipecd.platforms.awslambda.function import LambdaFunction
from pipecd.platforms.awslambda.traffic import ALIAS

#: AWS's words of a function's state.
_STATES = {
    "Active": Health.HEALTHY,
    "Pending": Health.UNHEALTHY,
    "Inactive": Health.UNHEALTHY,
    "Failed": Health.UNHEALTHY,
}


async def load_live_state(look: Look) -> Sequence[Resource]:
    wanted: LambdaFunction = look.desired
    async with connect(look.provider) as sdk:
        function = await sdk.function(wanted.name)
        if function is None:
            return []
        alias = await sdk.alias(wanted.name)
        top = _function(wanted.name, function)
        if alias is None:
            return [top]
        name = Resource(
            id=f"{function.arn}:{ALIAS}",
            kind="Alias",
            name=ALIAS,
            parents=(top.id,),
            health=Health.HEALTHY,
            why=" and ".join(f"{share:g} % to version {one}" for one, share in alias.traffic.shares.items()),
        )
        return [
            top,
            name,
            *[await _version(sdk, wanted.name, name.id, alias, one) for one in alias.traffic.shares],
        ]


async def _version(sdk: Lambda, name: str, parent: str, alias: Alias, version: str) -> Resource:
    found = await sdk.function(name, version)
    if found is None:
        raise NotFound(f"version {version} of {name} is gone while it gets traffic")
    health, why = _health(found)
    share = f"{alias.traffic.shares[version]:g} % of the traffic"
    return Resource(
        id=found.arn,
        kind="Version",
        name=version,
        parents=(parent,),
        health=health,
        why=f"{share}; {why}" if why else share,
        created_at=_seconds(found),
    )


def _function(name: str, function: Function) -> Resource:
    health, why = _health(function)
    at = _seconds(function)
    return Resource(id=function.arn, kind="Function", name=name, health=health, why=why, updated_at=at)


def _health(function: Function) -> tuple[Health, str]:
    code = function.configuration.get("StateReasonCode", "")
    why = " ".join(word for word in (function.state_reason, f"({code})" if code else "") if word)
    if function.update == "Failed":
        return Health.UNHEALTHY, function.update_reason or "its last update failed"
    return _STATES.get(function.state, Health.UNKNOWN), why


def _seconds(function: Function) -> int:
    text = str(function.configuration.get("LastModified", ""))
    try:
        return int(datetime.fromisoformat(text.replace("+0000", "+00:00")).timestamp())
    except ValueError:
        return 0
