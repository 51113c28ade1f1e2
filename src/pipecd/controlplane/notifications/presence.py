"""Which agents of a project went offline, and which are online again. Pure.

An agent is offline if nothing was heard of it for `OFFLINE_AFTER`. Only time in which the control plane has
watched counts: after an outage or a restart of it, agents have that time to connect again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipecd.json_input import decode_json

#: Seconds without contact. Agents without a stream, such as PipeCD's, report every minute.
OFFLINE_AFTER = 120.0
#: If the last check is longer ago than this (seconds), the control plane was not watching.
MAX_GAP = 40.0
#: What is known from earlier than this (seconds) is out of date: the project had no receivers meanwhile.
MAX_AGE = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Presence:
    """What is known of the agents of a project. Times are epoch seconds.

    `agents`: the agents that were online since the watch began → 0, or since when they are offline.
    """

    checked_at: float = 0.0
    watching_since: float = 0.0
    agents: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> bytes:
        members = {"watching_since": self.watching_since, "agents": dict(self.agents)}
        return json.dumps({"checked_at": self.checked_at, **members}, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Presence":
        return cls(**decode_json(data))


@dataclass(frozen=True, kw_only=True)
class Transition:
    """An agent went offline at `offline_since`, or is `online` again."""

    piped_id: str
    online: bool
    offline_since: int


def check(
    known: Presence | None, contacts: Mapping[str, float], now: float
) -> tuple[Presence, Sequence[Transition]]:
    """What is known after a check at `now`, and what changed.

    `contacts`: the enabled agents that were ever connected → when they last were. An agent that is not among
    them, because it was disabled or deleted, is forgotten.
    """
    if known is None or now - known.checked_at > MAX_AGE:
        known = Presence(watching_since=now)
    elif now - known.checked_at > MAX_GAP:
        known = Presence(watching_since=now, agents=known.agents)
    agents: dict[str, int] = {}
    transitions = []
    for piped_id, seen in sorted(contacts.items()):
        since = known.agents.get(piped_id)
        if now - seen <= OFFLINE_AFTER:
            # Online again only with a contact that is newer than the one it went offline with.
            if since and int(seen) > since:
                transitions.append(Transition(piped_id=piped_id, online=True, offline_since=since))
                since = 0
            agents[piped_id] = since or 0
        elif since == 0 and now - known.watching_since > OFFLINE_AFTER:
            agents[piped_id] = int(seen)
            transitions.append(Transition(piped_id=piped_id, online=False, offline_since=int(seen)))
        elif since is not None:
            agents[piped_id] = since
    return Presence(checked_at=now, watching_since=known.watching_since, agents=agents), transitions
