"""A credential → who calls. The project of everything that follows comes from here.

Called by `guard` for every call. A disabled agent or a revoked key is refused at its very next call, or
within a second where another replica disabled it.
"""

from pipecd.controlplane.auth.caller import Agent, Person, Program
from pipecd.controlplane.auth.sessions import COOKIE
from pipecd.controlplane.services import Plane
from pipecd.errors import NotFound, Unauthenticated
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.piped_pb2 import Piped

PIPED_TOKEN = "PIPED-TOKEN"
API_KEY = "API-KEY"
#: `last_used_at` of an API key is written at most this often (seconds).
USED_EVERY = 300


async def agent(plane: Plane, authorization: str, instance: str) -> Agent:
    token = _data(authorization, PIPED_TOKEN).split(",")
    if len(token) != 3 or not all(token):
        raise Unauthenticated("the piped's token is malformed")
    project_id, piped_id, key = token
    try:
        piped = await plane.credentials.get(Piped, piped_id)
    except NotFound:
        raise Unauthenticated(
            f"piped {piped_id} is not registered; register it in the console and use the id shown there"
        ) from None
    if piped.project_id != project_id or not await plane.projects.exists(project_id):
        raise Unauthenticated(f"piped {piped_id} does not belong to project {project_id}")
    fitting = await plane.keys.check(key, (one.hash for one in piped.keys))
    if piped.disabled:
        raise Unauthenticated(f"piped {piped_id} is disabled; enable it in the console")
    return Agent(project_id=project_id, piped_id=piped_id, instance=instance, key_hash=fitting)


async def program(plane: Plane, authorization: str) -> Program:
    key = _data(authorization, API_KEY)
    key_id, _, secret = key.partition(".")
    if not key_id or not secret or "." in secret:
        raise Unauthenticated("the API key is malformed")
    try:
        record = await plane.credentials.get(APIKey, key_id)
    except NotFound:
        raise Unauthenticated("the API key is wrong") from None
    await plane.keys.check(key, (record.key_hash,))
    if record.disabled:
        raise Unauthenticated(f"the API key {record.name} is disabled")
    await _used(plane, record)
    may_write = record.role == APIKey.READ_WRITE
    return Program(project_id=record.project_id, key_id=key_id, key_name=record.name, may_write=may_write)


async def person(plane: Plane, cookies: str) -> Person:
    token = _cookie(cookies, COOKIE)
    if not token:
        raise Unauthenticated("sign in first")
    session = plane.sessions.read(token)
    try:
        policies = await plane.projects.policies(session.project_id, session.roles)
        known = await plane.projects.exists(session.project_id)
    except NotFound:
        known, policies = False, ()
    if not known:
        raise Unauthenticated(f"project {session.project_id} is gone; sign in to another")
    return Person(
        project_id=session.project_id,
        username=session.username,
        avatar_url=session.avatar_url,
        policies=policies,
    )


async def _used(plane: Plane, record: APIKey) -> None:
    now = plane.now()
    if now - record.last_used_at < USED_EVERY:
        return

    def used(key: APIKey) -> None:
        key.last_used_at = max(key.last_used_at, now)

    await plane.store.update(APIKey, record.id, used)


def _data(authorization: str, scheme: str) -> str:
    kind, _, data = authorization.partition(" ")
    if kind != scheme or not data or " " in data:
        raise Unauthenticated(f"the credential must be given as `authorization: {scheme} …`")
    return data


def _cookie(cookies: str, name: str) -> str:
    for pair in cookies.split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name:
            return value
    return ""
