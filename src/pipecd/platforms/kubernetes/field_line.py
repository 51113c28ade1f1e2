"""The line of a field that the cluster refused, from the file where it is written.

Of rendered manifests, the file is not at hand, and the line of the document stays.
"""

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipecd.config.document import read_file
from pipecd.errors import ConfigError, Place, Refused
from pipecd.model.stage import Source
from pipecd.platforms.kubernetes.manifest import MAX_BYTES, Manifest, objects_of
from pipecd.platforms.kubernetes.yaml_reader import read_documents

#: `spec.containers[0].image`, and `.spec.containers[name="web"].image` of server-side apply.
_PART = re.compile(r"([^.\[\]]+)|\[(\d{1,9})\]|\[([^\]]*)\]")
_ITEM_KEY = re.compile(r'([\w./-]+)="?([^",]*)"?')
_MAX_PARTS = 64


async def with_field_line(source: Source, manifest: Manifest, error: Refused) -> Refused:
    """`error` with the line of the field that its place names, if that can be found."""
    place = error.place
    is_field = place is not None and place.key and place == replace(manifest.place, key=place.key)
    if place is None or not is_field or type(error) is not Refused:
        return error
    line = await asyncio.to_thread(_find_line, source, manifest, place)
    if not line:
        return error
    return Refused(error.what, remedy=error.remedy, place=replace(place, line=line))


def _find_line(source: Source, manifest: Manifest, place: Place) -> int:
    root = source.root.resolve()
    path = Path(os.path.realpath(root / place.file))
    if not path.is_relative_to(root) or not path.is_file():
        return 0
    try:
        text = read_file(path, place.file, missing="", max_size=MAX_BYTES)
        for document in read_documents(text, place.file):
            for prefix, body in objects_of(document.data):
                if document.line(prefix) == place.line and _is_same(body, manifest):
                    return document.line((*prefix, *parse_path(place.key, body)))
    except ConfigError:
        pass
    return 0


def _is_same(body: Any, manifest: Manifest) -> bool:
    """Whether the file is the one that was read, and no template. Stages change the rest of a manifest."""
    metadata = body.get("metadata") if isinstance(body, Mapping) else None
    return (
        isinstance(metadata, Mapping)
        and (body.get("apiVersion"), body.get("kind")) == (manifest.api_version, manifest.kind)
        and metadata.get("name") == manifest.name
    )


def parse_path(key: str, body: Any) -> Sequence[str | int]:
    """The keys and indexes of a path as the server writes it; items that it names by a key are searched."""
    parts: list[str | int] = []
    value = body
    for name, index, item in _PART.findall(key)[:_MAX_PARTS]:
        part: str | int | None = name or (int(index) if index else _index_of(value, item))
        if part is None:
            break
        parts.append(part)
        value = _child(value, part)
    return parts


def _child(value: Any, part: str | int) -> Any:
    if isinstance(value, Mapping):
        return value.get(part)
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return None


def _index_of(value: Any, item: str) -> int | None:
    wanted = dict(_ITEM_KEY.findall(item))
    for index, each in enumerate(value if isinstance(value, list) and wanted else ()):
        if isinstance(each, Mapping) and all(str(each.get(key)) == text for key, text in wanted.items()):
            return index
    return None
