"""What a function's manifest may say, and the package that is made of a Git source."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipecd.errors import ConfigError
from pipecd.model.deployment import SyncStrategy, VersionKind
from pipecd.platforms.awslambda import platform
from pipecd.platforms.awslambda.function import GitSource
from pipecd.platforms.awslambda.source import zipped
from tests.platforms.aws.bench import Bench, source, succeeded
from tests.platforms.aws.emulator import Emulator

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


def test_the_same_files_are_the_same_package(code: Path) -> None:
    git = GitSource(git=REMOTE, ref="v1", path="src")
    first = zipped(code, git)
    (code / "src/app.py").touch()
    assert zipped(code, git) == first
    package = zipfile.ZipFile(io.BytesIO(first))
    assert package.namelist() == ["app.py", "bootstrap", "deep/data"]
    assert [one.external_attr >> 16 & 0o777 for one in package.infolist()] == [0o644, 0o755, 0o644]


def test_a_package_holds_nothing_from_outside_its_directory(code: Path) -> None:
    with pytest.raises(ConfigError, match="no directory"):
        zipped(code / "src", GitSource(git=REMOTE, ref="v1", path=".."))
    (code / "src/link").symlink_to(code / "elsewhere")
    with pytest.raises(ConfigError, match="leads out"):
        zipped(code, GitSource(git=REMOTE, ref="v1", path="src"))


async def test_a_git_source_is_built_and_published(
    aws: Emulator, bench: Bench, checkout: Callable[..., Path], code: Path
) -> None:
    bench.target = checkout("built", source={"git": REMOTE, "ref": "v1", "path": "src"}, **PYTHON)
    bench.elsewhere = {(REMOTE, "v1"): code, (REMOTE, "v2"): code}
    succeeded(await bench.run("LAMBDA_SYNC"))
    live = aws.client("lambda").get_function(FunctionName="shop", Qualifier="1")["Configuration"]
    assert live["Handler"] == "app.handler" and live["CodeSize"] > 0
    second = bench.next(checkout("same", source={"git": REMOTE, "ref": "v2", "path": "src"}, **PYTHON))
    succeeded(await second.run("LAMBDA_SYNC"))
    after = aws.client("lambda").get_function(FunctionName="shop")["Configuration"]
    assert after["CodeSha256"] == live["CodeSha256"]


async def test_a_zip_in_s3_is_published_in_its_version(
    aws: Emulator, bench: Bench, checkout: Callable[..., Path], code: Path
) -> None:
    body = zipped(code, GitSource(git=REMOTE, ref="v1", path="src"))
    put = aws.client("s3").put_object(Bucket="code", Key="shop.zip", Body=body)
    s3 = {"s3Bucket": "code", "s3Key": "shop.zip", "s3ObjectVersion": put["VersionId"]}
    bench.target = checkout("s3", **s3, **PYTHON)
    succeeded(await bench.run("LAMBDA_SYNC"))
    (sent,) = aws.bodies("lambda.CreateFunction")
    assert sent["Code"] == {"S3Bucket": "code", "S3Key": "shop.zip", "S3ObjectVersion": put["VersionId"]}
    (version,) = platform.versions(await platform.desired(source(platform, bench.target)))
    assert (version.kind, version.version) == (VersionKind.S3_OBJECT, put["VersionId"])


async def test_everything_of_a_manifest_is_sent(
    aws: Emulator, bench: Bench, checkout: Callable[..., Path]
) -> None:
    ec2 = aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="shop", Description="shop", VpcId=vpc)["GroupId"]
    bench.target = checkout(
        "full",
        architectures=[{"name": "arm64"}],
        ephemeralStorage={"size": 1024},
        environments={"A": 1, "B": True},
        vpcConfig={"securityGroupIds": [group], "subnetIds": [subnet]},
    )
    succeeded(await bench.run("LAMBDA_SYNC"))
    live = aws.client("lambda").get_function(FunctionName="shop")["Configuration"]
    assert live["Architectures"] == ["arm64"] and live["EphemeralStorage"]["Size"] == 1024
    assert live["Environment"]["Variables"] == {"A": "1", "B": "true"}
    assert live["VpcConfig"]["SubnetIds"] == [subnet] and live["VpcConfig"]["SecurityGroupIds"] == [group]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"memory": 0}, r"function\.yaml:\d+: spec\.memory"),
        ({"timeout": 901}, r"function\.yaml:\d+: spec\.timeout"),
        ({"ephemeralStorage": {"size": 100}}, r"spec\.ephemeralStorage\.size"),
        ({"architectures": [{"name": "mips"}]}, "is not one of 'x86_64' or 'arm64'"),
        ({"s3Bucket": "code"}, "s3Key is missing"),
        ({"source": {"git": REMOTE, "ref": "v1"}}, "handler and runtime are needed"),
        ({"role": ""}, r"spec\.role: is empty"),
    ],
)
async def test_a_wrong_manifest_is_told_with_its_place(
    checkout: Callable[..., Path], change: dict[str, object], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        await platform.desired(source(platform, checkout("wrong", **change)))


async def test_a_missing_manifest_is_told_with_its_place(checkout: Callable[..., Path]) -> None:
    folder = checkout("none")
    (folder / "function.yaml").unlink()
    with pytest.raises(ConfigError, match=r"^function\.yaml: there is no such file"):
        await platform.desired(source(platform, folder))


async def test_the_first_deployment_syncs_and_later_ones_take_the_pipeline(
    checkout: Callable[..., Path],
) -> None:
    one = await platform.desired(source(platform, checkout("v1")))
    two = await platform.desired(source(platform, checkout("v2")))
    assert platform.strategy(None, one).strategy is SyncStrategy.QUICK_SYNC
    later = platform.strategy(one, two)
    assert later.strategy is SyncStrategy.PIPELINE and "from version v1 to v2" in later.why
    (version,) = platform.versions(two)
    assert (version.kind, version.name, version.version) == (VersionKind.CONTAINER_IMAGE, "shop", "v2")
