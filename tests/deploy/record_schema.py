"""Records what Terraform's AWS provider says of the resources that deploy/ uses, in `aws_provider.json`.

The provider itself is half a gigabyte and comes from a registry of its own. Its schema is also in the package
`cdktf-cdktf-provider-aws`, from where this takes the few resources that are needed:

    pip download --no-deps cdktf-cdktf-provider-aws==21.22.1
    python -m tests.deploy.record_schema cdktf_cdktf_provider_aws-21.22.1-py3-none-any.whl

Format: type → name → [what it is, "required" | "optional" | "computed"], where what it is is a type of
Terraform's (`"string"`, `["list", "string"]`) or, for a block, {"block": {…}, "many": bool}.
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


def main(wheel: Path) -> None:
    kinds = sorted(
        {
            (block, kind)
            for file in DEPLOY.rglob("*.tf")
            for block, kind in re.findall(
                r'^(resource|data) "(aws_[a-z0-9_]+)"', file.read_text(), re.MULTILINE
            )
        }
    )
    types, version = assembly(wheel)
    provider = re.search(r"providers/hashicorp/aws/([0-9.]+)/", json.dumps(types[_config(types, *kinds[0])]))
    recorded: dict[str, Any] = {"provider": provider[1] if provider else version, "resource": {}, "data": {}}
    for block, kind in kinds:
        recorded[block][kind] = described(types, _config(types, block, kind))
    (HERE / "aws_provider.json").write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")


def assembly(wheel: Path) -> tuple[dict[str, Any], str]:
    with zipfile.ZipFile(wheel) as outer:
        inside = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(inside))) as archive:
            found = archive.extractfile("package/.jsii")
            assert found
            read = json.load(found)
    return read["types"], read["version"]


def _config(types: dict[str, Any], block: str, kind: str) -> str:
    words = [*(["data"] if block == "data" else []), *kind.split("_")]
    # Resources leave the provider's name out, data sources do not.
    words = words if block == "data" else words[1:]
    # An A keeps a name that ends in Configuration apart from the configuration of another.
    wanted = ["".join(words).lower() + end for end in ("config", "aconfig")]
    return next(
        name
        for name, it in types.items()
        if it["name"].lower() in wanted
        and any("TerraformMetaArguments" in base for base in it.get("interfaces", ()))
    )


def described(types: dict[str, Any], config: str) -> dict[str, Any]:
    made = _members(types, config)
    # The class beside the configuration has what the provider computes.
    for member in types[config.removesuffix("Config")].get("properties", ()):
        name = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", member["name"]).lower()
        if member.get("static") or name.endswith("_input") or name in made or name in ("cdktf_stack",):
            continue
        kind = _type(types, member["type"])
        if kind is not None and not isinstance(kind, dict):
            made[name] = [kind, "computed"]
    return made


def _members(types: dict[str, Any], config: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for member in types[config].get("properties", ()):
        if member["name"] in _META:
            continue
        named = _NAME.search(json.dumps(member.get("docs", {})))
        name = named[2] if named else re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", member["name"]).lower()
        kind = _type(types, member["type"])
        if kind is not None:
            made[name] = [kind, "optional" if member.get("optional") else "required"]
    return made


def _type(types: dict[str, Any], said: dict[str, Any]) -> Any:
    if "primitive" in said:
        return _PRIMITIVES.get(said["primitive"], "dynamic")
    if "collection" in said:
        inner = _type(types, said["collection"]["elementtype"])
        return (
            {**inner, "many": True}
            if isinstance(inner, dict)
            else [said["collection"]["kind"].replace("array", "list"), inner]
        )
    if "union" in said:
        options = [_type(types, one) for one in said["union"]["types"]]
        return next((one for one in options if one not in (None, "dynamic")), "dynamic")
    if said["fqn"].startswith("@cdktf/provider-aws.") and types[said["fqn"]]["kind"] == "interface":
        return {"block": _members(types, said["fqn"]), "many": False}
    if said["fqn"].startswith("cdktf.") and said["fqn"].endswith("Map"):
        return ["map", "string"]
    if said["fqn"].startswith("@cdktf/provider-aws.") and said["fqn"].endswith("List"):
        return ["list", "dynamic"]
    return None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
