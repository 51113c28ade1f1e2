"""Our schema says what PipeCD's says: every service, message, field, enum and rule, name by name and number
by number. `wire.json` holds the facts; it was taken from PipeCD's own descriptors.
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

WIRE = json.loads((Path(__file__).parent / "wire.json").read_text())["packages"]
POOL = descriptor_pool.Default()
TYPES = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in vars(FieldDescriptor).items()
    if name.startswith("TYPE_")
}


def facts(kind: str) -> list[Any]:
    return [pytest.param(one, id=one["name"]) for package in WIRE.values() for one in package[kind]]


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
    """Our option in the words of `wire.json`."""
    if not field.GetOptions().HasExtension(rules_pb2.rules):
        return set()
    return words(field.GetOptions().Extensions[rules_pb2.rules])


def words(rules: rules_pb2.Rules) -> set[str]:
    said = set()
    for member, value in rules.ListFields():
        match member.name:
            case "required" | "defined_only":
                said.add(member.name)
            case "pattern" | "prefix":
                said.add(f"{member.name}='{value}'")
            case "in" | "in_words":
                said.add(f"in={list(value)!r}")
            case "keys" | "values" | "items":
                said.add(f"{member.name}({', '.join(sorted(words(value)))})")
            case _:
                said.add(f"{member.name}={value}")
    return said


def expected_rules(field: dict[str, Any]) -> set[str]:
    return {re.sub(r"=(\d+)\.0$", r"=\1", rule) for rule in field.get("validate", [])}


@pytest.mark.parametrize("message", facts("messages"))
def test_a_message_has_the_same_fields(message: dict[str, Any]) -> None:
    ours: Descriptor = POOL.FindMessageTypeByName(message["name"])
    said = {
        (field.number, field.name, field.json_name, label_of(field), type_of(field)) for field in ours.fields
    }
    theirs = {
        (field["number"], field["name"], field["json_name"], field["label"], field["type"])
        for field in message["fields"]
    }
    assert said == theirs


@pytest.mark.parametrize("message", facts("messages"))
def test_a_field_asks_for_the_same(message: dict[str, Any]) -> None:
    ours: Descriptor = POOL.FindMessageTypeByName(message["name"])
    for field in message["fields"]:
        assert rules_of(ours.fields_by_number[field["number"]]) == expected_rules(field), field["name"]


@pytest.mark.parametrize("enum", facts("enums"))
def test_an_enum_has_the_same_numbers(enum: dict[str, Any]) -> None:
    ours = POOL.FindEnumTypeByName(enum["name"])
    said = [(value.name, value.number) for value in ours.values]
    assert said == [(value["name"], value["number"]) for value in enum["values"]]


@pytest.mark.parametrize("service", facts("services"))
def test_a_service_has_the_same_calls(service: dict[str, Any]) -> None:
    ours = POOL.FindServiceByName(service["name"])
    said = {
        (one.name, one.input_type.full_name, one.output_type.full_name, one.server_streaming)
        for one in ours.methods
    }
    theirs = {
        (one["name"], one["request"], one["response"], one["server_streaming"]) for one in service["methods"]
    }
    assert said == theirs


@pytest.mark.parametrize("service", [one for one in facts("services") if one.id.endswith("WebService")])
def test_a_call_of_the_console_needs_the_same_right(service: dict[str, Any]) -> None:
    ours = POOL.FindServiceByName(service["name"])
    for method in service["methods"]:
        options = ours.methods_by_name[method["name"]].GetOptions()
        wanted = method.get("options", {}).get("model.rbac")
        if wanted is None:
            assert not options.HasExtension(access_pb2.rbac), method["name"]
            continue
        right = options.Extensions[access_pb2.rbac]
        assert right.ignored == bool(wanted.get("ignored", False)), method["name"]
        resource = access_pb2.ProjectRBACResource.ResourceType.Name(right.resource)
        action = access_pb2.ProjectRBACPolicy.Action.Name(right.action)
        assert (resource, action) == (wanted.get("resource", "ALL"), wanted.get("action", "ALL"))
