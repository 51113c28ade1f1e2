"""Reference page of the control plane's RPCs, from the descriptors and the method table."""

import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import grpc_tools
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

from docsite.markdown import code, page, table
from pipecd.controlplane.rpc.method import ApiKey, Member, Method, Needs, PipedKey, Right
from pipecd.controlplane.rpc.table import HANDLERS, LEGACY_PREFIXES, methods
from pipecd.model.access import BUILT_IN, allows

_PROTO = Path(__file__).parents[1] / "proto"
#: Field numbers in descriptor.proto: FileDescriptorProto.service and .syntax, ServiceDescriptorProto.method.
_SERVICE, _SYNTAX, _METHOD = 6, 12, 2


def pages() -> Mapping[str, str]:
    """Page text by path below docs/reference."""
    return {
        "rpc.md": page(
            "RPCs",
            "The gRPC services of the control plane. The messages are defined in the `proto/` directory of"
            " the source. The project of a call is that of the credential, never that of a request.",
            "| Credential | Sent as | Services |\n|---|---|---|\n"
            "| piped key | metadata `authorization: PIPED-TOKEN <project>,<piped>,<key>` | PipedService,"
            " AgentService |\n"
            "| API key | metadata `authorization: API-KEY <key>` | APIService, ProgramService |\n"
            "| session | the cookie that signing in sets | WebService, ConsoleService |",
            "A session needs a role that allows the action on the resource, as in `APPLICATION: UPDATE`. The"
            " built-in roles that do are named in parentheses.",
            *_sections(),
        )
    }


def own_methods() -> Mapping[str, Method]:
    """The methods by path, without the paths of older clients."""
    return {path: method for path, method in methods().items() if path == method.path}


@cache
def comments() -> Mapping[str, str]:
    """Comments in the proto files: by path of an RPC, and by full name of a service that of its file."""
    texts: dict[str, str] = {}
    for file in _descriptors().file:
        for location in file.source_code_info.location:
            text = " ".join(location.leading_comments.split())
            match list(location.path):
                case [number] if number == _SYNTAX and file.service:
                    texts[_service_name(file, 0)] = text.removeprefix(f"{file.service[0].name}: ")
                case [number, service, inner, rpc] if (number, inner) == (_SERVICE, _METHOD):
                    name = file.service[service].method[rpc].name
                    texts[f"/{_service_name(file, service)}/{name}"] = text
    return texts


def _sections() -> Iterator[str]:
    for service in HANDLERS:
        rows = [
            (code(method.name), _caller(method.needs), _meaning(service, method))
            for method in own_methods().values()
            if method.service == service.full_name
        ]
        prefix = LEGACY_PREFIXES.get(service)
        legacy = f" Older clients may also call it as `{prefix}`." if prefix else ""
        yield (
            f"## {service.name}\n\n`{service.full_name}`: {comments()[service.full_name]}{legacy}\n\n"
            + table(("RPC", "Who may call", "Meaning"), rows)
        )


def _meaning(service: ServiceDescriptor, method: Method) -> str:
    deprecated = service.methods_by_name[method.name].GetOptions().deprecated
    notes = [note for note, applies in (("Stream.", method.streams), ("Deprecated.", deprecated)) if applies]
    return " ".join([comments()[method.path], *notes])


def _caller(needs: Needs) -> str:
    match needs:
        case PipedKey():
            return "piped"
        case ApiKey(writes=writes):
            return "API key with the role READ_WRITE" if writes else "any API key"
        case Member():
            return "every session of the project"
        case Right(resource=resource, action=action):
            roles = [name for name, policies in BUILT_IN.items() if allows(policies, resource, action)]
            return f"{code(f'{resource.name}: {action.name}')} ({', '.join(roles)})"


def _descriptors() -> FileDescriptorSet:
    """The descriptors of all services with their comments, which generated Python code does not contain."""
    files = sorted(str(path.relative_to(_PROTO)) for path in _PROTO.rglob("*.proto"))
    includes = [f"-I{_PROTO}", f"-I{Path(grpc_tools.__file__).parent / '_proto'}"]
    with tempfile.NamedTemporaryFile(suffix=".binpb") as output:
        options = ["--include_source_info", f"--descriptor_set_out={output.name}"]
        if protoc.main(["protoc", *includes, *options, *files]):
            raise RuntimeError("protoc failed")
        return FileDescriptorSet.FromString(Path(output.name).read_bytes())


def _service_name(file: FileDescriptorProto, index: int) -> str:
    return f"{file.package}.{file.service[index].name}"
