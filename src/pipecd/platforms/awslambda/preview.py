"""Plan preview of a Lambda application: the changes of its function manifest."""

from pipecd.model.stage import Source
from pipecd.platforms.awslambda.source import load_if_used
from pipecd.platforms.file_preview import Files, preview_files


def _files(source: Source, *, deployed: bool) -> Files:
    name: str = source.config.spec.input.function_manifest_file
    manifest = load_if_used(source)
    if manifest is None:
        return {}
    fields = manifest.model_dump(mode="json", by_alias=True)
    # An empty value means the same as an absent one.
    return {name: {key: value for key, value in fields.items() if value not in (None, "", [], {})}}


plan_preview = preview_files(_files)
