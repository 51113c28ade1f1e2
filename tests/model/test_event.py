"""Which events are written, and what is reported of them."""

from pipecd.model.deployment import find_trace_commits
from pipecd.model.event import (
    Event,
    EventOutcome,
    EventResult,
    combine_results,
    event_key,
    select_events,
)


def event(event_id: str, at: int) -> Event:
    return Event(id=event_id, name="image", data="v", created_at=at)


def test_the_newest_event_replaces_the_older_ones() -> None:
    selection = select_events([event("b", 10), event("c", 9), event("a", 10)], now=20, max_age=3600)
    assert selection.due == event("b", 10)
    assert selection.outdated == {
        "c": "The newer event b replaces it",
        "a": "The newer event b replaces it",
    }


def test_an_event_that_nobody_handled_in_time_is_outdated() -> None:
    at_limit = select_events([event("a", 100)], now=100 + 7200, max_age=7200)
    assert at_limit.due == event("a", 100)
    too_old = select_events([event("a", 99)], now=100 + 7200, max_age=7200)
    assert too_old.due is None
    assert too_old.outdated == {"a": "It was registered more than 2 hours ago, before a piped handled it"}
    assert select_events([], now=0, max_age=1).due is None


def test_a_failure_prevails_over_a_success_and_that_over_outdated() -> None:
    success = EventResult(outcome=EventOutcome.SUCCESS, message="Set 1 value")
    failure = EventResult(outcome=EventOutcome.FAILURE, message="Failed")
    outdated = EventResult(outcome=EventOutcome.OUTDATED, message="Too old")
    assert combine_results([outdated, success, failure, failure]) == failure
    assert combine_results([outdated, success, success]) == success
    assert combine_results([outdated]) == outdated


def test_the_key_depends_on_all_labels_but_not_on_their_order() -> None:
    assert event_key("a", {"x": "1", "y": "2"}) == event_key("a", {"y": "2", "x": "1"})
    assert (
        len({event_key("a", {}), event_key("a", {"x": "1"}), event_key("a", {"x": "2"}), event_key("b", {})})
        == 4
    )


def test_the_source_commit_is_read_from_the_trailers_only() -> None:
    trailer = "Pipecd-Dev-Trace-Trigger-Commit-Hash: 0fa1c2d"
    assert find_trace_commits([f"Set image\n\nPipecd-Event: e\n{trailer}\n"]) == ("0fa1c2d",)
    assert find_trace_commits([f"Set image\n\n{trailer}\n\nAnother paragraph"]) == ()
    assert find_trace_commits(["Set image"]) == ()
    assert find_trace_commits([f"x\n\n{trailer}/../x"]) == ()


def test_every_source_commit_of_a_push_is_found_once_and_the_newest_first() -> None:
    trailer = "Pipecd-Dev-Trace-Trigger-Commit-Hash: "
    messages = [f"Two\n\n{trailer}b\n{trailer}c", "None", f"One\n\n{trailer}a\n{trailer}b"]
    assert find_trace_commits(messages) == ("c", "b", "a")
    assert len(find_trace_commits(f"x\n\n{trailer}{number}" for number in range(1000))) == 50
