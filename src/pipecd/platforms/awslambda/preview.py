"""What a pull request would change in a Lambda application: what its manifest says of the function."""

from pipecd.model.preview import Preview, PreviewWork
from pipecd.model.stage import Source
from pipecd.platforms.awslambda.source import manifest
from pipecd.platforms.file_preview import Files, file_preview


async def plan_preview(work: PreviewWork) -> Preview:
    running = await work.running()
    return file_preview(_files(running) if running else None, _files(work.head))


def _files(source: Source) -> Files:
    name: str = source.config.spec.input.function_manifest_file
    said = manifest(source).model_dump(mode="json", by_alias=True)
    # What is written empty means the same as what is not written.
    return {name: {key: value for key, value in said.items() if value not in (None, "", [], {})}}
