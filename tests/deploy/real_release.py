"""A release of the agent that is in this work tree, under another version.

It brings no dependencies along: a path file shows it those of the tests' own environment.
"""

import hashlib
import sysconfig
import tomllib
from pathlib import Path

import pipecd
from tests.launcher.releases import wheel

ROOT = Path(pipecd.__file__).parent


def publish_this(folder: Path, version: str) -> None:
    """`folder/<version>`, with its list of hashes."""
    number = version.removeprefix("v")
    files = {
        f"pipecd/{path.relative_to(ROOT)}": path.read_text()
        for path in sorted(ROOT.rglob("*"))
        if path.is_file() and path.suffix in (".py", ".yaml", ".ini", ".mako") and "console" not in path.parts
    }
    files["pipecd/__init__.py"] = files["pipecd/__init__.py"].replace(pipecd.__version__, number)
    assert number in files["pipecd/__init__.py"]
    files["where_dependencies_are.pth"] = sysconfig.get_path("purelib") + "\n"
    made = wheel(folder / version, number, files, entry_points=_entry_points())
    sums = f"{hashlib.sha256(made.read_bytes()).hexdigest()}  {made.name}\n"
    (folder / version / "SHA256SUMS").write_text(sums)


def _entry_points() -> str:
    project = tomllib.loads((ROOT.parents[1] / "pyproject.toml").read_text())["project"]
    groups = project["entry-points"].items()
    rows = [
        [f"[{group}]", *(f"{name} = {place}" for name, place in named.items())] for group, named in groups
    ]
    return "\n".join(line for group in rows for line in group) + "\n"
