"""Authentication: turns a credential into a caller. The caller's project scopes everything that follows.

Called by `guard` for every call. A disabled agent or a revoked key is rejected on its next call; if another
replica disabled it, when the change feed reports that.
"""

from dataclasses import dataclass, replace

from pipecd.controlplane.auth import keys
from pipecd.controlplane.auth.caller import Agent, Person, Program
from pipecd.controlplane.auth.sessions import COOKIE, Session
from pipecd.controlplane.services import Services
from pipecd.errors import NotFound, Unauthenticated
from pipecd.model.actor import Actor, ActorKind
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.piped_pb2 import Piped

PIPED_TOKEN = "PIPED-TOKEN"
BEARER = "Bearer"
API_KEY = "API-KEY"


@dataclass(frozen=True, kw_only=True)
class CallMetadata:
    """Metadata of a call as received from the caller; not verified.

    `action` is the path of the RPC. `peer` and `forwarded_for` as in `TrustedProxies.client_address`.
    """

    action: str
    authorization: str = ""
    cookie: str = ""
    instance: str = ""
    peer: str = ""
    forwarded_for: str = ""


async def authenticate_agent(services: Services, call: CallMetadata, scheme: str = PIPED_TOKEN) -> Agent:
    token = _credential(call.authorization, scheme).split(",")
    if len(token) != 3 or not all(token):
        raise Unauthenticated("the piped's token is malformed")
    project_id, piped_id, key = token
    try:
        piped = await services.credentials.get(Piped, piped_id)
    except NotFound:
        raise Unauthenticated(
            f"piped {piped_id} is not registered; register it in the console and use the id shown there"
        ) from None
    if piped.project_id != project_id or not await services.projects.exists(project_id):
        raise Unauthenticated(f"piped {piped_id} does not belong to project {project_id}")
    actor = _actor(services, call, ActorKind.PIPED, piped_id, piped.name, project_id)
    with services.refusals.recording(actor):
        key_hash = await services.keys.check(key, (piped_key.hash for piped_key in piped.keys))
        (piped_key,) = (candidate for candidate in piped.keys if candidate.hash == key_hash)
        if keys.is_expired(piped_key, services.now()):
            raise Unauthenticated(f"the key of piped {piped_id} has expired; add a new key in the console")
        if piped.disabled:
            raise Unauthenticated(f"piped {piped_id} is disabled; enable it in the console")
    return Agent(
        actor=actor,
        project_id=project_id,
        piped_id=piped_id,
        instance=call.instance,
        key_hash=key_hash,
    )


async def authenticate_program(services: Services, call: CallMetadata) -> Program:
    key = _credential(call.authorization, API_KEY)
    key_id, _, secret = key.partition(".")
    if not key_id or not secret or "." in secret:
        raise Unauthenticated("the API key is malformed")
    try:
        record = await services.credentials.get(APIKey, key_id)
    except NotFound:
        raise Unauthenticated("the API key is wrong") from None
    actor = _actor(services, call, ActorKind.API_KEY, key_id, record.name, record.project_id)
    with services.refusals.recording(actor):
        await services.keys.check(key, (record.key_hash,))
        if record.disabled:
            raise Unauthenticated(f"the API key {record.name} is disabled")
        if keys.is_expired(record, services.now()):
            raise Unauthenticated(f"the API key {record.name} has expired; create another one in the console")
    await _update_last_used(services, record, actor)
    return Program(
        actor=actor,
        project_id=record.project_id,
        key_id=key_id,
        key_name=record.name,
        may_write=record.role in (APIKey.READ_WRITE, APIKey.ADMIN),
        may_administer=record.role == APIKey.ADMIN,
    )


async def authenticate_person(services: Services, call: CallMetadata) -> Person:
    session = read_session(services, call.cookie)
    username, project_id = session.username, session.project_id
    person = Person(
        actor=_actor(services, call, ActorKind.PERSON, username, username, project_id),
        project_id=project_id,
        username=username,
        session=session,
    )
    return await refresh_person(services, person)


def read_session(services: Services, cookies: str) -> Session:
    """The session of the cookie. Raises Unauthenticated if there is none, or it is invalid or expired."""
    token = _cookie(cookies, COOKIE)
    if not token:
        raise Unauthenticated("sign in first")
    return services.sessions.read(token)


async def refresh_person(services: Services, person: Person) -> Person:
    """`person` with its current policies. Raises Unauthenticated if its session has ended."""
    session = await services.sessions.check(person.session, person.actor.address)
    session = await services.group_checks.confirm(session)
    if not await services.projects.exists(session.project_id):
        raise Unauthenticated(f"project {session.project_id} no longer exists; sign in to another project")
    roles = await services.projects.current_roles(session)
    try:
        policies = await services.projects.policies(session.project_id, roles)
    except NotFound:
        policies = ()
    return replace(person, session=session, policies=policies)


def _actor(
    services: Services, call: CallMetadata, kind: ActorKind, id: str, name: str, project_id: str
) -> Actor:
    address = services.proxies.client_address(call.peer, call.forwarded_for)
    return Actor(kind=kind, id=id, name=name, action=call.action, project_id=project_id, address=address)


async def _update_last_used(services: Services, record: APIKey, actor: Actor) -> None:
    now = services.now()
    if now - record.last_used_at < services.settings.auth.last_used_interval:
        return

    def set_last_used(key: APIKey) -> None:
        key.last_used_at = max(key.last_used_at, now)

    await services.store.update(APIKey, record.id, set_last_used, by=replace(actor, action="use-key"))


def _credential(authorization: str, scheme: str) -> str:
    given_scheme, _, data = authorization.partition(" ")
    if given_scheme != scheme or not data or " " in data:
        raise Unauthenticated(f"the credential must be sent as `authorization: {scheme} …`")
    return data


def _cookie(cookies: str, name: str) -> str:
    for pair in cookies.split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name:
            return value
    return ""
