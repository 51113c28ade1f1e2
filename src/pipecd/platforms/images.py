"""Names and versions of container images, as the console shows them."""

from pipecd.model.deployment import Version, VersionKind


def image_version(image: str) -> Version:
    return Version(
        kind=VersionKind.CONTAINER_IMAGE, version=image_tag(image), name=image_name(image), url=image
    )


def image_tag(image: str) -> str:
    """The tag or digest of an image; a port of a registry is neither."""
    last = image.rsplit("/", 1)[-1]
    if "@" in last:
        return last.rpartition("@")[2]
    return last.rpartition(":")[2] if ":" in last else "latest"


def image_name(image: str) -> str:
    return image.rsplit("/", 1)[-1].partition("@")[0].partition(":")[0]
