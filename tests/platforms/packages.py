"""Installs a package with platforms for the time of a block: its metadata and its modules."""

import importlib
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipecd.platforms import registry


@contextmanager
def installed_package(
    folder: Path,
    name: str,
    *,
    platforms: Mapping[str, str],
    requires: Sequence[str] = (),
    modules: Mapping[str, str] | Path | None = None,
) -> Iterator[None]:
    """`platforms` are entry points by kind; `modules` are texts by file name, or a package's directory."""
    site = folder / f"site-{name}"
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    points = "".join(f"{kind} = {target}\n" for kind, target in platforms.items())
    (info / "entry_points.txt").write_text(f"[{registry.ENTRY_POINTS}]\n{points}")
    if isinstance(modules, Path):
        shutil.copytree(modules, site / modules.name, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        for file, text in (modules or {}).items():
            (site / file).write_text(text)
    before, loaded = set(sys.modules), dict(registry._loaded)
    sys.path.insert(0, str(site))
    registry._loaded.clear()
    _search_again()
    try:
        yield
    finally:
        sys.path.remove(str(site))
        for module in set(sys.modules) - before:
            if str(getattr(sys.modules[module], "__file__", "")).startswith(str(site)):
                del sys.modules[module]
        registry._loaded.clear()
        registry._loaded.update(loaded)
        _search_again()


def _search_again() -> None:
    importlib.invalidate_caches()
    registry._entry_points.cache_clear()
    registry.installed_platforms.cache_clear()
