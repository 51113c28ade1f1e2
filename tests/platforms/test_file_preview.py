"""Diffs of files: their summary and details, and that only values count."""

from typing import Any

import pytest

from pipecd.platforms.file_preview import differences, file_preview


def containers(*images: str) -> dict[str, Any]:
    return {"containers": [{"name": f"c{number}", "image": image} for number, image in enumerate(images)]}


CASES: dict[str, tuple[Any, Any, list[str]]] = {
    "equal": ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 2}]}, []),
    "a value": ({"a": {"b": 1}}, {"a": {"b": 2}}, ["a.b"]),
    "one added, one removed": ({"a": {"x": 1}}, {"b": 1}, ["a", "b"]),
    "another type": ({"a": {"x": 1}}, {"a": 1}, ["a"]),
    "in a list": ({"a": [1, 2]}, {"a": [1, 3, 4]}, ["a.[1]", "a.[2]"]),
    "by name": (containers("v1", "v1"), containers("v1", "v2"), ["containers.[c1].image"]),
    "inserted first": (
        {"a": [{"name": "x", "v": 1}]},
        {"a": [{"name": "w", "v": 1}, {"name": "x", "v": 1}]},
        ["a.[w]"],
    ),
    "duplicate names are compared by index": (
        {"a": [{"name": "x"}, {"name": "x", "v": 1}]},
        {"a": [{"name": "x"}, {"name": "x", "v": 2}]},
        ["a.[1].v"],
    ),
}


@pytest.mark.parametrize(("old", "new", "expected"), CASES.values(), ids=CASES)
def test_each_difference_has_its_path(old: Any, new: Any, expected: list[str]) -> None:
    assert set(differences(old, new)) == set(expected)


def test_the_order_of_keys_is_no_change() -> None:
    preview = file_preview({"task.json": {"a": 1, "b": 2}}, {"task.json": {"b": 2, "a": 1}})
    assert preview.no_change and preview.summary == "No changes were detected" and not preview.details


def test_a_change_is_shown_as_a_diff() -> None:
    preview = file_preview(
        {"task.json": containers("v1"), "same": {"x": 1}}, {"task.json": containers("v2"), "same": {"x": 1}}
    )
    assert not preview.no_change and preview.summary == "1 change was detected"
    assert preview.details == (
        "--- Last Deploy\n"
        "+++ Head Commit\n"
        "# task.json\n"
        "@@ -1,3 +1,3 @@\n"
        " containers:\n"
        "-- image: v1\n"
        "+- image: v2\n"
        "   name: c0\n"
    )


def test_added_and_removed_files_are_changes() -> None:
    preview = file_preview({"old": {"a": 1}}, {"new": {"a": 1}})
    assert preview.summary == "2 changes were detected"
    assert "# old\n@@ -1 +0,0 @@\n-a: 1\n" in preview.details and "+a: 1\n" in preview.details


def test_a_first_deployment_shows_everything_as_added() -> None:
    preview = file_preview(None, {"new": {"a": 1}})
    assert not preview.no_change and preview.summary == "This would be the first deployment"
    assert "+a: 1\n" in preview.details
