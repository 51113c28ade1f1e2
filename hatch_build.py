"""Build hook: generates typed Python in src/pipecd/schema/ from proto/ when the package is built.

A wheel or source distribution must contain the console, which `make console` builds: without it, the build
fails. The generated files are not stored in Git. protoc generates imports relative to proto/; they are
rewritten to the package `pipecd.schema`.
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

CONSOLE = "src/pipecd/console/index.html"
TOP_LEVEL_PACKAGES = "agent|api|model|pipecd|plugin|web"


class SchemaBuildHook(BuildHookInterface):
    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        # An editable installation serves the console from the work tree, where it may be built later.
        if version != "editable" and not (Path(self.root) / CONSOLE).is_file():
            remedy = "the package must contain the console: run `make console` first"
            raise RuntimeError(f"{CONSOLE} does not exist, and {remedy}")
        if self.target_name == "wheel":
            generate(Path(self.root) / "proto", Path(self.root) / "src" / "pipecd" / "schema")


def generate(proto: Path, out: Path) -> None:
    """Compile all files of `proto` to a temporary directory, which then replaces `out`."""
    new_dir = out.with_name(f".schema-{os.getpid()}")
    shutil.rmtree(new_dir, ignore_errors=True)
    new_dir.mkdir(parents=True)
    files = sorted(str(path.relative_to(proto)) for path in proto.rglob("*.proto"))
    plugins = [f"--plugin={name}={_find_tool(name)}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    outputs = [f"--{kind}_out={new_dir}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{proto}", *plugins, *outputs, *files]
    subprocess.run(command, check=True)
    for path in [*new_dir.rglob("*.py"), *new_dir.rglob("*.pyi")]:
        text = path.read_text()
        text = re.sub(rf"^from ({TOP_LEVEL_PACKAGES})\b", r"from pipecd.schema.\1", text, flags=re.M)
        text = re.sub(rf"^import ({TOP_LEVEL_PACKAGES})\b", r"import pipecd.schema.\1", text, flags=re.M)
        path.write_text(text)
    for folder in [new_dir, *(path for path in new_dir.rglob("*") if path.is_dir())]:
        (folder / "__init__.py").touch()
    shutil.rmtree(out, ignore_errors=True)
    new_dir.rename(out)


def _find_tool(name: str) -> str:
    scripts = sysconfig.get_path("scripts")
    path = shutil.which(name, path=f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}")
    if not path:
        raise RuntimeError(f"{name} is not installed: pip install mypy-protobuf")
    return path


if __name__ == "__main__":
    root = Path(__file__).parent
    generate(root / "proto", root / "src" / "pipecd" / "schema")
