"""Waits for AWS, each with a bound: for changes of the function, and for a published version.

A wait stores when it began, and returns `Again` with a delay until then its bound is exceeded.
"""

from typing import Any

from pipecd.errors import Refused
from pipecd.model.stage import Again, Failed, Work
from pipecd.platforms.aws import FIRST_POLL_DELAY, poll_delay
from pipecd.platforms.awslambda.client import DESCRIPTION_PREFIX, Function, LambdaClient

#: How long AWS may take for one change, in seconds: as long as the SDK waits for a published version.
CHANGE_TIMEOUT = 26 * 60.0
#: Longest polling interval (seconds). A snapshot or an allocation takes minutes.
POLL_INTERVAL = 5.0
#: Stage metadata: when each wait began, and the published version.
_WAIT_STARTED, VERSION = "pipecd/waiting-since", "pipecd/version"
#: AWS's states of a version that can be called; calling an inactive one activates it.
_USABLE = {"Active", "Inactive"}
_REMEDY = "see the function's state in the AWS console, and sync again"


def wait(
    work: Work[Any],
    key: str,
    what: str,
    *,
    longest: float = POLL_INTERVAL,
    shortest: float = FIRST_POLL_DELAY,
) -> Again | Failed:
    """Waits for `what`; fails after `CHANGE_TIMEOUT`. `longest` and `shortest` limit the delay (seconds).

    Waits with different keys have separate bounds.
    """
    saved_key = f"{_WAIT_STARTED}/{key}"
    started = float(work.saved.get(saved_key, work.now))
    if work.now - started > CHANGE_TIMEOUT:
        return Failed(reason=f"waited {CHANGE_TIMEOUT / 60:g} minutes for {what}", remedy=_REMEDY)
    delay = max(poll_delay(work.now - started, longest), shortest)
    return Again(after=delay, saved={saved_key: f"{started}"}, note=f"Waiting for {what}")


def waits(work: Work[Any], key: str) -> bool:
    """Whether the wait has begun."""
    return f"{_WAIT_STARTED}/{key}" in work.saved


async def wait_until_active(
    work: Work[Any], client: LambdaClient, name: str, version: str, *, replace_failed: bool = False
) -> Again | Failed | None:
    """None when the published version can be called. No alias may be routed to it before.

    `replace_failed`: delete a version that failed for an earlier stage, because AWS publishes no other
    version of unchanged code.
    """
    live = await client.get_function(name, version)
    if live is None:
        return Failed(reason=f"version {version} of {name} was deleted", remedy="sync the application again")
    if live.state == "Failed" or live.update == "Failed":
        if replace_failed and (step := await _delete_earlier_failure(work, client, name, version, live)):
            return step
        code = live.configuration.get("StateReasonCode", "")
        details = (live.state_reason or live.update_reason or "AWS gives no reason", code and f"({code})")
        return Failed(
            reason=f"version {version} of {name} failed: {' '.join(filter(None, details))}",
            remedy="fix the reported error, and sync again",
        )
    if live.state in _USABLE and live.update != "InProgress":
        return None
    state = live.state if live.state not in _USABLE else live.update
    return wait(work, f"version-{version}", f"version {version} to become active; it is {state}")


async def _delete_earlier_failure(
    work: Work[Any], client: LambdaClient, name: str, version: str, live: Function
) -> Again | None:
    description = str(live.configuration.get("Description", ""))
    if not description.startswith(DESCRIPTION_PREFIX) or description == DESCRIPTION_PREFIX + work.token:
        return None
    try:
        await client.delete_version(name, version)
    except Refused as error:
        work.log.info(f"The failed version {version} was not deleted: {error}")
        return None
    return Again(saved={VERSION: ""}, note=f"Deleted version {version}, which had failed before")
