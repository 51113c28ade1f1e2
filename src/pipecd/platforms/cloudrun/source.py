"""The desired state of a Cloud Run application. Called by the planner."""

from collections.abc import Sequence

from pipecd.model.deployment import SyncStrategy, Version
from pipecd.model.plan import Strategy
from pipecd.model.stage import Source
from pipecd.platforms import deploys_by_script
from pipecd.platforms.cloudrun.manifest import Manifest, load_manifest
from pipecd.platforms.images import image_tag, image_version


def load_if_used(source: Source) -> Manifest | None:
    """The manifest; None if the pipeline has no Cloud Run stage and there is no manifest."""
    app_input = source.config.spec.input
    file = source.directory / (app_input.job_manifest_file or app_input.service_manifest_file)
    if deploys_by_script(source, "CLOUDRUN_") and not file.exists():
        return None
    return load_manifest(source)


def versions(desired: Manifest | None) -> Sequence[Version]:
    return tuple(image_version(image) for image in dict.fromkeys(desired.images)) if desired else ()


def choose_strategy(running: Manifest | None, target: Manifest | None) -> Strategy:
    """A traffic split needs a revision before, so the first deployment uses quick sync.

    Without a manifest only the pipeline can deploy.
    """
    if target is None:
        return Strategy(
            strategy=SyncStrategy.PIPELINE,
            reason="Sync with the pipeline, because the application has no manifest",
        )
    new = image_tag(target.images[0])
    if running is None:
        why = f"Quick sync of image {new}, because this is the first deployment"
        return Strategy(strategy=SyncStrategy.QUICK_SYNC, reason=why)
    old = image_tag(running.images[0])
    why = "Sync with the pipeline" + (f", to update the image from {old} to {new}" if old != new else "")
    return Strategy(strategy=SyncStrategy.PIPELINE, reason=why)
