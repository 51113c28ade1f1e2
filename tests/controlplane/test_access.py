"""Authentication and authorization (invariants 13 and 14), tested over real gRPC and HTTP servers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import httpx
import pytest
from google.protobuf.message import Message
from grpc import aio

from pipecd.controlplane.auth.keys import LENGTH, Keys, hash_key, new_api_key, new_piped_key
from pipecd.controlplane.auth.sessions import Session
from pipecd.controlplane.auth.slow_hashes import SlowHashes
from pipecd.controlplane.rpc.table import CONSOLE, WEB, methods
from pipecd.errors import Unauthenticated
from pipecd.model.access import ADMIN, EDITOR, VIEWER
from pipecd.schema.agent import applications_pb2
from pipecd.schema.model.access_pb2 import ProjectRBACConfig
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.project_pb2 import Project
from tests.actors import TESTER
from tests.controlplane.server_fixture import (
    PROJECT,
    CallFailed,
    Console,
    ControlPlane,
    control_plane,
)
from tests.raw_grpc import unary


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with control_plane(tmp_path) as running:
        yield running


@pytest.fixture
async def channel(plane: ControlPlane) -> AsyncIterator[aio.Channel]:
    async with aio.insecure_channel(plane.address) as opened:
        yield opened


async def rpc(channel: aio.Channel, path: str, request: Message | bytes, credential: str) -> bytes:
    data = request if isinstance(request, bytes) else request.SerializeToString()
    metadata = (("authorization", credential),) if credential else ()
    return await unary(channel, path)(data, metadata=metadata, timeout=60)


async def code(channel: aio.Channel, path: str, request: Message | bytes, credential: str) -> str:
    try:
        await rpc(channel, path, request, credential)
    except aio.AioRpcError as error:
        return error.code().name
    return "OK"


PIPED = "/grpc.service.pipedservice.PipedService"
LIST = f"{PIPED}/ListApplications"
EMPTY = applications_pb2.ListApplicationsRequest()


async def test_an_agent_needs_its_own_key(plane: ControlPlane, channel: aio.Channel) -> None:
    piped_id, key = await plane.register_piped()
    other_id, other_key = await plane.register_piped("other")
    valid = f"PIPED-TOKEN {PROJECT},{piped_id},{key}"
    assert await code(channel, LIST, EMPTY, valid) == "OK"
    assert await code(channel, LIST, EMPTY, valid) == "OK"
    invalid = [
        "",
        "PIPED-TOKEN",
        f"PIPED-TOKEN {PROJECT},{piped_id}",
        f"PIPED-TOKEN {PROJECT},{piped_id},{key},",
        f"PIPED-TOKEN {PROJECT},{piped_id},{key[:-1]}",
        f"PIPED-TOKEN {PROJECT},{piped_id},{other_key}",
        f"PIPED-TOKEN {PROJECT},{other_id},{key}",
        f"PIPED-TOKEN other,{piped_id},{key}",
        f"PIPED-TOKEN nowhere,{piped_id},{key}",
        f"PIPED-TOKEN {PROJECT},missing,{key}",
        f"API-KEY {key}",
        f"piped-token {PROJECT},{piped_id},{key}",
    ]
    for credential in invalid:
        assert await code(channel, LIST, EMPTY, credential) == "UNAUTHENTICATED", credential


async def test_a_key_can_be_replaced_and_revoked(plane: ControlPlane, channel: aio.Channel) -> None:
    piped_id, first = await plane.register_piped()
    second = (await plane.console.call("RecreatePipedKey", id=piped_id)).key
    tokens = {key: f"PIPED-TOKEN {PROJECT},{piped_id},{key}" for key in (first, second)}
    assert [await code(channel, LIST, EMPTY, tokens[key]) for key in (first, second)] == ["OK", "OK"]
    with pytest.raises(CallFailed, match="delete the old one"):
        await plane.console.call("RecreatePipedKey", id=piped_id)
    await plane.console.call("DeleteOldPipedKeys", piped_id=piped_id)
    assert await code(channel, LIST, EMPTY, tokens[first]) == "UNAUTHENTICATED"
    assert await code(channel, LIST, EMPTY, tokens[second]) == "OK"
    await plane.console.call("DisablePiped", piped_id=piped_id)
    assert await code(channel, LIST, EMPTY, tokens[second]) == "UNAUTHENTICATED"


async def test_a_key_is_shown_once_and_stored_hashed(tmp_path: Path) -> None:
    """A dump of the database and the object store contains no usable credential."""
    async with control_plane(tmp_path) as plane:
        _, piped_key = await plane.register_piped()
        api_key = (await plane.console.call("GenerateAPIKey", name="ci", role=APIKey.READ_WRITE)).key
        secret = api_key.split(".")[1]
        pipeds = await plane.console.call("ListPipeds")
        keys = await plane.console.call("ListAPIKeys")
        assert pipeds.pipeds[0].keys[0].hash == keys.keys[0].key_hash == "redacted"
        assert secret not in str(keys)
    # The control plane has stopped, so the files no longer change.
    for file in [path for path in tmp_path.rglob("*") if path.is_file()]:
        content = file.read_bytes()
        for key in (piped_key, secret):
            assert key.encode() not in content, file


def test_keys_have_at_least_256_bits() -> None:
    assert len(new_piped_key()) == LENGTH >= 256 / 5.16
    key_id, key = new_api_key()
    assert key.startswith(f"{key_id}.") and len(key.split(".")[1]) == LENGTH
    assert new_piped_key() != new_piped_key()


async def test_a_cached_key_is_rejected_once_its_hash_is_deleted() -> None:
    keys, key = Keys(), new_piped_key()
    stored = hash_key(key)
    assert stored != hash_key(key), "salted"
    assert await keys.check(key, [stored]) == stored
    assert await keys.check(key, ["other", stored]) == stored
    with pytest.raises(Unauthenticated):
        await keys.check(key, [hash_key(new_piped_key())])
    with pytest.raises(Unauthenticated):
        await keys.check(key, [])


async def test_bcrypt_hashes_of_pipecd_are_accepted() -> None:
    stored = "$2a$04$WYvZtA8QG8sBlWQ9B7ZOQO2UGhzxhqy8S8yJzKp1B5mPVxN2B4vGK"
    with pytest.raises(Unauthenticated):
        await Keys().check("not the key", [stored])
    import bcrypt

    bcrypt_hash = bcrypt.hashpw(b"the key", bcrypt.gensalt(4)).decode()
    assert await Keys().check("the key", [bcrypt_hash]) == bcrypt_hash


async def test_calls_at_the_same_time_with_a_key_of_pipecd_cost_one_slow_hash() -> None:
    """After a restart, an agent makes many calls at once."""
    import bcrypt

    bcrypt_hash = bcrypt.hashpw(b"the key", bcrypt.gensalt(4)).decode()
    hashes = SlowHashes("test", threads=1, max_waiting=0)
    keys = Keys(hashes)
    assert set(await asyncio.gather(*(keys.check("the key", [bcrypt_hash]) for _ in range(50)))) == {
        bcrypt_hash
    }
    wrong = await asyncio.gather(
        *(keys.check(f"wrong {number}", [bcrypt_hash]) for number in range(3)), return_exceptions=True
    )
    assert sorted(type(error).__name__ for error in wrong) == ["Temporary", "Temporary", "Unauthenticated"]
    assert await keys.check("the key", [bcrypt_hash]) == bcrypt_hash, "a verified key needs none"


async def test_every_call_rejects_requests_without_credentials(
    plane: ControlPlane, channel: aio.Channel
) -> None:
    """Credentials are checked before the payload, in every call, on both servers."""
    for path, method in methods().items():
        if method.streams:
            method_: aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(path)
            stream = method_(b"", timeout=60)
            with pytest.raises(aio.AioRpcError) as rejected:
                await stream.read()
            assert rejected.value.code() is grpc.StatusCode.UNAUTHENTICATED, path
        else:
            assert await code(channel, path, b"\xff\xff\xff", "") == "UNAUTHENTICATED", path
    async with httpx.AsyncClient(timeout=60, verify=False) as http:
        for path, method in methods((WEB, CONSOLE)).items():
            if not path.startswith("/pipe."):
                kind = "application/connect+proto" if method.streams else "application/proto"
                response = await http.post(f"{plane.url}/api{path}", headers={"content-type": kind})
                assert response.status_code == 401 or b"unauthenticated" in response.content, path


async def test_a_deleted_role_grants_nothing(plane: ControlPlane, channel: aio.Channel) -> None:
    session = Session(project_id=PROJECT, username="user", roles=("Deleted",))
    cookie = "token=" + await plane.server.services.sessions.start(session, by=TESTER)
    with pytest.raises(aio.AioRpcError) as rejected:
        path = "/pipecd.v1.ConsoleService/PageApplications"
        await channel.unary_unary(path)(b"", metadata=(("cookie", cookie),), timeout=60)  # type: ignore[arg-type]
    assert rejected.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_groups_of_roles_are_user_groups(plane: ControlPlane, channel: aio.Channel) -> None:
    """`UpdateProjectRBACConfig` names one group for each built-in role, as older projects have it."""
    services = plane.server.services
    await services.store.create(Project(id="stored", created_at=1, updated_at=1), by=TESTER)
    session = Session(project_id="stored", username="user", roles=(ADMIN,))
    console = Console(plane.url)
    async with console.http:
        console.http.headers["cookie"] = "token=" + await services.sessions.start(session, by=TESTER)

        async def groups() -> list[tuple[str, str]]:
            project = (await console.call("GetProject")).project
            return [(group.sso_group, group.role) for group in project.user_groups]

        await console.call("AddProjectUserGroup", sso_group="org/c", role=VIEWER)
        config = ProjectRBACConfig(admin="org/a", editor="org/a", viewer="org/b")
        await console.call("UpdateProjectRBACConfig", rbac=config)
        assert await groups() == [("org/a", ADMIN), ("org/b", VIEWER), ("org/c", VIEWER)]
        with pytest.raises(CallFailed, match="already has a role"):
            await console.call("AddProjectUserGroup", sso_group="org/b", role=EDITOR)
        for group in ("org/a", "org/c"):
            await console.call("DeleteProjectUserGroup", sso_group=group)
        assert await groups() == [("org/b", VIEWER)]
        await console.call("UpdateProjectRBACConfig", rbac=ProjectRBACConfig(editor="org/d"))
        assert await groups() == [("org/d", EDITOR)]
        with pytest.raises(CallFailed, match="does not exist"):
            await console.call("DeleteProjectUserGroup", sso_group="org/b")
