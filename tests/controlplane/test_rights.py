"""Every method of every service × every kind of caller × records of others (invariants 14 and 18).

The calls pass the guard and the handlers in this process, without a network: thousands of them take seconds.
"""

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipecd import controlplane
from pipecd.controlplane.auth.keys import hash_key, new_api_key, new_piped_key
from pipecd.controlplane.auth.sessions import Session
from pipecd.controlplane.rpc import guard, identity
from pipecd.controlplane.rpc.identity import CallMetadata
from pipecd.controlplane.rpc.method import ApiKey, Method, PipedKey
from pipecd.controlplane.rpc.table import methods
from pipecd.controlplane.services import Services
from pipecd.controlplane.store.kinds import KINDS
from pipecd.controlplane.store.tables import audit
from pipecd.errors import PermissionDenied, PipecdError, Unauthenticated
from pipecd.model.access import ADMIN
from pipecd.schema.model.access_pb2 import ProjectRBACPolicy, ProjectRBACResource, ProjectRBACRole
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.chain_pb2 import DeploymentChain
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.event_pb2 import Event
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.model.piped_pb2 import PipedKey as StoredKey
from pipecd.schema.model.project_pb2 import Project
from tests.actors import TESTER
from tests.controlplane.method_rights import NEEDS, ROLES, needs_by_method
from tests.controlplane.server_fixture import ENCRYPTION_KEY, spec
from tests.controlplane.writing_calls import NOT_AUDITED, TEAM, WRITES, records

OUTSIDER = "outside"
#: Names of records with labels, and of others.
SECRET, FOREIGN = "HIDDEN-NAME", "FOREIGN-NAME"
METHODS: Mapping[str, Method] = {
    f"{method.service.rpartition('.')[2]}/{method.name}": method
    for path, method in methods().items()
    if not path.startswith("/pipe.")
}
ROLE_NAMES = (ADMIN, *ROLES)
KEY_ROLES = {"READ_ONLY": APIKey.READ_ONLY, "READ_WRITE": APIKey.READ_WRITE, "ADMIN": APIKey.ADMIN}


@dataclass(frozen=True, kw_only=True)
class Credential:
    """`authorization` is without its scheme; `grants` are the needs of `method_rights` that it fulfils."""

    grants: frozenset[str] = frozenset()
    authorization: str = ""
    cookie: str = ""
    #: Whether it is refused whatever is called.
    invalid: bool = False


@dataclass(frozen=True, kw_only=True)
class World:
    services: Services
    #: Of the project TEAM.
    credentials: Mapping[str, Credential]
    #: Of another project, where they may do everything.
    outside_credentials: Mapping[str, Credential]
    #: May do everything with records of TEAM that have a label, which none has.
    labelled: Credential

    async def authorize(self, method: Method, credential: Credential) -> Any:
        scheme = identity.API_KEY
        if isinstance(method.needs, PipedKey):
            scheme = identity.BEARER if method.needs.bearer else identity.PIPED_TOKEN
        call = CallMetadata(
            action=method.path,
            authorization=f"{scheme} {credential.authorization}" if credential.authorization else "",
            cookie=credential.cookie,
        )
        return await guard.authorize(self.services, method, call)

    async def call(self, key: str, credential: Credential, fields: Mapping[str, Any]) -> bytes:
        """The response, or the text of the error."""
        method = METHODS[key]
        try:
            caller = await self.authorize(method, credential)
            response = await guard.serve(self.services, method, caller, method.request(**fields))
        except PipecdError as error:
            return str(error).encode()
        return response.SerializeToString()

    async def records(self, project_id: str) -> Mapping[tuple[str, str], int]:
        """Kind and id of each record of the project → its version."""
        found = {}
        for kind in KINDS.values():
            query = sa.select(kind.table.c.id, kind.table.c.version).where(
                kind.table.c.project_id == project_id
            )
            for row in await self.services.store.database.rows(query):
                found[kind.name, row.id] = row.version
        return found


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    options = controlplane.Options(encryption_key=ENCRYPTION_KEY)
    async with controlplane.open_services(spec(tmp_path), options) as services:
        yield await populate(services)


async def populate(services: Services) -> World:
    store = services.store
    for record in records():
        labelled = isinstance(record, Application | Deployment | Event)
        for field in ("name", "application_name"):
            if field in record.DESCRIPTOR.fields_by_name:
                setattr(record, field, SECRET if labelled else FOREIGN)
        if isinstance(record, Piped):
            record.config = f"notifications for {SECRET}"
        if isinstance(record, Project):
            resource = ProjectRBACResource(type=ProjectRBACResource.DEPLOYMENT)
            record.rbac_roles.add(
                name="deployer",
                policies=[ProjectRBACPolicy(resources=[resource], actions=[ProjectRBACPolicy.UPDATE])],
            )
            record.rbac_roles.append(labelled_role())
        await store.create(record, by=TESTER)
    chain = DeploymentChain(id="chain", project_id=TEAM, created_at=1, updated_at=1)
    node = chain.blocks.add().nodes.add()
    node.application_ref.application_id, node.application_ref.application_name = "app", SECRET
    await store.create(chain, by=TESTER)
    await store.create(Project(id=OUTSIDER, created_at=1, updated_at=1), by=TESTER)
    credentials = {"none": Credential(invalid=True)}
    credentials["malformed"] = Credential(authorization="x", cookie="token=x.y.z", invalid=True)
    for role in ROLE_NAMES:
        credentials[f"session of {role}"] = await session(services, TEAM, role)
    for role in KEY_ROLES:
        credentials[f"API key {role}"] = await api_key(services, TEAM, role)
        credentials[f"disabled API key {role}"] = await api_key(services, TEAM, role, disabled=True)
    credentials["piped"] = await piped_key(services, TEAM, "home")
    credentials["disabled piped"] = await piped_key(services, TEAM, "off", disabled=True)
    ended = await services.sessions.start(Session(project_id=TEAM, username="x", roles=(ADMIN,)), by=TESTER)
    await services.sessions.end(services.sessions.read(ended), by=TESTER)
    credentials["ended session"] = Credential(cookie=f"token={ended}", invalid=True)
    outside_credentials = {
        "session": await session(services, OUTSIDER, ADMIN),
        "API key": await api_key(services, OUTSIDER, "ADMIN"),
        "piped": await piped_key(services, OUTSIDER, "theirs"),
    }
    return World(
        services=services,
        credentials=credentials,
        outside_credentials=outside_credentials,
        labelled=await session(services, TEAM, "labelled"),
    )


def labelled_role() -> ProjectRBACRole:
    resource = ProjectRBACResource(type=ProjectRBACResource.ALL, labels={"env": "dev"})
    policy = ProjectRBACPolicy(resources=[resource], actions=[ProjectRBACPolicy.ALL])
    return ProjectRBACRole(name="labelled", policies=[policy])


async def session(services: Services, project_id: str, role: str) -> Credential:
    started = Session(project_id=project_id, username=f"user-{role}", roles=(role,))
    token = await services.sessions.start(started, by=TESTER)
    rights = {needs for needs in NEEDS if needs.count(" ") == 1 and needs.split()[1].isupper()}
    if role != ADMIN:
        rights &= {f"{kind} {action}" for kind, actions in ROLES.get(role, {}).items() for action in actions}
    return Credential(grants=frozenset(rights | {"session"}), cookie=f"other=1; token={token}")


async def api_key(services: Services, project_id: str, role: str, *, disabled: bool = False) -> Credential:
    key_id, key = new_api_key()
    record = APIKey(id=key_id, name=role, project_id=project_id, key_hash=hash_key(key), disabled=disabled)
    record.role, record.last_used_at = KEY_ROLES[role], services.now() + 10_000
    await services.store.create(record, by=TESTER)
    lower = itertools.takewhile(lambda other: other != role, KEY_ROLES)
    grants = frozenset(f"API key {granted}" for granted in (*lower, role))
    return Credential(grants=grants, authorization=key, invalid=disabled)


async def piped_key(
    services: Services, project_id: str, piped_id: str, *, disabled: bool = False
) -> Credential:
    key = new_piped_key()
    stored = StoredKey(hash=hash_key(key), creator="me", created_at=1)
    piped = Piped(id=piped_id, name=piped_id, project_id=project_id, keys=[stored], disabled=disabled)
    await services.store.create(piped, by=TESTER)
    grants = frozenset({"piped key", "piped key as bearer"})
    return Credential(grants=grants, authorization=f"{project_id},{piped_id},{key}", invalid=disabled)


def test_every_method_is_listed() -> None:
    assert needs_by_method().keys() == METHODS.keys(), "add it to tests/controlplane/method_rights.py"


async def test_every_method_admits_the_callers_that_may_call_it(world: World) -> None:
    decided: Counter[str] = Counter()
    wrong = []
    for key, needs in needs_by_method().items():
        for name, credential in world.credentials.items():
            try:
                await world.authorize(METHODS[key], credential)
                outcome = "admitted"
            except PermissionDenied:
                outcome = "denied"
            except Unauthenticated:
                outcome = "unauthenticated"
            decided[outcome] += 1
            if outcome != expected(METHODS[key], needs, credential):
                wrong.append((key, needs, name, outcome))
    assert wrong == []
    assert min(decided.values()) > 200 and sum(decided.values()) > 2000, decided


def expected(method: Method, needs: str, credential: Credential) -> str:
    if credential.invalid:
        return "unauthenticated"
    if needs in credential.grants:
        return "admitted"
    of_same_kind = bool(credential.cookie) != isinstance(method.needs, PipedKey | ApiKey)
    if credential.authorization:
        of_same_kind = isinstance(method.needs, PipedKey if "," in credential.authorization else ApiKey)
    return "denied" if of_same_kind else "unauthenticated"


async def test_no_call_reaches_another_project(world: World) -> None:
    """Invariant 14: a caller who may do everything in its own project makes every call about this one."""
    before, answered = await world.records(TEAM), 0
    for key, method in METHODS.items():
        credential = world.outside_credentials[kind_of(method)]
        for fields in requests(key, method):
            response = await world.call(key, credential, fields)
            assert SECRET.encode() not in response and FOREIGN.encode() not in response, key
            answered += 1
    assert answered > 150
    assert await world.records(TEAM) == before
    query = sa.select(audit.c.action).where(audit.c.project_id == TEAM, audit.c.actor_project_id == OUTSIDER)
    assert await world.services.store.database.rows(query) == []


async def test_labels_hide_what_is_outside_of_them_from_every_call(world: World) -> None:
    """No record has the label. What the role may do with other kinds changes those only."""
    kinds = ("application", "deployment", "event")
    before = {key: version for key, version in (await world.records(TEAM)).items() if key[0] in kinds}
    for key, method in METHODS.items():
        if kind_of(method) != "session":
            continue
        for fields in requests(key, method):
            response = await world.call(key, world.labelled, fields)
            assert SECRET.encode() not in response, key
    after = {key: version for key, version in (await world.records(TEAM)).items() if key[0] in kinds}
    assert after == before


def kind_of(method: Method) -> str:
    if isinstance(method.needs, PipedKey):
        return "piped"
    return "API key" if isinstance(method.needs, ApiKey) else "session"


def requests(key: str, method: Method) -> Iterable[Mapping[str, Any]]:
    """Requests about records of TEAM: the one that changes something, and one with every id there is."""
    if method.streams:
        return []
    if key in WRITES:
        return [WRITES[key].fields]
    if key in NOT_AUDITED:
        return [NOT_AUDITED[key]]
    ids = {"application_id": "app", "piped_id": "spare", "command_id": "command", "stage_id": "stage"}
    ids |= {"id": "running", "resource_id": "r", "deployment_chain_id": "chain"}
    names = method.request.DESCRIPTOR.fields_by_name
    found = []
    for deployment in ("running", "deployed"):
        values = {name: id for name, id in (ids | {"deployment_id": deployment}).items() if name in names}
        found.append(values)
    return found
