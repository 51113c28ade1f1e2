"""Whether the stages of a Cloud Run pipeline fit what is deployed. Pure.

Checked when the application's file is read, before anything is deployed.
"""

from collections.abc import Iterator

from pipecd.config.application import SpecError
from pipecd.platforms.cloudrun.config import CloudRunApp


def check(spec: CloudRunApp) -> Iterator[SpecError]:
    """What is wrong with the pipeline."""
    is_job = bool(spec.input.job_manifest_file)
    for index, stage in enumerate(spec.pipeline.stages if spec.pipeline else ()):
        path = ("pipeline", "stages", index)
        if stage.name == "CLOUDRUN_PROMOTE" and is_job:
            yield SpecError(
                path=path,
                what="CLOUDRUN_PROMOTE deploys services, and this is a job",
                remedy="use CLOUDRUN_JOB_SYNC",
            )
        if stage.name == "CLOUDRUN_JOB_SYNC" and not is_job:
            yield SpecError(
                path=path,
                what="CLOUDRUN_JOB_SYNC deploys jobs, and this is a service",
                remedy="set input.jobManifestFile",
            )
