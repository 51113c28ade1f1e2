"""Reads the state that an application's files declare. Used by planning, plan previews and observation.

An application whose pipeline has no stage of its platform is deployed by scripts, for example with SAM or
ecspresso. It needs none of the platform's files.
"""

from typing import Any

from pipecd.config.application import ApplicationConfig
from pipecd.errors import UserError
from pipecd.model.stage import Source
from pipecd.platforms import Platform
from pipecd.stages import STAGES


async def load_desired_state(platform: Platform[Any], source: Source) -> Any:
    """The platform's desired state; None if it cannot be read and no stage needs it. Raises UserError."""
    try:
        return await platform.load_desired_state(source)
    except UserError:
        if not is_deployed_by_scripts(source.config):
            raise
        return None


def is_deployed_by_scripts(config: ApplicationConfig) -> bool:
    """Whether no stage of the pipeline is the platform's."""
    stages = config.spec.pipeline.stages if config.spec.pipeline else ()
    return bool(stages) and all(stage.name in STAGES for stage in stages)
