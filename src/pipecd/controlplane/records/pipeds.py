"""Agents: registered, given keys, enabled and disabled; and whether they are there."""

import base64
from collections.abc import Callable, Iterable
from uuid import uuid4

from pipecd.controlplane.auth import keys
from pipecd.controlplane.auth.caller import Caller
from pipecd.controlplane.records import ownership
from pipecd.controlplane.services import Plane
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.leases import lease_of
from pipecd.encryption import seal
from pipecd.errors import Conflict, PermissionDenied, Refused
from pipecd.schema.model.piped_pb2 import Piped, PipedKey

#: Keys that are good at the same time: one at work and its successor.
MOST_KEYS = 2
#: An agent without a stream is taken to be there for this long after it reported its figures (seconds).
FRESH = 120
#: Fact of a piped, put when a stream of its ended: figures from before do not show that it is there.
LEFT = "left"


async def register(plane: Plane, caller: Caller, name: str, desc: str, creator: str) -> tuple[str, str]:
    """The new piped's id and its key, which is shown this once."""
    if not name.strip():
        raise Refused("a piped needs a name")
    key = keys.new_piped_key()
    now = plane.now()
    made = Piped(
        id=str(uuid4()),
        name=name,
        desc=desc,
        project_id=caller.project_id,
        status=Piped.OFFLINE,
        keys=[PipedKey(hash=keys.hashed(key), creator=creator, created_at=now)],
        created_at=now,
        updated_at=now,
    )
    await plane.store.create(made)
    return made.id, key


async def add_key(plane: Plane, caller: Caller, piped_id: str, creator: str) -> str:
    """A second key, good beside the first one until `delete_old_keys`."""
    key = keys.new_piped_key()
    made = PipedKey(hash=keys.hashed(key), creator=creator, created_at=plane.now())

    def alter(record: Piped) -> None:
        if len(record.keys) >= MOST_KEYS:
            raise Conflict(f"piped {record.name} has {MOST_KEYS} keys already; delete the old one first")
        record.keys.insert(0, made)

    await change(plane, caller, piped_id, alter)
    return key


async def delete_old_keys(plane: Plane, caller: Caller, piped_id: str) -> None:
    def alter(record: Piped) -> None:
        del record.keys[1:]

    await change(plane, caller, piped_id, alter)


async def set_disabled(plane: Plane, caller: Caller, piped_id: str, *, disabled: bool) -> None:
    def alter(record: Piped) -> None:
        record.disabled = disabled

    await change(plane, caller, piped_id, alter)


async def change(plane: Plane, caller: Caller, piped_id: str, alter: Callable[[Piped], None]) -> None:
    await ownership.change(plane, caller, Piped, piped_id, alter, PermissionDenied)


async def with_status(plane: Plane, project_id: str, found: Iterable[Piped]) -> list[Piped]:
    """The same, redacted, saying who is there."""
    stats = await plane.store.facts("stat", project_id)
    left = await plane.store.facts(LEFT, project_id)
    shown = [redacted(one) for one in found]
    streaming = await _streaming(plane, shown)
    for piped in shown:
        reported, gone = stats.get(piped.id, (b"", 0))[1], left.get(piped.id, (b"", 0))[1]
        fresh = reported > gone and plane.now() - reported // 1_000_000 <= FRESH
        online = piped.id in streaming or fresh
        piped.status = Piped.ONLINE if online and not piped.disabled else Piped.OFFLINE
    return shown


async def last_seen(plane: Plane, project_id: str) -> dict[str, int]:
    """Piped id → epoch seconds of the last sign of life. Who was never heard of is not in it."""
    seen: dict[str, int] = {}
    for kind in ("stat", LEFT):
        for piped_id, (_, touched) in (await plane.store.facts(kind, project_id)).items():
            seen[piped_id] = max(seen.get(piped_id, 0), touched // 1_000_000)
    streaming = await _streaming(plane, await lists.pipeds(plane.store, project_id))
    return seen | dict.fromkeys(streaming, plane.now())


async def _streaming(plane: Plane, found: Iterable[Piped]) -> set[str]:
    """The ids of those whose stream is open now."""
    ids = {lease_of(piped.id): piped.id for piped in found}
    return {ids[name] for name in await plane.store.leases.held(ids.keys())}


async def sealed(plane: Plane, caller: Caller, piped_id: str, text: str, *, in_base64: bool) -> str:
    """A secret that only this piped can open. Raises Conflict when it has no key pair."""
    piped = await ownership.get(plane, caller, Piped, piped_id)
    encryption = piped.secret_encryption
    if encryption.type != "KEY_PAIR" or not encryption.public_key:
        raise Conflict(
            f"piped {piped.name} has no key pair for secrets; give it one under spec.secretManagement"
        )
    plain = text.encode()
    return seal(encryption.public_key, base64.standard_b64encode(plain) if in_base64 else plain)


def redacted(piped: Piped) -> Piped:
    """Without the hashes of its keys."""
    shown = Piped()
    shown.CopyFrom(piped)
    for key in shown.keys:
        key.hash = "redacted"
    return shown
