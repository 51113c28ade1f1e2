"""Turns proto/ into typed Python under src/pipecd/schema/ whenever the package is built or installed.

Nothing it writes is kept in Git. protoc writes imports as if proto/ were the top of the package
tree; they are rewritten to live under `pipecd.schema`.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TOP_FOLDERS = "agent|api|model|pipecd|plugin|web"


class SchemaBuildHook(BuildHookInterface):
    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name == "wheel":
            generate(Path(self.root) / "proto", Path(self.root) / "src" / "pipecd" / "schema")


def generate(proto: Path, out: Path) -> None:
    """Compiles every file of `proto` into `out`, replacing what was there in one step."""
    fresh = out.with_name(f".schema-{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    files = sorted(str(path.relative_to(proto)) for path in proto.rglob("*.proto"))
    plugins = [f"--plugin={name}={_tool(name)}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    outputs = [f"--{kind}_out={fresh}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{proto}", *plugins, *outputs, *files]
    subprocess.run(command, check=True)
    for path in [*fresh.rglob("*.py"), *fresh.rglob("*.pyi")]:
        text = path.read_text()
        text = re.sub(rf"^from ({TOP_FOLDERS})\b", r"from pipecd.schema.\1", text, flags=re.M)
        text = re.sub(rf"^import ({TOP_FOLDERS})\b", r"import pipecd.schema.\1", text, flags=re.M)
        path.write_text(text)
    for folder in [fresh, *(path for path in fresh.rglob("*") if path.is_dir())]:
        (folder / "__init__.py").touch()
    shutil.rmtree(out, ignore_errors=True)
    fresh.rename(out)


def _tool(name: str) -> str:
    scripts = sysconfig.get_path("scripts")
    found = shutil.which(name, path=f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}")
    if not found:
        raise RuntimeError(f"{name} is not installed: pip install mypy-protobuf")
    return found


if __name__ == "__main__":
    root = Path(__file__).parent
    generate(root / "proto", root / "src" / "pipecd" / "schema")
