"""The function manifest (`kind: LambdaFunction`) of a Lambda application.

Fields and limits are PipeCD's. Unknown fields are ignored, as in PipeCD, and named in the log of the stage.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from pipecd.config.decode import LenientModel
from pipecd.config.values import Text
from pipecd.platforms.images import image_tag

PACKAGE_TYPE_REMEDY = "give the function another name, or delete it and sync again"


class GitSource(LenientModel):
    """The agent zips `path` of `git` at `ref`."""

    git: str = Field(min_length=1)
    """URL of the repository with the code."""
    ref: str = Field(min_length=1)
    """Branch, tag or commit."""
    path: str = ""
    """Directory of the code in the repository. Empty: its root."""


class Architecture(LenientModel):
    name: Literal["x86_64", "arm64"]
    """Name of the instruction set."""


class EphemeralStorage(LenientModel):
    size: int = Field(ge=512, le=10240)
    """Size of `/tmp`, in MB."""


class VpcConfig(LenientModel):
    security_group_ids: Sequence[str] = ()
    """Ids of the security groups."""
    subnet_ids: Sequence[str] = ()
    """Ids of the subnets."""


class LambdaFunction(LenientModel):
    """One function. Code: `image`, else S3, else `source`. `memory` is in MB, `timeout` in seconds."""

    name: str = Field(min_length=1)
    """Name of the function."""
    role: str = Field(min_length=1)
    """ARN of the function's execution role."""
    image: str = ""
    """URI of a container image in ECR. Takes precedence over the other sources of code."""
    s3_bucket: str = Field(default="", alias="s3Bucket")
    """Bucket of a zip archive with the code. Takes precedence over `source`."""
    s3_key: str = Field(default="", alias="s3Key")
    """Key of the zip archive; required with `s3Bucket`."""
    s3_object_version: str = Field(default="", alias="s3ObjectVersion")
    """Version of the zip archive's object."""
    source: GitSource | None = None
    """A directory in Git; the agent creates the zip archive."""
    handler: str = ""
    """Method that handles events; required without an image."""
    runtime: str = ""
    """Identifier of the runtime, such as `python3.13`; required without an image."""
    architectures: Sequence[Architecture] = ()
    """The instruction set. Default: `x86_64`."""
    ephemeral_storage: EphemeralStorage | None = None
    """Size of the function's temporary storage. Default: 512 MB."""
    memory: int = Field(ge=1)
    """Memory of the function, in MB."""
    timeout: int = Field(ge=1, le=900)
    """Maximum duration of an invocation, in seconds."""
    tags: Mapping[str, Text] = Field(default_factory=dict)
    """Tags of the function."""
    environments: Mapping[str, Text] = Field(default_factory=dict)
    """Environment variables of the function."""
    vpc_config: VpcConfig | None = None
    """Connect the function to a VPC."""
    layers: Sequence[str] = ()
    """ARNs of the layer versions."""

    @model_validator(mode="after")
    def _has_code(self) -> Self:
        if self.image:
            return self
        if self.s3_bucket and not self.s3_key:
            raise ValueError("s3Key is required with s3Bucket")
        if not self.s3_bucket and self.source is None:
            raise ValueError("one of image, s3Bucket or source is required")
        if not self.handler or not self.runtime:
            raise ValueError("handler and runtime are required unless image is set")
        return self

    @property
    def package_type(self) -> str:
        """AWS's `PackageType`."""
        return "Image" if self.image else "Zip"

    @property
    def version(self) -> str:
        """The displayed version: the image's tag, the S3 object's version, or the Git ref."""
        if self.image:
            return image_tag(self.image)
        if self.s3_bucket:
            return self.s3_object_version
        return self.source.ref if self.source else ""


def configuration(function: LambdaFunction) -> dict[str, object]:
    """The fields that CreateFunction and UpdateFunctionConfiguration share, as AWS names them.

    Fields that are absent in Git are sent empty, so that removing a line in Git removes it in AWS.
    """
    fields: dict[str, object] = {
        "FunctionName": function.name,
        "Role": function.role,
        "MemorySize": function.memory,
        "Timeout": function.timeout,
        "Environment": {"Variables": dict(function.environments)},
        "EphemeralStorage": {"Size": function.ephemeral_storage.size if function.ephemeral_storage else 512},
        "VpcConfig": {
            "SecurityGroupIds": list(function.vpc_config.security_group_ids) if function.vpc_config else [],
            "SubnetIds": list(function.vpc_config.subnet_ids) if function.vpc_config else [],
        },
    }
    if not function.image:
        fields |= {
            "Handler": function.handler,
            "Runtime": function.runtime,
            "Layers": list(function.layers),
        }
    return fields


def architectures(function: LambdaFunction) -> list[str]:
    return [architecture.name for architecture in function.architectures] or ["x86_64"]


def refused_changes(running: LambdaFunction | None, target: LambdaFunction | None) -> Sequence[str]:
    """Changes that AWS does not allow for an existing function, as sentences that end in a remedy."""
    if (
        running is None
        or target is None
        or running.name != target.name
        or running.package_type == target.package_type
    ):
        return ()
    return (f"{package_type_change(target, running.package_type)}; {PACKAGE_TYPE_REMEDY}",)


def package_type_change(desired: LambdaFunction, live: str) -> str:
    return (
        f"AWS cannot change the package type of the function {desired.name} from {live}"
        f" to {desired.package_type}"
    )
