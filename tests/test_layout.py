"""The package layout, in addition to the checks of import-linter."""

import importlib
import pkgutil
from types import ModuleType

import pytest

import pipecd

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
