"""What a pull request would change in an ECS application: its definitions, and how they are rolled out."""

from pipecd.model.preview import Preview, PreviewWork
from pipecd.model.stage import Source
from pipecd.platforms.ecs.source import desired
from pipecd.platforms.file_preview import Files, file_preview


async def plan_preview(work: PreviewWork) -> Preview:
    running = await work.running()
    return file_preview(_files(running) if running else None, _files(work.head))


def _files(source: Source) -> Files:
    wanted = desired(source)
    said = {wanted.input.task_definition_file: dict(wanted.task.fields)}
    if wanted.service:
        said[wanted.input.service_definition_file] = dict(wanted.service.fields)
    settings = wanted.input.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return {**said, "spec.input": settings}
