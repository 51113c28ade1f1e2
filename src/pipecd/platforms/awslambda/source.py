"""What the files of a Lambda application say, and the code that they mean.

Called by the planner (`manifest`, `versions`) and by the stages (`code_of`), each with a checkout.
"""

import asyncio
import io
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipecd.config.decode import decode
from pipecd.config.document import parse
from pipecd.errors import ConfigError, Place
from pipecd.model.deployment import Version, VersionKind
from pipecd.model.stage import Source, Work
from pipecd.platforms.awslambda.function import GitSource, LambdaFunction
from pipecd.remotes import directory_url

MANIFEST_KIND = "LambdaFunction"
#: What UpdateFunctionCode takes in the call itself.
MOST_BYTES = 50 * 1024 * 1024
#: Zip cannot say anything earlier. One time for every file: the same sources are the same bytes.
_TIME = (1980, 1, 1, 0, 0, 0)


def manifest(source: Source) -> LambdaFunction:
    """The function that Git asks for. Raises ConfigError with file, line and key."""
    name = source.config.spec.input.function_manifest_file
    path = source.directory / name
    file = str(path.relative_to(source.root.resolve() if path.is_absolute() else source.root))
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise ConfigError(
            "there is no such file",
            remedy="write the function's manifest there, or correct input.functionManifestFile",
            place=Place(file),
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the file cannot be read: {error}", place=Place(file)) from error
    document = parse(text, file)
    if document.kind != MANIFEST_KIND:
        raise ConfigError(
            f"{document.kind} is no function",
            remedy=f"write kind: {MANIFEST_KIND}",
            place=document.place(("kind",)),
        )
    return decode(LambdaFunction, document.spec, document, ("spec",))


def versions(wanted: LambdaFunction) -> Sequence[Version]:
    if wanted.image:
        name = wanted.image.rsplit("/", 1)[-1].partition("@")[0].partition(":")[0]
        kind, url = VersionKind.CONTAINER_IMAGE, wanted.image
    elif wanted.s3_bucket:
        kind, name = VersionKind.S3_OBJECT, wanted.s3_key
        url = f"https://console.aws.amazon.com/s3/object/{wanted.s3_bucket}?prefix={wanted.s3_key}"
    else:
        assert wanted.source
        kind, name = VersionKind.GIT_SOURCE, wanted.source.git
        url = directory_url(wanted.source.git, wanted.source.ref, wanted.source.path)
    return (Version(kind=kind, version=wanted.version, name=name, url=url),)


async def code_of(work: Work[Any], wanted: LambdaFunction) -> Mapping[str, Any]:
    """The code, as CreateFunction's `Code` and as UpdateFunctionCode's members name it."""
    if wanted.image:
        return {"ImageUri": wanted.image}
    if wanted.s3_bucket:
        code = {"S3Bucket": wanted.s3_bucket, "S3Key": wanted.s3_key}
        return code | ({"S3ObjectVersion": wanted.s3_object_version} if wanted.s3_object_version else {})
    assert wanted.source
    root = await work.elsewhere(wanted.source.git, wanted.source.ref)
    return {"ZipFile": await asyncio.to_thread(zipped, root, wanted.source)}


def zipped(root: Path, source: GitSource) -> bytes:
    """The directory as a package. The same files are the same bytes, so that AWS sees no change in them."""
    folder = (root / source.path).resolve()
    if not folder.is_relative_to(root.resolve()) or not folder.is_dir():
        raise ConfigError(
            f"{source.git} has no directory {source.path or '.'} at {source.ref}",
            remedy="correct source.path in the function's manifest",
        )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as package:
        for file in _files(folder):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _TIME)
            mode = 0o755 if os.access(file, os.X_OK) else 0o644
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            package.writestr(entry, file.read_bytes())
    if packed.tell() > MOST_BYTES:
        raise ConfigError(
            f"the code of {source.git} is {packed.tell() // 2**20} MB as a package; a call takes 50 MB",
            remedy="build it into S3 or into an image, and name that in the function's manifest",
        )
    return packed.getvalue()


def _files(folder: Path) -> Iterator[Path]:
    """Every file, in an order of its own; a link counts as what it leads to, inside the folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() and not path.resolve().is_relative_to(folder):
            raise ConfigError(
                f"the link {path.relative_to(folder)} leads out of the function's directory",
                remedy="replace it with a file",
            )
        if path.is_file():
            yield path
