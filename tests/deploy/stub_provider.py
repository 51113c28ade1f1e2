"""Stubs of Terraform's providers for AWS and Google that serve the plugin protocol with the recorded schemas.

    with stub_provider("aws") as environment:
        run terraform init, validate and plan with `environment`

Terraform itself checks types, required attributes, references and functions. A plan fills computed attributes
with plausible values and evaluates policy documents, so that tests can read the policies.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import msgpack
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

ACCOUNT, REGION = "111111111111", "eu-central-1"
#: In this region the account's default VPC has been deleted.
REGION_WITHOUT_DEFAULT_VPC = "eu-central-2"
#: Arguments of a provider that a configuration may set.
_ARGUMENTS = {"aws": ("region",), "google": ("project", "region")}

#: Terraform's plugin protocol 6, as far as a plan without a prior state needs it: name, number, type.
_MESSAGES: Mapping[str, tuple[tuple[str, int, str], ...]] = {
    "Empty": (),
    "DynamicValue": (("msgpack", 1, "bytes"), ("json", 2, "bytes")),
    "Diagnostic": (("severity", 1, "int32"), ("summary", 2, "string"), ("detail", 3, "string")),
    "Attribute": (
        ("name", 1, "string"),
        ("type", 2, "bytes"),
        ("required", 4, "bool"),
        ("optional", 5, "bool"),
        ("computed", 6, "bool"),
    ),
    "NestedBlock": (
        ("type_name", 1, "string"),
        ("block", 2, "Block"),
        ("nesting", 3, "int32"),
        ("min_items", 4, "int64"),
        ("max_items", 5, "int64"),
    ),
    "Block": (("version", 1, "int64"), ("attributes", 2, "*Attribute"), ("block_types", 3, "*NestedBlock")),
    "Schema": (("version", 1, "int64"), ("block", 2, "Block")),
    "NamedSchema": (("key", 1, "string"), ("value", 2, "Schema")),
    "SchemaAnswer": (
        ("provider", 1, "Schema"),
        ("resource_schemas", 2, "*NamedSchema"),
        ("data_source_schemas", 3, "*NamedSchema"),
    ),
    "ConfigRequest": (("type_name", 1, "string"), ("config", 2, "DynamicValue")),
    "PlanRequest": (
        ("type_name", 1, "string"),
        ("prior_state", 2, "DynamicValue"),
        ("proposed_new_state", 3, "DynamicValue"),
        ("config", 4, "DynamicValue"),
    ),
    "PlanAnswer": (("planned_state", 1, "DynamicValue"), ("legacy_type_system", 5, "bool")),
    "ReadAnswer": (("state", 1, "DynamicValue"), ("diagnostics", 2, "*Diagnostic")),
}
_LIST = 2


def _classes() -> dict[str, Any]:
    file = FileDescriptorProto(name="stub.proto", package="stub", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            type_name, repeated = kind.lstrip("*"), kind.startswith("*")
            descriptor = message.field.add(name=field, number=number)
            descriptor.label = (
                FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
            )
            if type_name in _MESSAGES:
                descriptor.type, descriptor.type_name = (
                    FieldDescriptorProto.TYPE_MESSAGE,
                    f".stub.{type_name}",
                )
            else:
                descriptor.type = getattr(FieldDescriptorProto, f"TYPE_{type_name.upper()}")
    pool = DescriptorPool()
    pool.Add(file)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"stub.{name}")) for name in _MESSAGES}


M = _classes()


def _schema(members: Mapping[str, Any]) -> Any:
    return M["Schema"](block=_block(members))


def _block(members: Mapping[str, Any]) -> Any:
    block = M["Block"]()
    for name, (kind, presence) in sorted(members.items()):
        if isinstance(kind, dict):
            block.block_types.add(
                type_name=name,
                block=_block(kind["block"]),
                nesting=_LIST,
                min_items=1 if presence == "required" else 0,
                max_items=0 if kind["many"] else 1,
            )
            continue
        block.attributes.add(
            name=name,
            type=json.dumps(_cty(kind)).encode(),
            required=presence == "required",
            optional=presence == "optional",
            computed=presence != "required",
        )
    return block


def _cty(kind: Any) -> Any:
    """The type in Terraform's notation. Lists with unknown element types become lists of string maps."""
    if isinstance(kind, list):
        return [kind[0], ["map", "string"] if kind[1] == "dynamic" else _cty(kind[1])]
    return "string" if kind == "dynamic" else kind


def _planned(kind: str, members: Mapping[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """The proposed state of a new resource, with computed attributes filled in."""
    name = next((value[key] for key in ("name", "service_name", "family", "bucket") if value.get(key)), None)
    name = str(name or value.get("name_prefix") or value.get("bucket_prefix") or kind.removeprefix("aws_"))
    for member, (type_, presence) in members.items():
        if isinstance(type_, dict) or value.get(member) is not None:
            continue
        if presence == "computed" or member in ("id", "name", "bucket", "identifier"):
            google = _google(kind, member, value) if kind.startswith("google_") else None
            value[member] = google or _plausible(kind, name, member, type_)
    return value


def _google(kind: str, member: str, value: Mapping[str, Any]) -> str | None:
    """A computed attribute of a resource of Google whose value other resources use."""
    match kind, member:
        case "google_service_account", "email" | "member":
            email = f"{value['account_id']}@{value['project']}.iam.gserviceaccount.com"
            return email if member == "email" else f"serviceAccount:{email}"
        case "google_secret_manager_secret", "id":
            return f"projects/{value['project']}/secrets/{value['secret_id']}"
        case "google_project_iam_custom_role", "name":
            return f"projects/{value['project']}/roles/{value['role_id']}"
    return None


def _plausible(kind: str, name: str, member: str, type_: Any) -> Any:
    if isinstance(type_, list) and type_[0] == "map":
        return {}
    if isinstance(type_, list):
        return (
            [{"secret_arn": _arn("aws_secretsmanager_secret", "rds!db")}]
            if member == "master_user_secret"
            else []
        )
    if type_ in ("number", "bool"):
        return 0 if type_ == "number" else False
    if member == "arn":
        return _arn(kind, name)
    if member == "repository_url":
        return f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{name}"
    return f"{name}.{member}"


_SERVICES: Mapping[str, str] = {
    "aws_secretsmanager_secret": "secretsmanager:{region}:{account}:secret:{name}",
    "aws_iam_role": "iam::{account}:role/{name}",
    "aws_iam_policy": "iam::{account}:policy/{name}",
    "aws_ecr_repository": "ecr:{region}:{account}:repository/{name}",
    "aws_s3_bucket": "s3:::{name}",
    "aws_cloudwatch_log_group": "logs:{region}:{account}:log-group:{name}",
    "aws_efs_file_system": "elasticfilesystem:{region}:{account}:file-system/{name}",
}


def _arn(kind: str, name: str) -> str:
    form = _SERVICES.get(kind, kind + ":{region}:{account}:{name}")
    return "arn:aws:" + form.format(region=REGION, account=ACCOUNT, name=name)


def _data(kind: str, config: dict[str, Any], region: str) -> dict[str, Any]:
    match kind:
        case "aws_region":
            return {**config, "id": region, "name": region, "region": region}
        case "aws_caller_identity":
            return {
                **config,
                "id": ACCOUNT,
                "account_id": ACCOUNT,
                "arn": f"arn:aws:iam::{ACCOUNT}:user/tester",
            }
        case "aws_partition":
            return {**config, "id": "aws", "partition": "aws", "dns_suffix": "amazonaws.com"}
        case "aws_iam_policy_document":
            return {**config, "id": "policy", "json": json.dumps(document(config))}
        case "aws_availability_zones":
            return {**config, "id": region, "names": [f"{region}{zone}" for zone in "abc"]}
        case "aws_vpcs":
            ids = [] if region == REGION_WITHOUT_DEFAULT_VPC else ["vpc-default"]
            return {**config, "id": region, "ids": ids}
        case "aws_subnets":
            vpcs = next(item["values"] for item in config["filter"] if item["name"] == "vpc-id")
            return {
                **config,
                "id": region,
                "ids": ["subnet-a", "subnet-b"] if vpcs == ["vpc-default"] else [],
            }
    raise AssertionError(f"the stub does not support {kind}")


def document(config: Mapping[str, Any]) -> dict[str, Any]:
    """The policy of an `aws_iam_policy_document`, as far as its values are known."""
    statements = []
    for statement in config["statement"]:
        principals = {
            principal["type"]: principal["identifiers"] for principal in statement.get("principals") or ()
        }
        conditions: dict[str, dict[str, Any]] = {}
        for condition in statement.get("condition") or ():
            conditions.setdefault(condition["test"], {})[condition["variable"]] = condition["values"]
        parts = {
            "Sid": statement.get("sid"),
            "Effect": statement.get("effect") or "Allow",
            "Action": statement.get("actions"),
            "NotAction": statement.get("not_actions"),
            "Resource": statement.get("resources"),
            "NotResource": statement.get("not_resources"),
            "Principal": principals,
            "Condition": conditions,
        }
        statements.append({name: part for name, part in parts.items() if part})
    return {"Version": "2012-10-17", "Statement": statements}


def _unpack(value: Any) -> dict[str, Any]:
    unpacked: dict[str, Any] = msgpack.unpackb(value.msgpack, ext_hook=msgpack.ExtType, strict_map_key=False)
    return unpacked


def _pack(value: Any) -> Any:
    return M["DynamicValue"](msgpack=msgpack.packb(value))


class _Provider:
    """The provider as configured last. Terraform configures it before it reads or plans anything."""

    def __init__(self, name: str) -> None:
        self._arguments = _ARGUMENTS[name]
        self._recorded = json.loads((Path(__file__).parent / f"{name}_provider.json").read_text())
        self._region = REGION

    def schemas(self, _: Any) -> Any:
        arguments = {argument: ["string", "optional"] for argument in self._arguments}
        answer = M["SchemaAnswer"](provider=_schema(arguments))
        for key, recorded in (("resource_schemas", "resource"), ("data_source_schemas", "data")):
            for name, members in self._recorded[recorded].items():
                getattr(answer, key).add(key=name, value=_schema(members))
        return answer

    def plan(self, request: Any) -> Any:
        value = msgpack.unpackb(request.proposed_new_state.msgpack, ext_hook=msgpack.ExtType)
        if value is not None:
            value = _planned(request.type_name, self._recorded["resource"][request.type_name], value)
        return M["PlanAnswer"](planned_state=_pack(value), legacy_type_system=True)

    def configure(self, request: Any) -> Any:
        self._region = _unpack(request.config)["region"] or REGION
        return M["Empty"]()

    def read(self, request: Any) -> Any:
        members = self._recorded["data"][request.type_name]
        values = _data(request.type_name, _unpack(request.config), self._region)
        return M["ReadAnswer"](state=_pack({name: values.get(name) for name in members}))

    def methods(self) -> Mapping[str, tuple[str, Callable[[Any], Any]]]:
        """Method of the protocol → the type of its request, and its handler."""
        return {
            "GetProviderSchema": ("Empty", self.schemas),
            "ValidateProviderConfig": ("Empty", lambda _: M["Empty"]()),
            "ValidateResourceConfig": ("ConfigRequest", lambda _: M["Empty"]()),
            "ValidateDataResourceConfig": ("ConfigRequest", lambda _: M["Empty"]()),
            "ConfigureProvider": ("ConfigRequest", self.configure),
            "PlanResourceChange": ("PlanRequest", self.plan),
            "ReadDataSource": ("ConfigRequest", self.read),
            "StopProvider": ("Empty", lambda _: M["Empty"]()),
        }


@contextmanager
def stub_provider(name: str) -> Iterator[dict[str, str]]:
    """Serve until the block ends; yields the environment variables that Terraform needs."""
    server = grpc.server(ThreadPoolExecutor(8))
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        name: grpc.unary_unary_rpc_method_handler(
            lambda request, _, answer=answer: answer(request),
            request_deserializer=M[kind].FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        for name, (kind, answer) in _Provider(name).methods().items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tfplugin6.Provider", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    reattach = {
        f"registry.terraform.io/hashicorp/{name}": {
            "Protocol": "grpc",
            "ProtocolVersion": 6,
            "Pid": os.getpid(),
            "Test": True,
            "Addr": {"Network": "tcp", "String": f"127.0.0.1:{port}"},
        }
    }
    try:
        yield {"TF_REATTACH_PROVIDERS": json.dumps(reattach)}
    finally:
        server.stop(None)
