"""A release of the agent built from this work tree, published under another version.

It contains no dependencies: a `.pth` file points to those of the test environment.
"""

import hashlib
import sysconfig
import tomllib
from pathlib import Path

import pipecd
from tests.launcher.releases import write_wheel

ROOT = Path(pipecd.__file__).parent


def publish_work_tree_release(folder: Path, version: str) -> None:
    """Write `folder/<version>` with a wheel and its `SHA256SUMS`."""
    number = version.removeprefix("v")
    files = {
        f"pipecd/{path.relative_to(ROOT)}": path.read_text()
        for path in sorted(ROOT.rglob("*"))
        if path.is_file() and path.suffix in (".py", ".yaml", ".ini", ".mako") and "console" not in path.parts
    }
    files["pipecd/__init__.py"] = files["pipecd/__init__.py"].replace(pipecd.__version__, number)
    assert number in files["pipecd/__init__.py"]
    files["where_dependencies_are.pth"] = sysconfig.get_path("purelib") + "\n"
    path = write_wheel(folder / version, number, files, entry_points=_entry_points())
    sums = f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
    (folder / version / "SHA256SUMS").write_text(sums)


def _entry_points() -> str:
    """The content of `entry_points.txt`, from pyproject.toml."""
    project = tomllib.loads((ROOT.parents[1] / "pyproject.toml").read_text())["project"]
    lines: list[str] = []
    for group, entry_points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in entry_points.items())]
    return "\n".join(lines) + "\n"
