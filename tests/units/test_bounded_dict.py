"""The dictionary of limited size."""

from pipecd.bounded_dict import BoundedDict


def test_the_entries_that_were_set_last_are_kept() -> None:
    entries = BoundedDict[str, int](2)
    entries["a"], entries["b"] = 1, 2
    entries["a"] = 3
    entries["c"] = 4
    assert dict(entries) == {"a": 3, "c": 4}
    entries.setdefault("d", 5)
    entries.update({"e": 6})
    assert dict(entries) == {"d": 5, "e": 6}


def test_reading_moves_nothing_unless_it_is_requested() -> None:
    entries = BoundedDict[str, int](2)
    entries["a"], entries["b"] = 1, 2
    assert entries["a"] == 1 and entries.setdefault("a", 9) == 1
    entries["c"] = 3
    assert dict(entries) == {"b": 2, "c": 3}
    entries.move_to_end("b")
    entries["d"] = 4
    assert dict(entries) == {"b": 2, "d": 4}
