"""Whether the stages of a Lambda pipeline fit together. Pure.

Checked when the application's file is read, before anything is deployed.
"""

from collections.abc import Iterator

from pipecd.config.application import SpecError
from pipecd.platforms.awslambda.config import LambdaApp


def check(spec: LambdaApp) -> Iterator[SpecError]:
    """What is wrong with the pipeline."""
    names = [stage.name for stage in spec.pipeline.stages] if spec.pipeline else []
    for index, name in enumerate(names):
        if name == "LAMBDA_PROMOTE" and "LAMBDA_CANARY_ROLLOUT" not in names[:index]:
            yield SpecError(
                path=("pipeline", "stages", index),
                what="no version was rolled out",
                remedy="add LAMBDA_CANARY_ROLLOUT before LAMBDA_PROMOTE",
            )
