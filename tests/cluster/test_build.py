"""Building the test cluster, with a Go that writes an empty binary."""

from pathlib import Path

import pytest

from tests.cluster import build as module
from tests.cluster.build import binary_path, build, needs_go

GO = """#!/bin/sh
[ "$1" = env ] && {{ echo go{version}; exit; }}
echo "go: downloading k8s.io/kubernetes v1.37.2" >&2
echo k8s.io/kubernetes/cmd >&2
while [ "$1" != -o ]; do shift; done
echo "$GOTOOLCHAIN $CGO_ENABLED" > "$2"
exit {code}
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The first directory on PATH; the cache is empty."""
    monkeypatch.delenv("KUBEBOX", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path / "no-site-packages"))
    return tmp_path


def install_go(tools: Path, version: str = "1.26.0", code: int = 0) -> None:
    (tools / "go").write_text(GO.format(version=version, code=code))
    (tools / "go").chmod(0o755)


def test_it_is_built_once_and_found_again(tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install_go(tools)
    assert not needs_go()
    binary = build()
    assert binary.read_text() == "local 0\n"
    assert "1 modules downloaded" in capsys.readouterr().out
    install_go(tools, code=1)
    assert build() == binary == binary_path()


def test_a_changed_source_is_another_binary(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = binary_path()
    for name in ("go.mod", "go.sum", "main.go"):
        (tools / name).write_bytes((module.SOURCES / name).read_bytes())
    monkeypatch.setattr(module, "SOURCES", tools)
    assert binary_path() == before
    (tools / "main.go").write_text("// changed")
    assert binary_path() != before


@pytest.mark.parametrize("version", ["1.25.9", ""])
def test_an_old_go_is_not_used(tools: Path, version: str) -> None:
    if version:
        install_go(tools, version)
    assert needs_go()
    with pytest.raises(SystemExit, match=r"Go 1\.26 is not installed; run `make cluster`, which installs it"):
        build()


def test_a_failed_build_shows_the_errors_and_leaves_nothing(tools: Path) -> None:
    install_go(tools, code=1)
    with pytest.raises(SystemExit, match=r"k8s\.io/kubernetes/cmd\nthe cluster could not be built"):
        build()
    assert not binary_path().exists()


def test_a_ready_binary_can_be_named(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBOX", str(tools / "kubebox"))
    assert not needs_go()
    with pytest.raises(SystemExit, match="kubebox, which does not exist"):
        build()
    (tools / "kubebox").touch()
    assert build() == tools / "kubebox"
