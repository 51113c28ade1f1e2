"""Hostile requests to every entry point: none is an internal error, none blocks the event loop.

Each RPC gets random bytes, deeply nested messages, and messages with hostile values in some fields, from a
caller with a valid credential. `FUZZ_SEED` and `FUZZ_ROUNDS` vary and extend them.
"""

import asyncio
import base64
import json
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from grpc import aio

from pipecd.controlplane.rpc import otlp
from pipecd.controlplane.rpc.method import ApiKey, Method, PipedKey
from pipecd.controlplane.rpc.table import CONSOLE, WEB, methods
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.trace_export.collector import EXPORT_PATH
from tests.actors import TESTER
from tests.controlplane.requests import add_item, fields_of, fill, is_map, map_value
from tests.controlplane.server_fixture import PROJECT, ControlPlane, control_plane
from tests.controlplane.writing_calls import deployment
from tests.loop_latency import loop_latency

SEED, ROUNDS = int(os.environ.get("FUZZ_SEED", "1")), int(os.environ.get("FUZZ_ROUNDS", "6"))
#: What a caller may learn about its own request. UNAVAILABLE would make it try again.
ANSWERS = {
    "OK",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "FAILED_PRECONDITION",
    "PERMISSION_DENIED",
    "UNIMPLEMENTED",
    "RESOURCE_EXHAUSTED",
}


def cursor(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode()


TEXTS = [
    "",
    "\0",
    "a\0b",
    "\ufeff",
    "é" * 1000,
    "x" * 100_000,
    "a " * 20_000,
    "../../etc/passwd",
    "' OR 1=1 --",
    "%",
    "\\",
    "\U0001f600",
    "\n\n",
    "http://[",
    cursor(b'{"UpdatedAt":%d,"Id":"x"}' % 10**30),
    cursor(b'{"UpdatedAt":-1,"Id":"x"}'),
    cursor(b'{"UpdatedAt":Infinity,"Id":"x"}'),
    cursor(b'{"UpdatedAt":1e400,"Id":"x"}'),
    cursor(b'{"UpdatedAt":1,"Id":"\\ud800"}'),
    cursor(b'{"UpdatedAt":1,"Id":"a\\u0000"}'),
    cursor(b'{"UpdatedAt":' + b"9" * 2900 + b',"Id":"x"}'),
    cursor(b"[" * 3000),
    cursor(b"[1]"),
    "é!",
]
SHORT_TEXTS = [text for text in TEXTS if len(text) < 100]
NUMBERS = [0, -1, 1, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 10**12]


def hostile_value(field: FieldDescriptor, rng: random.Random) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            text = rng.choice(TEXTS)
            return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
        case FieldDescriptor.CPPTYPE_BOOL:
            return rng.random() < 0.5
        case FieldDescriptor.CPPTYPE_ENUM:
            return rng.choice([0, 1, 2, 99, -1, 2**31 - 1])
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return rng.choice([float("nan"), float("inf"), -1.0])
    return rng.choice(NUMBERS)


def mutate(message: Message, rng: random.Random, depth: int = 0) -> Any:
    """Set up to three fields of `message` to hostile values."""
    fields = fields_of(message.DESCRIPTOR)
    for field in rng.sample(fields, min(len(fields), rng.randint(1, 3))):
        try:
            _mutate_field(message, field, rng, depth)
        except (ValueError, TypeError):
            # Python refuses to set what the wire format cannot have, such as a number that is too large.
            continue
    return message


def _mutate_field(message: Message, field: FieldDescriptor, rng: random.Random, depth: int) -> None:
    values: Any = getattr(message, field.name)
    if is_map(field):
        member = map_value(field)
        for number in range(rng.choice([1, 3, 2000])):
            key = f"{rng.choice(SHORT_TEXTS)}{number}"
            if member.message_type:
                values[key].SetInParent()
            else:
                values[key] = rng.choice(SHORT_TEXTS) if number else hostile_value(member, rng)
    elif field.message_type and field.is_repeated:
        for _ in range(rng.choice([1, 2, 10]) if depth < 2 else 1):
            mutate(add_item(message, field), rng, depth + 1)
    elif field.message_type and depth < 5:
        values.SetInParent()
        mutate(fill(values), rng, depth + 1)
    elif field.is_repeated:
        values.extend([hostile_value(field, rng)] * (1 if depth else rng.choice([1, 2, 1200])))
        del values[1 if len(str(values[0])) > 1000 else 1200 :]
    elif not field.message_type:
        setattr(message, field.name, hostile_value(field, rng))


def nested(depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = b"\x0a" + varint(len(data)) + data
    return data


def varint(number: int) -> bytes:
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    return bytes((*data, number))


#: Not messages, or messages with a multitude of members that the request has or has not.
BODIES: Sequence[bytes] = (
    b"\x0a\xff\xff\xff\xff\x0f" + b"a" * 100,
    b"\x0b" * 50_000,
    nested(2_000),
    b"\x22\x00" * 500_000,
    b"\x0a\x00" * 500_000,
    b"\x32\x04\x0a\x00\x12\x00" * 150_000,
)


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    webhooks = [{"provider": "GITLAB", "secret": "the secret"}]
    async with control_plane(tmp_path, webhooks=webhooks) as running:
        yield running


@pytest.fixture
async def credential(plane: ControlPlane) -> Callable[[Method], Sequence[tuple[str, str]]]:
    """The metadata of a caller that may make a call."""
    piped_id, piped_key = await plane.register_piped()
    api_key = (await plane.console.call("GenerateAPIKey", name="ci", role=APIKey.READ_WRITE)).key
    record = deployment("x", status=2)
    record.project_id, record.piped_id = PROJECT, piped_id
    await plane.server.services.store.create(record, by=TESTER)
    token = plane.console.http.cookies["token"]

    def metadata(method: Method) -> Sequence[tuple[str, str]]:
        match method.needs:
            case PipedKey():
                return (("authorization", f"PIPED-TOKEN {PROJECT},{piped_id},{piped_key}"),)
            case ApiKey():
                return (("authorization", f"API-KEY {api_key}"),)
        return (("cookie", f"token={token}"),)

    return metadata


async def call(channel: aio.Channel, method: Method, data: bytes, metadata: Sequence[tuple[str, str]]) -> str:
    try:
        if method.streams:
            open_stream: Any = channel.unary_stream(method.path)
            stream = open_stream(data, metadata=metadata, timeout=60)
            async for _ in stream:
                stream.cancel()
                return "OK"
        else:
            make: Any = channel.unary_unary(method.path)
            await make(data, metadata=metadata, timeout=60)
    except aio.AioRpcError as error:
        return error.code().name
    return "OK"


def requests_of(method: Method, rng: random.Random) -> list[bytes]:
    mutated = [mutate(fill(method.request()), rng).SerializeToString() for _ in range(ROUNDS)]
    return [data for data in (rng.randbytes(200), *mutated) if len(data) < 4 * 1024 * 1024]


async def test_no_request_is_an_internal_error_or_blocks_the_loop(
    plane: ControlPlane, credential: Callable[[Method], Sequence[tuple[str, str]]]
) -> None:
    rng = random.Random(SEED)
    table = {method.handler: method for method in methods().values()}
    failures: list[tuple[str, str, bytes]] = []
    channel = aio.insecure_channel(plane.address, options=[("grpc.max_receive_message_length", -1)])
    async with channel, loop_latency() as latency:
        for method in table.values():
            # In a thread: making the requests takes up to a quarter of a second, and is not what is measured.
            for data in await asyncio.to_thread(requests_of, method, rng):
                code = await call(channel, method, data, credential(method))
                if code not in ANSWERS:
                    failures.append((method.path, code, data[:200]))
    assert not failures
    latency.check()


async def test_large_bodies_do_not_block_the_loop(
    plane: ControlPlane, credential: Callable[[Method], Sequence[tuple[str, str]]]
) -> None:
    table = methods()
    paths = (
        "/grpc.service.pipedservice.PipedService/ReportStageLogs",
        "/grpc.service.pipedservice.PipedService/ReportApplicationLiveState",
        "/grpc.service.pipedservice.PipedService/ReportDeploymentPlanned",
        "/grpc.service.apiservice.APIService/ListDeployments",
        "/pipecd.v1.ConsoleService/PageApplications",
    )
    async with aio.insecure_channel(plane.address) as channel, loop_latency() as latency:
        for path in paths:
            for data in BODIES:
                assert await call(channel, table[path], data, credential(table[path])) in ANSWERS
    latency.check()


JSON_BODIES = {
    "nested": b'{"options":' + b"[" * 100_000,
    "pairs": json.dumps({"labels": {f"k{number}": "v" for number in range(15_000)}}).encode(),
    "numbers": b'{"pageSize":' + b"9" * 200_000 + b"}",
    "names": json.dumps({f"unknown{number}": number for number in range(10_000)}).encode(),
    "too large": b" " * 3_000_000,
}


@pytest.mark.parametrize("body", JSON_BODIES.values(), ids=JSON_BODIES)
async def test_no_json_request_is_an_internal_error_or_blocks_the_loop(
    plane: ControlPlane, body: bytes
) -> None:
    async with loop_latency() as latency:
        for service, name in (
            (CONSOLE, "PageApplications"),
            (WEB, "ListDeployments"),
            (WEB, "RegisterPiped"),
        ):
            response = await plane.console.http.post(
                f"{plane.url}/api/{service.full_name}/{name}",
                content=body,
                headers={"content-type": "application/json"},
            )
            assert response.status_code in (200, 400, 413, 429), (
                name,
                response.status_code,
                response.text[:200],
            )
    latency.check()


async def test_no_http_request_is_an_internal_error_or_blocks_the_loop(plane: ControlPlane) -> None:
    rng = random.Random(SEED)
    paths = [
        "/",
        "/auth/login/static",
        "/auth/logout",
        "/hooks/gitlab",
        "/hooks/%00",
        "/assets/../x",
        "/%ff/%00",
    ]
    contents: list[bytes] = [*BODIES, *(text.encode() for text in TEXTS), rng.randbytes(10_000)]
    types = ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json", ""]
    async with httpx.AsyncClient(base_url=plane.url, verify=False) as client, loop_latency() as latency:
        for path in paths:
            for content in contents:
                headers = {"content-type": rng.choice(types), "x-gitlab-token": "the secret"}
                method = rng.choice(["GET", "POST", "PUT", "HEAD"])
                response = await client.request(method, path, content=content, headers=headers)
                assert response.status_code != 500, (method, path, content[:100], headers)
    latency.check()


async def test_no_changed_credential_is_accepted(
    plane: ControlPlane, credential: Callable[[Method], Sequence[tuple[str, str]]]
) -> None:
    rng, table = random.Random(SEED), {**methods(), **otlp.METHODS}
    ((_, piped_token),) = credential(table["/grpc.service.pipedservice.PipedService/GetDesiredVersion"])
    ((_, api_key),) = credential(table["/grpc.service.apiservice.APIService/ListApplications"])
    valid = {
        "/grpc.service.pipedservice.PipedService/GetDesiredVersion": piped_token,
        "/grpc.service.apiservice.APIService/ListApplications": api_key,
        EXPORT_PATH: piped_token.replace("PIPED-TOKEN", "Bearer"),
    }
    async with aio.insecure_channel(plane.address) as channel, loop_latency() as latency:
        for path, authorization in valid.items():
            assert await call(channel, table[path], b"", [("authorization", authorization)]) == "OK"
            others = {other for other in valid.values() if other != authorization}
            others |= {
                "",
                " ",
                ",",
                "Bearer",
                "Bearer ,,",
                "PIPED-TOKEN a,b,c",
                "API-KEY .",
                "API-KEY a.b.c",
                "x" * 7000,
            }
            for _ in range(10 * ROUNDS):
                position = rng.randrange(len(authorization))
                others |= {
                    authorization[:position],
                    authorization[position:],
                    authorization[:position] + rng.choice("aZ0_-,. ") + authorization[position + 1 :],
                    authorization[:position] + rng.choice("aZ0_-,. ") + authorization[position:],
                }
            for text in others - {authorization, f"{authorization} "}:
                code = await call(channel, table[path], b"", [("authorization", text)])
                assert code == "UNAUTHENTICATED", (path, text)
    latency.check()
