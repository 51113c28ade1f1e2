"""Records the providers' schemas of the resources that deploy/ uses, in `aws_provider.json` and
`google_provider.json`.

The providers themselves have half a gigabyte and are distributed by Terraform's registry. Their schemas are
also part of Python packages, from which this script extracts the resources:

    pip download --no-deps cdktf-cdktf-provider-aws==21.22.1 cdktn-provider-google==21.1.0
    python -m tests.deploy.record_schema aws cdktf_cdktf_provider_aws-21.22.1-py3-none-any.whl
    python -m tests.deploy.record_schema google cdktn_provider_google-21.1.0-py3-none-any.whl

Format: resource type → attribute → [type, "required" | "optional" | "computed"]. A type is one of Terraform's
(`"string"`, `["list", "string"]`) or, for a block, {"block": {…}, "many": bool}.
"""

import io
import json
import re
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
DEPLOY = HERE.parents[1] / "deploy"
_NAME = re.compile(r"[#/]([a-z0-9_]+) [A-Z][A-Za-z0-9]*#([a-z0-9_]+)\}")
_META = {"count", "connection", "dependsOn", "forEach", "lifecycle", "provider", "provisioners"}
_PRIMITIVES = {"string": "string", "number": "number", "boolean": "bool"}


def main(provider: str, wheel: Path) -> None:
    """`provider` is the prefix of its resource types."""
    kinds = sorted(
        {
            (block, kind)
            for file in DEPLOY.rglob("*.tf")
            for block, kind in re.findall(
                rf'^(resource|data) "({provider}_[a-z0-9_]+)"', file.read_text(), re.MULTILINE
            )
        }
    )
    types, version = assembly(wheel)
    documented = json.dumps(types[_config(types, *kinds[0])])
    found = re.search(rf"providers/hashicorp/{provider}/([0-9.]+)/", documented)
    recorded: dict[str, Any] = {"provider": found[1] if found else version, "resource": {}, "data": {}}
    for block, kind in kinds:
        recorded[block][kind] = describe(types, _config(types, block, kind))
    (HERE / f"{provider}_provider.json").write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")


def assembly(wheel: Path) -> tuple[dict[str, Any], str]:
    """The types of the wheel's jsii assembly by name, and the package's version."""
    with zipfile.ZipFile(wheel) as outer:
        inside = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(inside))) as archive:
            file = archive.extractfile("package/.jsii")
            assert file
            content = json.load(file)
    return content["types"], content["version"]


def _config(types: dict[str, Any], block: str, kind: str) -> str:
    """Name of the interface with the arguments of a resource or data source."""
    words = [*(["data"] if block == "data" else []), *kind.split("_")]
    # Class names of resources omit the provider's name, those of data sources do not.
    words = words if block == "data" else words[1:]
    # cdktf appends an A to class names that would otherwise collide with another resource's configuration.
    candidates = ["".join(words).lower() + end for end in ("config", "aconfig")]
    return next(
        name
        for name, interface in types.items()
        if interface["name"].lower() in candidates
        and any("TerraformMetaArguments" in base for base in interface.get("interfaces", ()))
    )


def describe(types: dict[str, Any], config: str) -> dict[str, Any]:
    """Attribute → [type, presence]."""
    attributes = _members(types, config)
    # Computed attributes are properties of the class that belongs to the configuration.
    for member in types[config.removesuffix("Config")].get("properties", ()):
        name = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", member["name"]).lower()
        if (
            member.get("static")
            or name.endswith("_input")
            or name in attributes
            or name in ("cdktf_stack", "cdktn_stack")
        ):
            continue
        kind = _type(types, member["type"])
        if kind is not None and not isinstance(kind, dict):
            attributes[name] = [kind, "computed"]
    return attributes


def _members(types: dict[str, Any], config: str) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for member in types[config].get("properties", ()):
        if member["name"] in _META:
            continue
        documented = _NAME.search(json.dumps(member.get("docs", {})))
        name = (
            documented[2] if documented else re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", member["name"]).lower()
        )
        kind = _type(types, member["type"])
        if kind is not None:
            members[name] = [kind, "optional" if member.get("optional") else "required"]
    return members


def _type(types: dict[str, Any], type_: dict[str, Any]) -> Any:
    """The type in Terraform's notation; None if it has none."""
    if "primitive" in type_:
        return _PRIMITIVES.get(type_["primitive"], "dynamic")
    if "collection" in type_:
        inner = _type(types, type_["collection"]["elementtype"])
        return (
            {**inner, "many": True}
            if isinstance(inner, dict)
            else [type_["collection"]["kind"].replace("array", "list"), inner]
        )
    if "union" in type_:
        options = [_type(types, option) for option in type_["union"]["types"]]
        return next((option for option in options if option not in (None, "dynamic")), "dynamic")
    own = re.match(r"@cdkt[fn]/provider-[a-z]+\.", type_["fqn"])
    if own and types[type_["fqn"]]["kind"] == "interface":
        return {"block": _members(types, type_["fqn"]), "many": False}
    if re.match(r"cdkt[fn]\.\w+Map$", type_["fqn"]):
        return ["map", "string"]
    if own and type_["fqn"].endswith("List"):
        return ["list", "dynamic"]
    return None


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
