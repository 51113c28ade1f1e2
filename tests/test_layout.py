"""The package layout, in addition to the checks of import-linter."""

import ast
import importlib
import json
import pkgutil
import re
import subprocess
from collections.abc import Iterator
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


def test_frames_of_other_threads_are_not_made_objects() -> None:
    """With `sys._current_frames`, an interpreter of Python 3.11 ended with a segmentation fault."""
    texts = {file: file.read_text() for file in Path(pipecd.__file__).parent.rglob("*.py")}
    for file in (file for file, text in texts.items() if "_current_frames" in text):
        for node in ast.walk(ast.parse(texts[file])):
            uses = isinstance(node, ast.Attribute) and node.attr == "_current_frames"
            assert not uses, f"{file}: use the text of faulthandler, as `pipecd.watchdog` does"


def test_http_clients_are_given_their_certificates() -> None:
    """httpx would read those of all authorities in the event loop, which stops it for 20 ms and more."""
    for file in Path(pipecd.__file__).parent.rglob("*.py"):
        if "httpx.AsyncClient(" not in (text := file.read_text()):
            continue
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.Call(func=ast.Attribute(attr="AsyncClient"), keywords=keywords):
                    names = {keyword.arg for keyword in keywords}
                    assert "verify" in names, (
                        f"{file}:{node.lineno}: give `verify`, see `pipecd.certificates`"
                    )


def test_json_is_decoded_by_one_function() -> None:
    """`json.loads` raises RecursionError, which few callers expect, for a document that is nested deeply."""
    root = Path(pipecd.__file__).parent
    for file in (file for file in root.rglob("*.py") if file != root / "json_input.py"):
        text = file.read_text()
        for found in re.finditer(r"\bjson\.loads?\b|JSONDecoder|response\.json\(", text):
            if not file.is_relative_to(root / "quickstart"):
                line = text.count("\n", 0, found.start()) + 1
                pytest.fail(f"{file}:{line}: use decode_json, not {found[0]}")


CONSTANT = re.compile(r"_*[A-Z][A-Z0-9_]*")


def _is_constant(node: ast.expr, imported: dict[str, str]) -> bool:
    """Whether `node` is a constant of a module of pipecd, such as `module.LIMIT` or an imported `LIMIT`."""
    parts = ast.unparse(node).split(".")
    names = [*imported.get(parts[0], "").split("."), *parts[1:]]
    return names[0] == "pipecd" and any(map(CONSTANT.fullmatch, names))


def _imported_names(tree: ast.Module) -> dict[str, str]:
    """Name in the file → what it is."""
    imported: dict[str, str] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    root = alias.name.partition(".")[0]
                    imported |= {alias.asname: alias.name} if alias.asname else {root: root}
            case ast.ImportFrom(module=str(module), names=names):
                imported |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in names}
    return imported


def _patched(node: ast.AST) -> Iterator[ast.expr]:
    """What a statement or a call replaces, or changes the content of."""
    match node:
        case ast.Assign(targets=targets):
            yield from (found for found in targets if isinstance(found, ast.Attribute | ast.Subscript))
        case ast.AugAssign(target=ast.Attribute() | ast.Subscript() as target):
            yield target
        case ast.Call(
            func=ast.Attribute(attr="setattr" | "delattr" | "patch"), args=[ast.Constant(value=str(path)), *_]
        ):
            if re.fullmatch(r"[\w.]+", path):
                yield ast.parse(path, mode="eval").body
        case ast.Call(
            func=ast.Attribute(attr="setattr" | "delattr" | "object"),
            args=[owner, ast.Constant(value=str(name)), *_],
        ):
            yield ast.Attribute(value=owner, attr=name)
        case ast.Call(func=ast.Attribute(attr="setitem" | "delitem" | "dict"), args=[owner, *_]):
            # cast(dict[str, int], TABLE) is still the table.
            yield owner.args[1] if isinstance(owner, ast.Call) and len(owner.args) == 2 else owner


def patched_constants(tree: ast.Module) -> list[int]:
    """The lines at which a test replaces a constant of pipecd, or something in one."""
    # A path that is written as text needs no import.
    imported = {"pipecd": "pipecd", **_imported_names(tree)}
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt | ast.expr)
        for target in _patched(node)
        if _is_constant(target.value if isinstance(target, ast.Subscript) else target, imported)
    ]


def test_no_test_patches_a_constant() -> None:
    """A time or a limit that a test needs to be different is a setting, with unit, default and reason.

    See `piped.settings` and `controlplane.settings`. Constants of other packages, and of tests, may be
    patched.
    """
    found = [
        f"{file.relative_to(ROOT)}:{line}"
        for file in sorted((ROOT / "tests").rglob("*.py"))
        for line in patched_constants(ast.parse(file.read_text()))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("code", "is_found"),
    [
        ("monkeypatch.setattr(module, 'LIMIT', 1)", True),
        ("monkeypatch.setattr(module, '_LIMIT', 1)", True),
        ("monkeypatch.setattr(pipecd.package.module, 'LIMIT', 1)", True),
        ("monkeypatch.setattr('pipecd.package.module.LIMIT', 1)", True),
        ("monkeypatch.setitem(cast(dict[str, int], module.TABLE), 'key', 1)", True),
        ("monkeypatch.delitem(TABLE, 'key')", True),
        ("mock.patch.object(module, 'LIMIT', 1)", True),
        ("mock.patch('pipecd.package.module.LIMIT', 1)", True),
        ("mock.patch.dict(TABLE, {'key': 1})", True),
        ("module.LIMIT = 1", True),
        ("module.LIMIT += 1", True),
        ("TABLE['key'] = 1", True),
        ("monkeypatch.setattr(module, 'function', f)", False),
        ("monkeypatch.setattr(other, 'LIMIT', 1)", False),
        ("monkeypatch.setenv('LIMIT', '1')", False),
        ("module.settings(LIMIT)", False),
    ],
)
def test_a_patched_constant_is_found(code: str, is_found: bool) -> None:
    imports = [
        "import other, pipecd.package.module",
        "from pipecd.package import module",
        "from pipecd.package.module import TABLE",
    ]
    assert bool(patched_constants(ast.parse("\n".join([*imports, code])))) is is_found


def test_only_lists_that_state_their_role_have_no_markers() -> None:
    """For Safari, a list without markers is no list unless its role is explicit; so the role removes them."""
    sources = {
        path: path.read_text()
        for path in (ROOT / "web/src").rglob("*")
        if path.suffix in {".css", ".ts", ".tsx"} and "schema" not in path.parts
    }
    removing = [path.name for path, text in sources.items() if re.search(r"list-style|listStyle", text)]
    assert removing == ["styles.css"]
    styles = sources[ROOT / "web/src/styles.css"]
    assert styles.count("list-style") == 1
    assert ':where(ul, ol)[role="list"] {\n  list-style: none;\n}' in styles


def test_recorded_durations_are_of_tests_that_exist() -> None:
    """A long test that was renamed would begin last, and leave the other workers without work."""
    recorded = json.loads((ROOT / "tests/durations.json").read_text())
    for file, names in recorded.items():
        text = (ROOT / "tests" / file).read_text()
        defined = set(re.findall(r"^ *(?:async )?def (\w+)\(", text, re.MULTILINE))
        assert names.keys() <= defined, f"rename or remove them in tests/durations.json, of {file}"


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
