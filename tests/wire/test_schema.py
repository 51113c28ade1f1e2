"""The schema matches PipeCD's: every service, message, field, enum and rule has the same name and number.

`wire.json` is PipeCD's schema, extracted from its own descriptors.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor

import pipecd.controlplane.rpc.table  # noqa: F401 loads the whole schema
from pipecd.schema.model import access_pb2, notification_pb2  # noqa: F401
from pipecd.schema.pipecd.v1 import rules_pb2
from pipecd.schema.plugin import deployment_pb2, host_pb2, live_state_pb2, plan_preview_pb2  # noqa: F401

#: Fields of PipeCD's messages, and values of its enums, from this number on are ours. PipeCD ignores them.
OWN_FIELDS = 1000
WIRE = json.loads((Path(__file__).parent / "wire.json").read_text())["packages"]
POOL = descriptor_pool.Default()
TYPES = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in vars(FieldDescriptor).items()
    if name.startswith("TYPE_")
}


def params_of(kind: str) -> list[Any]:
    return [pytest.param(entry, id=entry["name"]) for package in WIRE.values() for entry in package[kind]]


def type_of(field: FieldDescriptor) -> str:
    if field.message_type and field.message_type.GetOptions().map_entry:
        inner = field.message_type.fields_by_name
        return f"map<{type_of(inner['key'])},{type_of(inner['value'])}>"
    if field.message_type:
        return field.message_type.full_name
    if field.enum_type:
        return field.enum_type.full_name
    return TYPES[field.type]


def label_of(field: FieldDescriptor) -> str:
    if field.message_type and field.message_type.GetOptions().map_entry:
        return "map"
    return "repeated" if field.is_repeated else "singular"


def rules_of(field: FieldDescriptor) -> set[str]:
    """Return the field's rules in the notation of `wire.json`."""
    if not field.GetOptions().HasExtension(rules_pb2.rules):
        return set()
    return format_rules(field.GetOptions().Extensions[rules_pb2.rules])


def format_rules(rules: rules_pb2.Rules) -> set[str]:
    formatted: set[str] = set()
    for member, value in rules.ListFields():
        match member.name:
            case "max_len" | "max_pairs" | "max_words" | "lte" | "allow_nul":
                # Limits of size are ours: PipeCD has none.
                continue
            case "required" | "defined_only":
                formatted.add(member.name)
            case "pattern" | "prefix":
                formatted.add(f"{member.name}='{value}'")
            case "in" | "in_words":
                formatted.add(f"in={list(value)!r}")
            case "keys" | "values" | "items":
                if inner := format_rules(value):
                    formatted.add(f"{member.name}({', '.join(sorted(inner))})")
            case _:
                formatted.add(f"{member.name}={value}")
    return formatted


def expected_rules(field: dict[str, Any]) -> set[str]:
    return {re.sub(r"=(\d+)\.0$", r"=\1", rule) for rule in field.get("validate", [])}


#: PipeCD requires a lifetime of sessions, which its console does not send: nothing could be stored.
RELAXED = {("model.ProjectSSOConfig", "session_ttl"): {"gte=0"}}


@pytest.mark.parametrize("message", params_of("messages"))
def test_a_message_has_the_same_fields(message: dict[str, Any]) -> None:
    descriptor: Descriptor = POOL.FindMessageTypeByName(message["name"])
    actual = {
        (field.number, field.name, field.json_name, label_of(field), type_of(field))
        for field in descriptor.fields
        if field.number < OWN_FIELDS
    }
    expected = {
        (field["number"], field["name"], field["json_name"], field["label"], field["type"])
        for field in message["fields"]
    }
    assert actual == expected


@pytest.mark.parametrize("message", params_of("messages"))
def test_a_field_has_the_same_rules(message: dict[str, Any]) -> None:
    descriptor: Descriptor = POOL.FindMessageTypeByName(message["name"])
    for field in message["fields"]:
        rules, expected = rules_of(descriptor.fields_by_number[field["number"]]), expected_rules(field)
        if not any(rule.startswith("max_items") for rule in expected):
            rules = {rule for rule in rules if not rule.startswith("max_items")}
        assert rules == RELAXED.get((message["name"], field["name"]), expected), field["name"]


@pytest.mark.parametrize("enum", params_of("enums"))
def test_an_enum_has_the_same_numbers(enum: dict[str, Any]) -> None:
    descriptor = POOL.FindEnumTypeByName(enum["name"])
    actual = [(value.name, value.number) for value in descriptor.values if value.number < OWN_FIELDS]
    assert actual == [(value["name"], value["number"]) for value in enum["values"]]


@pytest.mark.parametrize("service", params_of("services"))
def test_a_service_has_the_same_methods(service: dict[str, Any]) -> None:
    descriptor = POOL.FindServiceByName(service["name"])
    actual = {
        (method.name, method.input_type.full_name, method.output_type.full_name, method.server_streaming)
        for method in descriptor.methods
    }
    expected = {
        (method["name"], method["request"], method["response"], method["server_streaming"])
        for method in service["methods"]
    }
    assert actual == expected


@pytest.mark.parametrize(
    "service", [param for param in params_of("services") if param.id.endswith("WebService")]
)
def test_a_console_method_requires_the_same_permission(service: dict[str, Any]) -> None:
    """Except who the caller is, without which a role without projects could not load the console."""
    descriptor = POOL.FindServiceByName(service["name"])
    for method in service["methods"]:
        options = descriptor.methods_by_name[method["name"]].GetOptions()
        permission = method.get("options", {}).get("model.rbac")
        if method["name"] == "GetMe":
            assert permission == {"resource": "PROJECT", "action": "GET"}
            permission = {"ignored": True}
        if permission is None:
            # PipeCD refuses these to everyone.
            permission = {"resource": "DEPLOYMENT_CHAIN", "action": method["name"].partition("D")[0].upper()}
        option = options.Extensions[access_pb2.rbac]
        assert option.ignored == bool(permission.get("ignored", False)), method["name"]
        resource = access_pb2.ProjectRBACResource.ResourceType.Name(option.resource)
        action = access_pb2.ProjectRBACPolicy.Action.Name(option.action)
        assert (resource, action) == (permission.get("resource", "ALL"), permission.get("action", "ALL"))
