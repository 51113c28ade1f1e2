"""The package layout, in addition to the checks of import-linter."""

import ast
import importlib
import pkgutil
import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

import pipecd

ROOT = Path(__file__).parents[1]
STAGE_MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(pipecd.__path__, "pipecd.")
    if re.match(r"pipecd\.(stages|platforms\.\w+\.stages)(\.|$)", module.name)
)
PACKAGES = sorted(
    module.name
    for module in pkgutil.walk_packages(pipecd.__path__, "pipecd.")
    if module.ispkg and not module.name.startswith(("pipecd.schema", "pipecd.controlplane.store.migrations"))
)


@pytest.mark.parametrize("name", ["pipecd", *PACKAGES])
def test_no_package_attribute_shadows_a_submodule(name: str) -> None:
    package = importlib.import_module(name)
    for module in pkgutil.iter_modules(package.__path__):
        if module.name == "__main__":
            continue
        submodule = importlib.import_module(f"{name}.{module.name}")
        attribute = getattr(package, module.name)
        assert isinstance(attribute, ModuleType), f"{name}.{module.name} is shadowed by {attribute!r}"
        assert attribute is submodule


#: Packages and modules whose time is that of a `Clock`. Real I/O is bounded in real time elsewhere.
ON_A_CLOCK = (
    "piped/**/*.py",
    "controlplane/**/*.py",
    "launcher/**/*.py",
    "client.py",
    "retry.py",
    "pipectl/waiting.py",
)
REAL_TIME = {
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "sleep"},
    "asyncio": {"sleep", "timeout", "timeout_at", "wait_for"},
}


def test_time_is_read_from_a_clock() -> None:
    root = Path(pipecd.__file__).parent
    for file in (file for pattern in ON_A_CLOCK for file in root.glob(pattern)):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Attribute(value=ast.Name(id=module), attr=name):
                    assert name not in REAL_TIME.get(module, ()), f"{file}:{node.lineno}: {module}.{name}"
                case ast.ImportFrom(module=str(module), names=names):
                    imported = {alias.name for alias in names} & REAL_TIME.get(module, set())
                    assert not imported, f"{file}:{node.lineno}: {module}.{imported}"


@pytest.mark.parametrize("name", STAGE_MODULES)
def test_no_stage_keeps_state_in_its_module(name: str) -> None:
    """Such state is lost when the agent is killed: `Again.saved` and `Work.interrupted` replace it."""
    values = vars(importlib.import_module(name)).items()
    assert [key for key, value in values if isinstance(value, dict | list | set) and not value] == []


@pytest.mark.parametrize("folder", ["src/pipecd", "src/pipecd/piped", "src/pipecd/controlplane"])
def test_the_architecture_page_names_every_package_and_module(folder: str) -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    modules = {path.stem for path in (ROOT / folder).iterdir() if path.is_dir() or path.suffix == ".py"}
    # The pages of the console are built there.
    modules -= {"console"}
    missing = [name for name in modules if name[0] != "_" and not re.search(rf"`{name}(/|\.py)?`", page)]
    assert sorted(missing) == [], "name it in the table, with what it contains"


def test_the_architecture_page_names_only_what_exists() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    names = [name.rstrip("/") for row in rows for name in re.findall(r"`([^`]+)`", row)]
    folders = [ROOT, *(ROOT / "src/pipecd" / folder for folder in ("", "piped", "controlplane"))]
    for name in names:
        assert any((path / name).exists() or (path / f"{name}.py").exists() for path in folders), name


#: Words for which there is a plainer one, or the word of the architecture page.
AVOIDED = re.compile(
    r"\b(somebody|nobody|anybody|whoever|for ?ever|mends?|wish(es|ed)?|strangers?|anew|acquaintance|in peace"
    r"|orderly|at rest|goes on|pace)\b",
    re.IGNORECASE,
)
TEXTS = {".md", ".py", ".ts", ".tsx", ".proto", ".tf"}


def test_texts_are_in_plain_words() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in listed.splitlines()]
    avoided = [
        f"{file.relative_to(ROOT)}:{number}: {match[0]}"
        for file in files
        # A released migration does not change.
        if file.suffix in TEXTS and file.is_file() and "versions" not in file.parts and file != Path(__file__)
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if (match := AVOIDED.search(line))
    ]
    assert not avoided, "\n".join(avoided)
