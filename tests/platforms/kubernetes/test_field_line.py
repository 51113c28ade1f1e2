"""The lines of fields that the cluster refused."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipecd.errors import Place, Refused
from pipecd.platforms.kubernetes.field_line import parse_path, with_field_line
from pipecd.platforms.kubernetes.manifest import Manifest, ManifestReader

TEXT = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: first}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  annotations:
    example.com/note: "1"
spec:
  replica: 2
  template:
    spec:
      containers:
        - name: side
          image: a
        - name: web
          imag: b
---
kind: List
apiVersion: v1
items:
  - apiVersion: v1
    kind: ConfigMap
    metadata: {name: listed}
    dat: {}
"""


def read(text: str, file: str = "app/web.yaml") -> list[Manifest]:
    reader = ManifestReader()
    reader.read(text, file)
    return reader.manifests


async def line(root: Path, manifest: Manifest, key: str) -> int:
    source: Any = SimpleNamespace(root=root)
    place = Place(manifest.place.file, manifest.place.line, key)
    error = await with_field_line(source, manifest, Refused("there is no field", place=place))
    assert error.place and (error.place.file, error.place.key) == (place.file, key)
    return error.place.line


@pytest.mark.parametrize(
    ("number", "key", "expected"),
    [
        (1, "spec.replica", 12),
        (1, "spec.template.spec.containers[1].imag", 19),
        (1, 'spec.template.spec.containers[name="web"].imag', 19),
        (1, 'spec.template.spec.containers[name="none"].imag', 15),
        (1, "metadata.annotations", 9),
        (1, "spec.none", 11),
        (1, "[" * 5000 + "]", 5),
        (2, "dat", 27),
    ],
)
async def test_the_line_is_that_of_the_field(tmp_path: Path, number: int, key: str, expected: int) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "web.yaml").write_text(TEXT)
    assert await line(tmp_path, read(TEXT)[number], key) == expected


@pytest.mark.parametrize(
    "text", [None, "{{ template }}", TEXT.replace("name: web\n  anno", "name: other\n  anno"), "a: [", "1"]
)
async def test_the_line_stays_that_of_the_document_if_the_file_is_another(
    tmp_path: Path, text: str | None
) -> None:
    (tmp_path / "app").mkdir()
    if text is not None:
        (tmp_path / "app" / "web.yaml").write_text(text)
    assert await line(tmp_path, read(TEXT)[1], "spec.replica") == 5


async def test_a_file_outside_the_repository_is_not_read(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "web.yaml").write_text(TEXT)
    (root / "link.yaml").symlink_to(tmp_path / "web.yaml")
    for file in ("link.yaml", "../web.yaml"):
        assert await line(root, read(TEXT, file)[1], "spec.replica") == 5


def test_a_path_of_any_text_is_read_in_parts() -> None:
    body = {"a": [{"name": "x", "b": 1}, {"name": "y"}]}
    assert parse_path('a[name="y"].b', body) == ["a", 1, "b"]
    assert parse_path("a[5].b", body) == ["a", 5, "b"]
    assert parse_path("a[].b", body) == ["a"]
    assert len(parse_path("a." * 1000, body)) == 64
