"""Drift of a Cloud Run application. Called by the agent's drift loop.

A dry run counts as a write in Google's quota, so it is repeated only when the object or its manifest changed.
"""

import asyncio
import hashlib
import json
from typing import Any

from pipecd.bounded_dict import BoundedDict
from pipecd.model.drift import NO_DRIFT, Drift, Pair, compare
from pipecd.model.observation import ObservationRequest
from pipecd.platforms.cloudrun.client import Object, connect
from pipecd.platforms.cloudrun.comparison import comparable, compare_with_live
from pipecd.platforms.cloudrun.manifest import Manifest

#: Comparisons without a difference: uid → digest of the live object and its manifest.
_MAX_REMEMBERED = 10_000
_same = BoundedDict[str, str](_MAX_REMEMBERED)


async def detect_drift(request: ObservationRequest) -> Drift:
    """Changes nothing. The key of ignored fields is `serving.knative.dev/v1:Service::<name>`."""
    desired: Manifest | None = request.desired
    if desired is None:
        return NO_DRIFT
    async with connect(request.provider) as client:
        live = await client.find_current("jobs" if desired.is_job else "services", desired.name)
        uid, state = _state(live, desired) if live else ("", "")
        if uid and _same.get(uid) == state:
            return NO_DRIFT
        comparison = await compare_with_live(client, desired)
    pair = Pair(key=desired.key, running=comparison.live, git=comparison.wanted, exact=comparison.exact)
    drift = await asyncio.to_thread(compare, [pair], request.ignored, request.redact)
    if drift.in_sync and uid:
        _same[uid] = state
    return drift


def _state(live: Object, desired: Manifest) -> tuple[str, str]:
    content: list[Any] = [comparable(live), live["metadata"].get("generation"), dict(desired.body)]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return str(live["metadata"].get("uid") or ""), digest
