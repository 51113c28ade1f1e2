"""What platforms remember is stored in the agent's folder, and may be lost."""

import threading
from collections.abc import Callable
from pathlib import Path

from pipecd.model.drift import Addition
from pipecd.piped.observe.memory import PlatformMemories
from pipecd.platforms import Memory
from pipecd.platforms.kubernetes.compared import MAX_OBJECTS, Compared, Comparisons


class Notes:
    def __init__(self, content: bytes = b"") -> None:
        self.content, self.dumps = content, 0

    def dump(self) -> bytes:
        self.dumps += 1
        return self.content

    def load(self, content: bytes) -> None:
        self.content = content


def memories(folder: Path, notes: Notes) -> PlatformMemories:
    return PlatformMemories(folder, {"KUBERNETES": Memory(dump=notes.dump, load=notes.load)})


async def test_a_later_process_reads_what_an_earlier_one_wrote(tmp_path: Path) -> None:
    await memories(tmp_path / "platforms", Notes(b"x" * 100_000)).save()
    later = Notes()
    await memories(tmp_path / "platforms", later).load()
    assert later.content == b"x" * 100_000
    assert (tmp_path / "platforms" / "kubernetes").stat().st_size < 1000


async def test_it_is_written_only_when_it_changed(tmp_path: Path) -> None:
    notes = Notes(b"a")
    saved = memories(tmp_path, notes)
    await saved.save()
    (tmp_path / "kubernetes").unlink()
    await saved.save()
    assert not (tmp_path / "kubernetes").exists()
    notes.content = b"b"
    await saved.save()
    assert (tmp_path / "kubernetes").exists()


async def test_a_damaged_file_or_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "kubernetes").write_bytes(b"no zlib")
    notes = Notes(b"a")
    await memories(tmp_path, notes).load()
    assert notes.content == b"a"
    await memories(tmp_path / "kubernetes", notes).save()


def test_comparisons_survive_and_are_bounded() -> None:
    first, addition = Comparisons(), Addition(key="k", field="spec.x", manager="kubectl-edit")
    first.add("uid", Compared("content", "digest", [addition]))
    later = Comparisons()
    later.load(first.dump())
    found = later.find("uid", "content", "digest")
    assert found and list(found.additions) == [addition]
    assert later.find("uid", "other", "digest") is None
    assert later.find("uid", "content", "other") is None
    for garbage in (b"", b"[]", b'{"format": 0}', first.dump().replace(b"1 ", b"0 "), b'{"objects": 1}'):
        Comparisons().load(garbage)
    old = Comparisons()
    old.load(first.dump().replace(b'"format": "1 ', b'"format": "0 '))
    assert old.find("uid", "content", "digest") is None
    for number in range(MAX_OBJECTS):
        first.add(str(number), Compared("c", "d"))
    assert first.find("uid", "content", "digest") is None


class _Key(str):
    """Calls `hook` once when it is hashed: while keys are read, a collection of garbage may run anything."""

    hook: Callable[[], None] | None = None

    def __hash__(self) -> int:
        hook, _Key.hook = _Key.hook, None
        if hook:
            hook()
        return str.__hash__(self)


def test_comparisons_are_written_while_others_are_made() -> None:
    comparisons = Comparisons()
    for number in range(3):
        comparisons.add(_Key(number), Compared("c", "d"))
    adding = threading.Thread(target=comparisons.add, args=("new", Compared("c", "d")))

    def add_meanwhile() -> None:
        adding.start()
        adding.join(0.05)

    _Key.hook = add_meanwhile
    later = Comparisons()
    later.load(comparisons.dump())
    adding.join()
    assert later.find("2", "c", "d") and comparisons.find("new", "c", "d")
