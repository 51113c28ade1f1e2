"""Platforms are found by the metadata of packages; one that cannot be used concerns its kind alone."""

import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest

from pipecd.config import piped
from pipecd.config.document import Document, parse
from pipecd.config.piped import PipedSpec, PlatformProvider
from pipecd.errors import ConfigError
from pipecd.git.credentials import Credentials, User
from pipecd.git.mirror import Mirrors
from pipecd.piped.platform_availability import check_provider_types, reported_platforms
from pipecd.piped.source.checkout import decode_config
from pipecd.piped.source.heads import AppFile, Heads
from pipecd.piped.source.repository import Repository
from pipecd.platforms import registry
from pipecd.platforms.registry import installed_platforms, load_platform
from tests.platforms.packages import installed_package
from tests.repo import local_clone
from tests.world import app_file


@pytest.fixture
def without_aws(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An environment in which the extra `aws` is not installed."""

    def missing(name: str) -> Any:
        if name == "aiobotocore":
            raise PackageNotFoundError(name)
        return distribution(name)

    monkeypatch.setattr(registry, "distribution", missing)
    monkeypatch.setattr(registry, "_loaded", {})
    installed_platforms.cache_clear()
    yield
    installed_platforms.cache_clear()


def test_a_platform_without_its_extra_names_what_to_install(without_aws: None) -> None:
    lacking = {kind: platform.remedy for kind, platform in installed_platforms().items() if platform.missing}
    assert lacking == {"ECS": "pipecd[aws]", "LAMBDA": "pipecd[aws]"}
    with pytest.raises(ConfigError) as raised:
        load_platform("LAMBDA")
    assert str(raised.value) == (
        "the platform LAMBDA requires aiobotocore, not installed on this agent; install pipecd[aws]"
    )


async def test_an_unusable_platform_fails_its_own_applications_alone(
    without_aws: None, tmp_path: Path
) -> None:
    clone = local_clone(tmp_path)
    broken = app_file("function").replace("TerraformApp", "LambdaApp")
    raising = app_file("raising").replace("TerraformApp", "RaisingApp")
    clone.commit_and_push(
        "Add",
        {
            "a/app.pipecd.yaml": broken,
            "b/app.pipecd.yaml": raising,
            "c/app.pipecd.yaml": raising.replace("RaisingApp", "UnknownApp"),
            "d/app.pipecd.yaml": app_file("shop"),
        },
    )
    module = "raise ImportError('no module named cloud')"
    platforms = {"RAISING": "raising_platform:platform"}
    with installed_package(tmp_path, "raising", platforms=platforms, modules={"raising_platform.py": module}):
        async with Mirrors(tmp_path / "home", Credentials(), User()) as mirrors:
            repository = Repository(id="shop", remote=clone.remote, branch="main")
            files = (await Heads(mirrors, {"shop": repository}).load_head("shop")).files
    errors = {path: str(file) for path, file in files.items() if isinstance(file, ConfigError)}
    assert errors == {
        "a/app.pipecd.yaml": "a/app.pipecd.yaml:2: kind: the platform LAMBDA requires aiobotocore,"
        " not installed on this agent; install pipecd[aws]",
        "b/app.pipecd.yaml": "b/app.pipecd.yaml:2: kind: the platform RAISING cannot be loaded:"
        " ImportError: no module named cloud; reinstall raising, with a version that supports this agent",
        "c/app.pipecd.yaml": "c/app.pipecd.yaml:2: kind: this agent has no platform UNKNOWN;"
        " install the package that provides it; installed: CLOUDRUN, ECS, KUBERNETES, LAMBDA,"
        " RAISING, TERRAFORM",
    }
    shop = files["d/app.pipecd.yaml"]
    assert isinstance(shop, AppFile) and shop.kind == "TERRAFORM"


async def test_a_platform_whose_types_raise_fails_its_own_file_alone(tmp_path: Path) -> None:
    module = """
from dataclasses import replace
from pipecd.config.application import ApplicationSpec
from pipecd.platforms.terraform import platform as terraform

class Odd(ApplicationSpec):
    @classmethod
    def model_validate(cls, data):
        raise RuntimeError("odd")

platform = replace(terraform, config_kind="OddApp", spec=Odd)
"""
    clone = local_clone(tmp_path)
    odd = app_file("odd").replace("TerraformApp", "OddApp")
    clone.commit_and_push("Add", {"a/app.pipecd.yaml": odd, "b/app.pipecd.yaml": app_file("shop")})
    with installed_package(
        tmp_path, "odd", platforms={"ODD": "odd_platform:platform"}, modules={"odd_platform.py": module}
    ):
        async with Mirrors(tmp_path / "home", Credentials(), User()) as mirrors:
            repository = Repository(id="shop", remote=clone.remote, branch="main")
            files = (await Heads(mirrors, {"shop": repository}).load_head("shop")).files
    assert "internal error while the file was decoded: RuntimeError" in str(files["a/app.pipecd.yaml"])
    assert isinstance(files["b/app.pipecd.yaml"], AppFile)


def test_an_import_that_failed_is_not_repeated(tmp_path: Path) -> None:
    module = """
import sys
sys.imports_of_broken = getattr(sys, "imports_of_broken", 0) + 1
raise OSError("disk")
"""
    platforms = {"BROKEN": "broken_platform:platform"}
    with installed_package(tmp_path, "broken", platforms=platforms, modules={"broken_platform.py": module}):
        for _ in range(3):
            with pytest.raises(ConfigError, match="OSError: disk"):
                load_platform("BROKEN")
    assert sys.imports_of_broken == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("platform = 3", "the platform BROKEN of broken is a int, not a Platform; upgrade broken"),
        (
            "from pipecd.platforms.terraform import platform",
            "the platform BROKEN of broken reads files of another kind, TerraformApp; upgrade broken",
        ),
    ],
)
def test_an_object_that_cannot_be_the_platform_is_refused(tmp_path: Path, module: str, message: str) -> None:
    platforms = {"BROKEN": "broken_platform:platform"}
    with (
        installed_package(tmp_path, "broken", platforms=platforms, modules={"broken_platform.py": module}),
        pytest.raises(ConfigError) as raised,
    ):
        load_platform("BROKEN")
    assert str(raised.value).startswith(message)


def test_two_packages_for_one_kind_are_refused(tmp_path: Path) -> None:
    platforms = {"TERRAFORM": "pipecd.platforms.terraform:platform"}
    with installed_package(tmp_path, "other", platforms=platforms):
        with pytest.raises(ConfigError) as raised:
            load_platform("TERRAFORM")
        assert "TERRAFORM is provided by" in str(raised.value) and "uninstall one" in str(raised.value)
        assert "TERRAFORM" not in installed_platforms()
    assert load_platform("TERRAFORM").config_kind == "TerraformApp"


def test_a_file_is_decoded_with_its_own_platform_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: dict[str, Any] = {}
    monkeypatch.setattr(registry, "_loaded", loaded)
    decode_config(app_file("shop").encode(), "app.pipecd.yaml")
    with pytest.raises(ConfigError, match="no platform OTHER"):
        decode_config(app_file("shop").replace("TerraformApp", "OtherApp").encode(), "app.pipecd.yaml")
    assert set(loaded) == {"TERRAFORM", "OTHER"}


def spec(*providers: tuple[str, str]) -> PipedSpec:
    return PipedSpec.model_construct(
        platform_providers=[PlatformProvider(name=name, type=kind) for name, kind in providers],
        cloud_providers=[],
    )


def document(*providers: tuple[str, str]) -> Document:
    lines = [f"    - {{name: {name}, type: {kind}}}\n" for name, kind in providers]
    head = "apiVersion: pipecd.dev/v1beta1\nkind: Piped\nspec:\n  platformProviders:\n"
    return parse(head + "".join(lines), "piped.yaml")


def test_a_misspelled_provider_type_is_refused_at_startup() -> None:
    with pytest.raises(ConfigError) as raised:
        providers = [("tf", "TERRAFORM"), ("aws", "LAMDBA")]
        check_provider_types(spec(*providers), document(*providers))
    assert str(raised.value) == (
        "piped.yaml:6: spec.platformProviders[1].type: this agent has no platform LAMDBA;"
        " did you mean LAMBDA?"
    )


def test_a_provider_of_a_missing_platform_is_no_reason_not_to_start(without_aws: None) -> None:
    providers = [("tf", "TERRAFORM"), ("aws", "LAMBDA"), ("run", "CLOUDRUN")]
    agent = spec(*providers)
    check_provider_types(agent, document(*providers))
    reported = [(plugin.name, list(plugin.deploy_targets)) for plugin in reported_platforms(agent)]
    assert reported == [("cloudrun", ["run"]), ("kubernetes", []), ("terraform", ["tf"])]


def test_a_provider_type_is_the_name_of_a_platform() -> None:
    text = """
apiVersion: pipecd.dev/v1beta1
kind: Piped
spec:
  projectID: p
  pipedID: i
  pipedKeyData: eA==
  apiAddress: localhost:1
  platformProviders:
    - {name: a, type: terra form}
"""
    with pytest.raises(ConfigError, match="'terra form' is not the name of a platform, such as TERRAFORM"):
        piped.load(text, "piped.yaml")
