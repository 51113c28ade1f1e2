"""The function manifest, and the package built from a Git source."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipecd.errors import ConfigError
from pipecd.model.deployment import SyncStrategy, VersionKind
from pipecd.platforms.awslambda import platform
from pipecd.platforms.awslambda.function import GitSource, LambdaFunction
from pipecd.platforms.awslambda.source import build_zip
from tests.platforms.aws.emulator import Emulator
from tests.platforms.aws.stage_runner import AwsRunner, assert_succeeded, load_source

REMOTE = "https://github.com/shop/code.git"
PYTHON = {"handler": "app.handler", "runtime": "python3.12"}


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    (folder / "src/deep").mkdir(parents=True)
    (folder / "src/app.py").write_text("def handler(*_): return 1\n")
    (folder / "src/deep/data").write_text("x")
    (folder / "src/bootstrap").write_text("#!/bin/sh\n")
    (folder / "src/bootstrap").chmod(0o700)
    (folder / "elsewhere").write_text("no")
    return folder


def test_the_same_files_give_the_same_package(code: Path) -> None:
    git = GitSource(git=REMOTE, ref="v1", path="src")
    first = build_zip(code, git)
    (code / "src/app.py").touch()
    assert build_zip(code, git) == first
    package = zipfile.ZipFile(io.BytesIO(first))
    assert package.namelist() == ["app.py", "bootstrap", "deep/data"]
    assert [entry.external_attr >> 16 & 0o777 for entry in package.infolist()] == [0o644, 0o755, 0o644]


def test_a_package_contains_nothing_from_outside_its_directory(code: Path) -> None:
    with pytest.raises(ConfigError, match="no directory"):
        build_zip(code / "src", GitSource(git=REMOTE, ref="v1", path=".."))
    (code / "src/link").symlink_to(code / "elsewhere")
    with pytest.raises(ConfigError, match="points outside"):
        build_zip(code, GitSource(git=REMOTE, ref="v1", path="src"))


async def test_a_git_source_is_built_and_published(
    aws: Emulator, runner: AwsRunner, checkout: Callable[..., Path], code: Path
) -> None:
    runner.target = checkout("built", source={"git": REMOTE, "ref": "v1", "path": "src"}, **PYTHON)
    runner.repositories = {(REMOTE, "v1"): code, (REMOTE, "v2"): code}
    assert_succeeded(await runner.run("LAMBDA_SYNC"))
    live = aws.client("lambda").get_function(FunctionName="shop", Qualifier="1")["Configuration"]
    assert live["Handler"] == "app.handler" and live["CodeSize"] > 0
    second = runner.next_deployment(
        checkout("same", source={"git": REMOTE, "ref": "v2", "path": "src"}, **PYTHON)
    )
    assert_succeeded(await second.run("LAMBDA_SYNC"))
    after = aws.client("lambda").get_function(FunctionName="shop")["Configuration"]
    assert after["CodeSha256"] == live["CodeSha256"]


async def test_a_zip_in_s3_is_published_in_its_version(
    aws: Emulator, runner: AwsRunner, checkout: Callable[..., Path], code: Path
) -> None:
    body = build_zip(code, GitSource(git=REMOTE, ref="v1", path="src"))
    put = aws.client("s3").put_object(Bucket="code", Key="shop.zip", Body=body)
    s3 = {"s3Bucket": "code", "s3Key": "shop.zip", "s3ObjectVersion": put["VersionId"]}
    runner.target = checkout("s3", **s3, **PYTHON)
    assert_succeeded(await runner.run("LAMBDA_SYNC"))
    (sent,) = aws.bodies("lambda.CreateFunction")
    assert sent["Code"] == {"S3Bucket": "code", "S3Key": "shop.zip", "S3ObjectVersion": put["VersionId"]}
    (version,) = platform.versions(await platform.load_desired_state(load_source(platform, runner.target)))
    assert (version.kind, version.version) == (VersionKind.S3_OBJECT, put["VersionId"])


async def test_all_fields_of_a_manifest_are_sent(
    aws: Emulator, runner: AwsRunner, checkout: Callable[..., Path]
) -> None:
    ec2 = aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="shop", Description="shop", VpcId=vpc)["GroupId"]
    runner.target = checkout(
        "full",
        architectures=[{"name": "arm64"}],
        ephemeralStorage={"size": 1024},
        environments={"A": 1, "B": True},
        vpcConfig={"securityGroupIds": [group], "subnetIds": [subnet]},
    )
    assert_succeeded(await runner.run("LAMBDA_SYNC"))
    live = aws.client("lambda").get_function(FunctionName="shop")["Configuration"]
    assert live["Architectures"] == ["arm64"] and live["EphemeralStorage"]["Size"] == 1024
    assert live["Environment"]["Variables"] == {"A": "1", "B": "true"}
    assert live["VpcConfig"]["SubnetIds"] == [subnet] and live["VpcConfig"]["SecurityGroupIds"] == [group]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"memory": 0}, r"function\.yaml:\d+: spec\.memory"),
        ({"timeout": 901}, r"function\.yaml:\d+: spec\.timeout"),
        ({"ephemeralStorage": {"size": 100}}, r"spec\.ephemeralStorage\.size"),
        ({"architectures": [{"name": "mips"}]}, "is not one of 'x86_64' or 'arm64'"),
        ({"s3Bucket": "code"}, "s3Key is required"),
        ({"source": {"git": REMOTE, "ref": "v1"}}, "handler and runtime are required"),
        ({"role": ""}, r"spec\.role: is empty"),
    ],
)
async def test_an_invalid_manifest_is_an_error_with_its_place(
    checkout: Callable[..., Path], change: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        await platform.load_desired_state(load_source(platform, checkout("wrong", **change)))


async def test_a_missing_manifest_is_an_error_with_its_place(checkout: Callable[..., Path]) -> None:
    folder = checkout("none")
    (folder / "function.yaml").unlink()
    with pytest.raises(ConfigError, match=r"^function\.yaml: file not found"):
        await platform.load_desired_state(load_source(platform, folder))


async def test_the_first_deployment_uses_quick_sync_and_later_ones_the_pipeline(
    checkout: Callable[..., Path],
) -> None:
    first = await platform.load_desired_state(load_source(platform, checkout("v1")))
    second = await platform.load_desired_state(load_source(platform, checkout("v2")))
    assert platform.choose_strategy(None, first).strategy is SyncStrategy.QUICK_SYNC
    later = platform.choose_strategy(first, second)
    assert later.strategy is SyncStrategy.PIPELINE and "from version v1 to v2" in later.reason
    (version,) = platform.versions(second)
    assert (version.kind, version.name, version.version) == (VersionKind.CONTAINER_IMAGE, "shop", "v2")


async def test_a_zip_without_an_object_version_is_named_by_its_key(checkout: Callable[..., Path]) -> None:
    zips = [
        await platform.load_desired_state(
            load_source(platform, checkout(key, image="", s3Bucket="code", s3Key=key, **PYTHON))
        )
        for key in ("hello-1.zip", "hello-2.zip")
    ]
    assert "Quick sync of version hello-1.zip," in platform.choose_strategy(None, zips[0]).reason
    assert "from version hello-1.zip to hello-2.zip" in platform.choose_strategy(zips[0], zips[1]).reason


@pytest.mark.parametrize(
    ("remote", "name"),
    [
        ("https://git.example/shop/functions.git", "shop/functions"),
        ("git@git.example:shop/functions.git", "shop/functions"),
        ("ssh://git@git.example:22/shop/functions", "shop/functions"),
        ("https://git.example", "https://git.example"),
    ],
)
def test_a_version_from_git_is_named_after_its_repository(remote: str, name: str) -> None:
    function = LambdaFunction(
        name="shop",
        role="arn:aws:iam::111111111111:role/shop",
        runtime="python3.12",
        handler="index.handler",
        memory=128,
        timeout=5,
        source=GitSource(git=remote, ref="v1", path="src"),
    )
    (version,) = platform.versions(function)
    assert (version.name, version.version) == (name, "v1")
