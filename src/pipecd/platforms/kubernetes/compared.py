"""Which objects are known to be as a sync would leave them, so that the cluster is not asked again.

An object that a sync has just applied is, and one that was compared without a difference, as long as neither
its content nor its manifest changes. The records are kept across restarts: an agent with 10,000 objects would
otherwise compare all of them by dry runs. They contain digests, no values.
"""

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from pipecd import __version__
from pipecd.bounded_dict import BoundedDict
from pipecd.json_input import decode_json
from pipecd.model.drift import Addition
from pipecd.platforms.kubernetes.apply import Placed
from pipecd.platforms.kubernetes.cluster.api import Object
from pipecd.platforms.kubernetes.effect import additions_of
from pipecd.platforms.kubernetes.field_rules import FieldRules
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.reduce import content_of

MAX_OBJECTS = 50_000
#: Of what is stored. Another version may send something else for the same manifest.
_FORMAT = f"1 {__version__}"


@dataclass(frozen=True)
class Compared:
    """`content` is that of `SeenObject`, or the object's version; `digest` is `digest_of` its manifest."""

    content: str
    digest: str
    additions: Sequence[Addition] = ()


class Comparisons:
    def __init__(self) -> None:
        #: `dump` runs in a thread of its own.
        self._lock = threading.Lock()
        #: By the uid of the object; the last used at the end.
        self._by_uid: BoundedDict[str, Compared] = BoundedDict(MAX_OBJECTS)

    def find(self, uid: str, content: str, digest: str) -> Compared | None:
        """The comparison of the same object with the same manifest, if nothing differed."""
        with self._lock:
            known = self._by_uid.get(uid)
            if known is None or (known.content, known.digest) != (content, digest):
                return None
            self._by_uid.move_to_end(uid)
            return known

    def add(self, uid: str, compared: Compared) -> None:
        with self._lock:
            self._by_uid[uid] = compared

    def add_applied(self, placed: Placed, applied: Object, rules: FieldRules) -> None:
        """`applied` is the cluster's answer to a sync of `placed`, which has no marks of an application."""
        self.add(
            str(applied["metadata"]["uid"]),
            Compared(
                content_of(placed.type, applied),
                digest_of(placed.manifest, rules),
                additions_of(placed, applied, rules),
            ),
        )

    def clear(self) -> None:
        """Everything is compared again."""
        with self._lock:
            self._by_uid.clear()

    def dump(self) -> bytes:
        """For `load` of a later process."""
        with self._lock:
            known = list(self._by_uid.items())
        objects = {
            uid: [each.content, each.digest, [asdict(addition) for addition in each.additions]]
            for uid, each in known
        }
        return json.dumps({"format": _FORMAT, "objects": objects}).encode()

    def load(self, content: bytes) -> None:
        """Adds what `dump` returned; nothing if it is something else."""
        try:
            stored = decode_json(content)
            if stored["format"] != _FORMAT:
                return
            objects = {
                str(uid): Compared(str(text), str(digest), [Addition(**each) for each in additions])
                for uid, (text, digest, additions) in stored["objects"].items()
            }
        except (AttributeError, KeyError, TypeError, ValueError):
            return
        for uid, compared in objects.items():
            self.add(uid, compared)


#: Of all clusters.
comparisons = Comparisons()


def digest_of(manifest: Manifest, rules: FieldRules) -> str:
    """Of all that decides what a sync makes of an object."""
    content = [manifest.body, rules.ignored_paths(manifest), rules.strict]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
