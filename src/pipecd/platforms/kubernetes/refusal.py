"""Turns the API server's refusal of an object into one sentence with its place, key and remedy. Pure."""

import re
from collections.abc import Sequence
from dataclasses import replace

from pipecd.errors import Refused
from pipecd.platforms.kubernetes.cluster.errors import Rejected
from pipecd.platforms.kubernetes.manifest import Manifest

#: What happens when a field cannot be changed: the value "recreate" deletes the object and creates it again.
ON_IMMUTABLE, RECREATE = "pipecd.dev/on-immutable", "recreate"
#: Kinds that contain data or other objects: they are never deleted to change a field.
NEVER_RECREATED = frozenset(
    {"PersistentVolumeClaim", "PersistentVolume", "Namespace", "CustomResourceDefinition"}
)
_IMMUTABLE = (
    *("is immutable", "immutable field", "may not change", "cannot change roleRef", "may not be changed"),
    *("updates to ", "updates may not change"),
)
_WEBHOOK = "admission webhook "
_DUPLICATE_KEYS = "duplicate entries for key"
#: A path in a message of server-side apply, and of strict decoding.
_UNKNOWN_FIELD = re.compile(
    r'(?:\s|^)\.(\S[^\n]{0,500}?): field not declared|unknown field "([^"\n]{1,500})"'
)
_WRONG_TYPE = re.compile(r"(?:\s|^)\.(\S[^\n]{0,500}?): expected (\w+)[^\n]{0,40}, got ")
#: Types as the server names them.
_TYPES = {"string": "text", "numeric": "a number", "map": "a mapping", "list": "a list"}
#: Of a message about a value that cannot be read: what is before the reason.
_UNREADABLE = re.compile(
    r"^failed to convert new object .*unable to convert unstructured object to [^:]*: ", re.S
)
#: Part of a message → what to do.
_REMEDIES = (
    ("exceeded quota", "raise the quota of the namespace, or let its objects request less"),
    ("violates PodSecurity", "change the pod's security settings, or the level of the namespace"),
    ("because it is being terminated", "wait until the namespace is deleted, then sync again"),
    ("denied the request", "change the manifest as the admission webhook demands"),
    ("ValidatingAdmissionPolicy", "change the manifest as the policy demands"),
    ("is invalid: ", "correct the field"),
)


def is_immutable(error: Rejected) -> bool:
    """Whether the object was refused because a field cannot be changed. A guess is never made."""
    said = any(text in error.what for text in _IMMUTABLE)
    return said and (error.status.reason == "Invalid" or _WEBHOOK in error.what)


def has_duplicate_keys(error: Rejected) -> bool:
    """Whether a list of the manifest has two items with one key, which only server-side apply refuses."""
    return _DUPLICATE_KEYS in error.what


def duplicates_of_others(error: Rejected) -> bool:
    """Whether an item of Git may be the same as one that another manager owns beside this agent."""
    return error.status.reason == "Invalid" and ": Duplicate value: " in error.what


def refused(manifest: Manifest, error: Rejected) -> Refused:
    """The error to show to users."""
    message, fields, remedy = _describe(error)
    place = replace(manifest.place, key=fields[0]) if fields else manifest.place
    return Refused(f"{manifest} was refused: {message}", remedy=remedy or error.remedy, place=place)


def immutable(manifest: Manifest, error: Rejected) -> Refused:
    """The error for an object that may not be deleted to change it."""
    message, fields, _ = _describe(error)
    place = replace(manifest.place, key=fields[0]) if fields else manifest.place
    if manifest.kind in NEVER_RECREATED:
        remedy = f"a {manifest.kind} is never deleted to change a field; create another one and move to it"
    else:
        remedy = (
            "undo the change, give the object another name, or let it be deleted and created again:"
            f" annotate it with {ON_IMMUTABLE}: {RECREATE}"
        )
    return Refused(f"{manifest} cannot be changed: {message}", remedy=remedy, place=place)


def _describe(error: Rejected) -> tuple[str, Sequence[str], str]:
    """What is wrong, the fields concerned, and the remedy, as far as they are known."""
    message = error.what
    unknown = [one or other for one, other in _UNKNOWN_FIELD.findall(message)]
    if unknown:
        count = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        return f"there is no field {unknown[0]}{count}", unknown, "correct its name, or remove it"
    if found := _WRONG_TYPE.search(message):
        path, expected = found.groups()
        remedy = "put it in quotes" if expected == "string" else "correct it"
        return f"the value of {path} is not {_TYPES.get(expected, expected)}", [path], remedy
    if unreadable := _UNREADABLE.match(message):
        return f"a value cannot be read: {message[unreadable.end() :]}", [], "correct it"
    remedy = next((remedy for text, remedy in _REMEDIES if text in message), "")
    return " ".join(message.split()), error.status.fields, remedy
