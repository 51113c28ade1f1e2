"""Reads a Lambda application's manifest, and loads the function's code.

Called by the planner (`load_manifest`, `versions`) and by the stages (`load_code`), each with a checkout.
"""

import asyncio
import io
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipecd.config.decode import decode, keys_without_effect
from pipecd.config.document import Document, parse, read_file
from pipecd.errors import ConfigError
from pipecd.model.deployment import Version, VersionKind
from pipecd.model.stage import Source, Work
from pipecd.platforms import deploys_by_script
from pipecd.platforms.awslambda.function import GitSource, LambdaFunction
from pipecd.platforms.images import image_version
from pipecd.remotes import directory_url

MANIFEST_KIND = "LambdaFunction"
#: Limit of UpdateFunctionCode for a package sent inline (bytes).
MAX_PACKAGE_BYTES = 50 * 1024 * 1024
#: Limit of Lambda for the files of a package (bytes).
MAX_UNZIPPED_BYTES = 250 * 1024 * 1024
#: The earliest time in a zip file. Every file has it, so that the same sources give the same bytes.
_TIME = (1980, 1, 1, 0, 0, 0)


def load_manifest(source: Source) -> LambdaFunction:
    """The function manifest. Raises ConfigError with file, line and key."""
    document = _read_manifest(source)
    return decode(LambdaFunction, document.spec, document, ("spec",))


def manifest_keys_without_effect(source: Source) -> Sequence[str]:
    """A sentence about each key of the manifest that has no effect, such as a misspelled one."""
    document = _read_manifest(source)
    keys = keys_without_effect(LambdaFunction, document.spec, document, ("spec",))
    return [f"{place} has no effect: {reason}" for place, reason in keys]


def _read_manifest(source: Source) -> Document:
    name = source.config.spec.input.function_manifest_file
    path = source.directory / name
    file = source.relative(path)
    missing = "create the function manifest there, or correct input.functionManifestFile"
    document = parse(read_file(path, file, missing=missing), file)
    if document.kind != MANIFEST_KIND:
        raise ConfigError(
            f"{document.kind} is not a function manifest",
            remedy=f"set kind: {MANIFEST_KIND}",
            place=document.place(("kind",)),
        )
    return document


def load_if_used(source: Source) -> LambdaFunction | None:
    """As `load_manifest`; None if the pipeline has no Lambda stage and there is no manifest."""
    file = source.directory / source.config.spec.input.function_manifest_file
    if deploys_by_script(source, "LAMBDA_") and not file.exists():
        return None
    return load_manifest(source)


def versions(desired: LambdaFunction | None) -> Sequence[Version]:
    if desired is None:
        return ()
    if desired.image:
        return (image_version(desired.image),)
    if desired.s3_bucket:
        kind, name = VersionKind.S3_OBJECT, desired.s3_key
        url = f"https://console.aws.amazon.com/s3/object/{desired.s3_bucket}?prefix={desired.s3_key}"
    else:
        assert desired.source
        kind, name = VersionKind.GIT_SOURCE, _repository_name(desired.source.git)
        url = directory_url(desired.source.git, desired.source.ref, desired.source.path)
    return (Version(kind=kind, version=desired.version, name=name, url=url),)


def _repository_name(remote: str) -> str:
    """The path of a repository without its host: `example/functions`."""
    path = remote.partition("://")[2].partition("/")[2] if "://" in remote else remote.rpartition(":")[2]
    return path.strip("/").removesuffix(".git") or remote


async def load_code(work: Work[Any], desired: LambdaFunction) -> Mapping[str, Any]:
    """The code, in the form of CreateFunction's `Code` and of UpdateFunctionCode's fields."""
    if desired.image:
        return {"ImageUri": desired.image}
    if desired.s3_bucket:
        code = {"S3Bucket": desired.s3_bucket, "S3Key": desired.s3_key}
        return code | ({"S3ObjectVersion": desired.s3_object_version} if desired.s3_object_version else {})
    assert desired.source
    root = await work.checkouts.repository(desired.source.git, desired.source.ref, desired.source.path)
    return {"ZipFile": await asyncio.to_thread(build_zip, root, desired.source)}


def build_zip(root: Path, source: GitSource) -> bytes:
    """The directory as a zip package. The same files give the same bytes, so that AWS detects no change."""
    folder = (root / source.path).resolve()
    if not folder.is_relative_to(root.resolve()) or not folder.is_dir():
        raise ConfigError(
            f"{source.git} has no directory {source.path or '.'} at {source.ref}",
            remedy="correct source.path in the function's manifest",
        )
    if sum(file.stat().st_size for file in _files(folder)) > MAX_UNZIPPED_BYTES:
        raise ConfigError(
            f"the files of {source.git} have more than {MAX_UNZIPPED_BYTES >> 20} MB, the limit of Lambda",
            remedy="build an image, and set it in the function's manifest",
        )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as package:
        for file in _files(folder):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _TIME)
            mode = 0o755 if os.access(file, os.X_OK) else 0o644
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            package.writestr(entry, file.read_bytes())
    if buffer.tell() > MAX_PACKAGE_BYTES:
        raise ConfigError(
            f"the package of {source.git} is {buffer.tell() // 2**20} MB; the limit is 50 MB",
            remedy="upload the package to S3 or build an image, and set that in the function's manifest",
        )
    return buffer.getvalue()


def _files(folder: Path) -> Iterator[Path]:
    """Every file in sorted order. Links are followed if they point inside the folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() and not path.resolve().is_relative_to(folder):
            raise ConfigError(
                f"the link {path.relative_to(folder)} points outside the function's directory",
                remedy="replace it with a file",
            )
        if path.is_file():
            yield path
