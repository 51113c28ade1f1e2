"""Registers agents, manages their keys, enables and disables them, and determines whether they are online."""

import base64
from collections.abc import Callable, Iterable
from uuid import uuid4

from pipecd.controlplane.auth import keys
from pipecd.controlplane.auth.caller import Caller
from pipecd.controlplane.records import ownership
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.kinds import DISCONNECTED, HEARTBEAT, STATISTICS
from pipecd.controlplane.store.leases import piped_lease_name
from pipecd.controlplane.store.secret_fields import redact
from pipecd.encryption import encrypt
from pipecd.errors import ConfigError, Conflict, PermissionDenied, Refused
from pipecd.schema.model.piped_pb2 import Piped, PipedKey

#: What agents of this project report as their package.
PACKAGE = "pipecd"
#: Keys that may be valid at the same time: the current one and its successor.
MAX_KEYS = 2
#: How long an agent without an open stream counts as online after its last statistics report, in seconds.
STATS_LIFETIME = 120


async def register(
    services: Services, caller: Caller, name: str, desc: str, creator: str, key_lifetime: int = 0
) -> tuple[str, str]:
    """Register a piped and return its ID and its key. The key is not shown again."""
    if not name.strip():
        raise Refused("the name of the piped must not be empty", field="name")
    key = keys.new_piped_key()
    now = services.now()
    piped = Piped(
        id=str(uuid4()),
        name=name,
        desc=desc,
        project_id=caller.project_id,
        status=Piped.OFFLINE,
        keys=[_build_key(services, key, creator, key_lifetime)],
        created_at=now,
        updated_at=now,
    )
    await services.store.create(piped, by=caller.actor)
    return piped.id, key


async def add_key(
    services: Services, caller: Caller, piped_id: str, creator: str, key_lifetime: int = 0
) -> str:
    """Create a second key, valid together with the first one until `delete_old_keys`."""
    key = keys.new_piped_key()
    piped_key = _build_key(services, key, creator, key_lifetime)

    def alter(record: Piped) -> None:
        if len(record.keys) >= MAX_KEYS:
            raise Conflict(f"piped {record.name} already has {MAX_KEYS} keys; delete the old one first")
        record.keys.insert(0, piped_key)

    await change(services, caller, piped_id, alter)
    return key


def _build_key(services: Services, key: str, creator: str, lifetime: int) -> PipedKey:
    """`lifetime` in seconds; see `keys.expires_at`."""
    now = services.now()
    expires_at = keys.expires_at(now, lifetime, services.key_lifetimes.piped_key)
    return PipedKey(hash=keys.hash_key(key), creator=creator, created_at=now, expires_at=expires_at)


async def delete_old_keys(services: Services, caller: Caller, piped_id: str) -> None:
    def alter(record: Piped) -> None:
        del record.keys[1:]

    await change(services, caller, piped_id, alter)


async def set_disabled(services: Services, caller: Caller, piped_id: str, *, disabled: bool) -> None:
    def alter(record: Piped) -> None:
        record.disabled = disabled

    await change(services, caller, piped_id, alter)


async def change(services: Services, caller: Caller, piped_id: str, alter: Callable[[Piped], None]) -> None:
    await ownership.change(services, caller, Piped, piped_id, alter, PermissionDenied)


async def with_status(services: Services, project_id: str, pipeds: Iterable[Piped]) -> list[Piped]:
    """Redacted copies of `pipeds` with their current status."""
    stats = await services.store.list_metadata(STATISTICS, project_id)
    disconnects = await services.store.list_metadata(DISCONNECTED, project_id)
    copies = [redact(piped) for piped in pipeds]
    connected = await _find_connected(services, [piped.id for piped in copies])
    for piped in copies:
        reported_at = stats.get(piped.id, (b"", 0))[1]
        disconnected_at = disconnects.get(piped.id, (b"", 0))[1]
        recent = reported_at > disconnected_at and services.now() - reported_at // 1_000_000 <= STATS_LIFETIME
        online = piped.id in connected or recent
        piped.status = Piped.ONLINE if online and not piped.disabled else Piped.OFFLINE
    return copies


async def last_seen(services: Services, project_id: str, pipeds: Iterable[Piped]) -> dict[str, int]:
    """Piped ID → epoch seconds of the last contact, for all `pipeds` of the project.

    Agents that never connected are omitted.
    """
    seen: dict[str, int] = {}
    for kind in (STATISTICS, DISCONNECTED):
        for piped_id, (_, touched) in (await services.store.list_metadata(kind, project_id)).items():
            seen[piped_id] = max(seen.get(piped_id, 0), touched // 1_000_000)
    connected = await _find_connected(services, [piped.id for piped in pipeds])
    return seen | dict.fromkeys(connected, services.now())


async def last_contacts(services: Services, project_id: str) -> dict[str, float]:
    """Enabled agents that were ever connected → epoch seconds of the last sign that their event loop runs."""
    ids = await lists.enabled_piped_ids(services.store, project_id)
    connected = await _find_connected(services, ids)
    reports = [
        await services.store.list_metadata(kind, project_id) for kind in (STATISTICS, DISCONNECTED, HEARTBEAT)
    ]
    contacts: dict[str, float] = {}
    for piped_id in ids:
        reported_at, disconnected_at, beat_at = (report.get(piped_id, (b"", 0))[1] for report in reports)
        heard_at = max(reported_at, disconnected_at, beat_at)
        if piped_id in connected and _responds(services, beat_at, disconnected_at):
            contacts[piped_id] = services.clock.now()
        elif heard_at:
            contacts[piped_id] = heard_at / 1_000_000
    return contacts


async def responds_until(services: Services, piped_id: str) -> float:
    """Epoch seconds until which a connected agent counts as responding, without further heartbeats.

    0 if it does not respond. An agent that has sent none since it was connected may be an older one, which
    sends none: it responds.
    """
    now, valid = services.clock.now(), services.settings.watch.response_timeout
    beat = await services.store.get_metadata(HEARTBEAT, piped_id)
    if beat is None:
        return now + valid
    if _responds(services, beat[1], 0):
        return beat[1] / 1_000_000 + valid
    # Only after an old heartbeat it matters whether the agent has been disconnected since.
    left = await services.store.get_metadata(DISCONNECTED, piped_id)
    return now + valid if _responds(services, beat[1], left[1] if left else 0) else 0.0


async def find_not_responding(services: Services, project_id: str, pipeds: Iterable[Piped]) -> list[str]:
    """The IDs of the agents that are connected, but whose event loop is blocked or overloaded."""
    connected = await _find_connected(services, [piped.id for piped in pipeds if not piped.disabled])
    beats = await services.store.list_metadata(HEARTBEAT, project_id)
    disconnects = await services.store.list_metadata(DISCONNECTED, project_id)
    return [
        piped_id
        for piped_id in sorted(connected)
        if not _responds(services, beats.get(piped_id, (b"", 0))[1], disconnects.get(piped_id, (b"", 0))[1])
    ]


def _responds(services: Services, beat_at: int, disconnected_at: int) -> bool:
    """Times in epoch microseconds; 0 means never."""
    if beat_at <= disconnected_at:
        return True
    return services.clock.now() - beat_at / 1_000_000 <= services.settings.watch.response_timeout


async def _find_connected(services: Services, piped_ids: Iterable[str]) -> set[str]:
    """The IDs of the agents with an open stream."""
    ids = {piped_lease_name(piped_id): piped_id for piped_id in piped_ids}
    return {ids[name] for name in await services.store.leases.find_held(ids.keys())}


async def encrypt_secret(
    services: Services, caller: Caller, piped_id: str, text: str, *, in_base64: bool
) -> str:
    """Encrypt `text` so that only this piped can decrypt it. Raises Conflict if it has no usable key pair."""
    piped = await ownership.get(services, caller, Piped, piped_id)
    encryption = piped.secret_encryption
    if encryption.type != "KEY_PAIR" or not encryption.public_key:
        raise Conflict(
            f"piped {piped.name} has no key pair for secrets; configure one under spec.secretManagement"
        )
    plain = text.encode()
    try:
        return encrypt(encryption.public_key, base64.standard_b64encode(plain) if in_base64 else plain)
    except ConfigError as error:
        raise Conflict(f"piped {piped.name} cannot receive secrets: {error}") from error
