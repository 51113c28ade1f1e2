"""The method table: every served RPC, built from the descriptors and the handlers.

Permissions are defined once per service: a piped key for PipedService and AgentService, the list `READS` for
APIService and ProgramService, the `model.rbac` option of each RPC for WebService and ConsoleService. An RPC
without a handler, a handler without an RPC, or a method without a permission stops the program at start-up.
Tests iterate over the table.
"""

from collections.abc import Iterable, Mapping

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from pipecd.controlplane.rpc import agent, api, console, piped, program, web
from pipecd.controlplane.rpc.method import ApiKey, Handler, Member, Method, Needs, PipedKey, Right
from pipecd.controlplane.rpc.web import api_keys, project
from pipecd.controlplane.rpc.web import pipeds as web_pipeds
from pipecd.model.access import Action, Resource
from pipecd.schema.agent import service_pb2 as piped_pb2
from pipecd.schema.api import service_pb2 as api_pb2
from pipecd.schema.model import access_pb2
from pipecd.schema.pipecd.v1 import agent_pb2, console_pb2, program_pb2
from pipecd.schema.web import service_pb2 as web_pb2

PIPED = piped_pb2.DESCRIPTOR.services_by_name["PipedService"]
API = api_pb2.DESCRIPTOR.services_by_name["APIService"]
WEB = web_pb2.DESCRIPTOR.services_by_name["WebService"]
AGENT = agent_pb2.DESCRIPTOR.services_by_name["AgentService"]
PROGRAM = program_pb2.DESCRIPTOR.services_by_name["ProgramService"]
CONSOLE = console_pb2.DESCRIPTOR.services_by_name["ConsoleService"]

HANDLERS: Mapping[ServiceDescriptor, Mapping[str, Handler]] = {
    PIPED: piped.HANDLERS,
    API: api.HANDLERS,
    WEB: web.HANDLERS,
    AGENT: agent.HANDLERS,
    PROGRAM: program.HANDLERS,
    CONSOLE: console.HANDLERS,
}

#: RPCs that a read-only API key may call.
READS = frozenset(
    {
        "GetApplication",
        "ListApplications",
        "GetDeployment",
        "ListDeployments",
        "ListStageLogs",
        "GetStageLog",
        "GetCommand",
        "GetPiped",
        "Encrypt",
        "ListPipeds",
        "GetControlPlane",
        "ListEvents",
        "ListDeploymentChains",
        "GetDeploymentChain",
        "ListDeploymentTraces",
        "GetInsights",
        "ListReceivers",
        "ListProjectReceivers",
    }
)

#: RPCs for which an API key needs the role ADMIN.
ADMINISTRATION = frozenset(
    {
        "ListAudit",
        "VerifyAudit",
        "ListSessions",
        "EndSessions",
        *project.ADMINISTRATION,
        *api_keys.HANDLERS,
        *web_pipeds.ADMINISTRATION,
    }
)

#: Service names used by older clients.
LEGACY_PREFIXES: Mapping[ServiceDescriptor, str] = {
    PIPED: "pipe.api.service.pipedservice.PipedService",
    API: "pipe.api.service.apiservice.APIService",
    WEB: "pipe.api.service.webservice.WebService",
}


def methods(services: Iterable[ServiceDescriptor] = tuple(HANDLERS)) -> Mapping[str, Method]:
    """Return the methods of `services` by path, legacy paths included."""
    table: dict[str, Method] = {}
    for service in services:
        descriptors = {method.name: method for method in service.methods}
        if unmatched := descriptors.keys() ^ HANDLERS[service].keys():
            raise RuntimeError(
                f"{service.full_name}: no handler or no RPC for {', '.join(sorted(unmatched))}"
            )
        for name, descriptor in descriptors.items():
            method = Method(
                service=service.full_name,
                name=name,
                request=GetMessageClass(descriptor.input_type),
                response=GetMessageClass(descriptor.output_type),
                needs=_needs(service, descriptor),
                handler=HANDLERS[service][name],
                streams=descriptor.server_streaming,
            )
            table[method.path] = method
            if service in LEGACY_PREFIXES:
                table[f"/{LEGACY_PREFIXES[service]}/{name}"] = method
    return table


def _needs(service: ServiceDescriptor, method: MethodDescriptor) -> Needs:
    if service in (PIPED, AGENT):
        return PipedKey()
    if service in (API, PROGRAM):
        administers = service is PROGRAM and method.name in ADMINISTRATION
        return ApiKey(
            writes=method.name not in READS, administers=administers, right=_right_of_console(method.name)
        )
    return _option(method)


def _option(method: MethodDescriptor) -> Right | Member:
    if not method.GetOptions().HasExtension(access_pb2.rbac):
        raise RuntimeError(f"{method.full_name} has no option model.rbac: say which right it needs")
    option = method.GetOptions().Extensions[access_pb2.rbac]
    return (
        Member()
        if option.ignored
        else Right(resource=Resource(option.resource), action=Action(option.action))
    )


def _right_of_console(name: str) -> Right | None:
    """What the call `name` of the console requires; None if there is none, or every member may make it."""
    for service in (WEB, CONSOLE):
        if name in service.methods_by_name:
            needs = _option(service.methods_by_name[name])
            return needs if isinstance(needs, Right) else None
    return None
