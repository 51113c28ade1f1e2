"""Plan preview of an ECS application: the changes of its definitions and of its rollout settings."""

from pipecd.model.stage import Source
from pipecd.platforms.ecs.source import load_if_used
from pipecd.platforms.file_preview import Files, preview_files


def _files(source: Source, *, deployed: bool) -> Files:
    desired = load_if_used(source, deployed=deployed)
    if desired is None:
        return {}
    files = {desired.input.task_definition_file: dict(desired.task.fields)}
    if desired.service:
        files[desired.input.service_definition_file] = dict(desired.service.fields)
    settings = desired.input.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return {**files, "spec.input": settings}


plan_preview = preview_files(_files)
