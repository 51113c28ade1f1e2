"""Changes the manifests of a canary by the patches of its stage. Pure.

A patch replaces values of an object, or of a YAML document that is a text of an object, such as a file in a
ConfigMap. There the rest of the text stays as it is, with its comments.
"""

import json
from collections.abc import Sequence
from typing import Any

from pipecd.errors import ConfigError
from pipecd.platforms.kubernetes.config import Patch, PatchOperation
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.yaml_reader import read_documents
from pipecd.value_path import Location, ValuePath, replaced


def patch(manifests: Sequence[Manifest], patches: Sequence[Patch]) -> list[Manifest]:
    """The manifests with all patches. Raises ConfigError if one does not apply. Call it in a thread."""
    result = list(manifests)
    for item in patches:
        target = item.target
        index = next(
            (
                index
                for index, manifest in enumerate(result)
                if (manifest.kind, manifest.name) == (target.kind, target.name)
            ),
            None,
        )
        if index is None:
            raise ConfigError(
                f"the application has no {target.kind} {target.name}, which a patch of the canary changes",
                remedy="correct kind and name of the patch's target; they are those in Git",
            )
        result[index] = _patch_one(result[index], item)
    return result


def _patch_one(manifest: Manifest, item: Patch) -> Manifest:
    body: Any = manifest.body
    root = item.target.document_root
    if root is None:
        for operation in item.ops:
            for location in _find(operation.path, body, manifest):
                body = replaced(body, location, operation.value)
        return Manifest(body, manifest.place)
    for location in _find(root, body, manifest):
        text = body
        for part in location:
            text = text[part]
        if not isinstance(text, str):
            raise ConfigError(
                f"{root} of {manifest} is not a text",
                remedy="documentRoot is the path of a text that is a YAML document",
                place=manifest.place,
            )
        for operation in item.ops:
            text = _replace_in_text(text, operation, manifest)
        body = replaced(body, location, text)
    return Manifest(body, manifest.place)


def _find(path: ValuePath, root: Any, manifest: Manifest) -> list[Location]:
    try:
        found = path.find(root)
    except ValueError as error:
        raise ConfigError(str(error), place=manifest.place) from None
    # The identity of the object must stay.
    if not found or () in found:
        raise ConfigError(
            f"{manifest} has no {path}, which a patch of the canary changes",
            remedy="correct the path of the patch",
            place=manifest.place,
        )
    return found


def _replace_in_text(text: str, operation: PatchOperation, manifest: Manifest) -> str:
    """Replaces the characters of each value, and checks that no other part has changed."""
    documents = list(read_documents(text, f"{manifest.place.file} ({manifest})"))
    if len(documents) != 1:
        raise ConfigError(
            f"the text in {manifest} has {len(documents)} YAML documents, and a patch can change one",
            remedy="correct documentRoot of the patch",
            place=manifest.place,
        )
    document, expected, changed = documents[0], documents[0].data, text
    spans = []
    for location in _find(operation.path, document.data, manifest):
        expected = replaced(expected, location, operation.value)
        node = document.find_node(location)
        if node is not None:
            spans.append((node.start_mark.index, node.end_mark.index))
    for start, end in sorted(spans, reverse=True):
        # The end of a block is the beginning of what follows it.
        end = start + len(changed[start:end].rstrip())
        space = " " if changed[start - 1 : start] in (":", "-") else ""
        changed = changed[:start] + space + json.dumps(operation.value, ensure_ascii=False) + changed[end:]
    try:
        result = [found.data for found in read_documents(changed, "")]
    except ConfigError:
        result = []
    if result != [expected]:
        raise ConfigError(
            f"{operation.path} in {manifest} cannot be replaced, because other values refer to it",
            remedy="write the value without anchors, aliases and merge keys",
            place=manifest.place,
        )
    return changed
