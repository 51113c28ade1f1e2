"""Which agents are offline, and online again, by the contacts that the control plane had with them."""

from collections.abc import Mapping, Sequence

import pytest

from pipecd.controlplane.notifications.presence import MAX_AGE, OFFLINE_AFTER, Presence, check

#: Time of a check (seconds) → contacts then, and the transitions that it finds.
Course = Sequence[tuple[float, Mapping[str, float], Sequence[str]]]

T = 1_000_000.0
#: Checks at the usual interval, with nothing to report.
ONLINE: Course = [(t, {"a": t}, []) for t in (0, 30, 60, 90, 120, 150)]


def away(last: float, begin: float, end: float) -> Course:
    """Checks while nothing is heard of `a`, with nothing to report."""
    return [(t, {"a": last}, []) for t in range(int(begin), int(end) + 1, 30)]


COURSES: Mapping[str, Course] = {
    "an agent that dies is reported once, after the limit, and once when it is back": [
        *ONLINE,
        *away(150, 180, 270),
        (271, {"a": 150}, ["a offline 150"]),
        *away(150, 300, 900),
        (930, {"a": 930}, ["a online 150"]),
        *((t, {"a": t}, []) for t in (960, 990)),
    ],
    "an agent that is back within the limit is not": [*ONLINE, *away(150, 180, 260), (271, {"a": 271}, [])],
    "an agent that reports each minute is online": [
        (t, {"a": t - t % 60}, []) for t in map(float, range(0, 600, 30))
    ],
    "after an outage of the control plane, agents have time to connect again": [
        *ONLINE,
        (3000, {"a": 150}, []),
        (3030, {"a": 3025}, []),
    ],
    "an agent that died during an outage of the control plane is reported after the limit": [
        *ONLINE,
        *away(150, 3000, 3120),
        (3121, {"a": 150}, ["a offline 150"]),
    ],
    "an agent that was offline before an outage is reported when it is back": [
        *ONLINE,
        *away(150, 180, 270),
        (271, {"a": 150}, ["a offline 150"]),
        (5000, {"a": 4990}, ["a online 150"]),
    ],
    "an agent that was disabled is forgotten": [
        *ONLINE,
        *((t, {}, []) for t in range(180, 300, 30)),
        *away(150, 300, 600),
        (601, {"a": 601}, []),
        *away(601, 630, 720),
        (722, {"a": 601}, ["a offline 601"]),
    ],
    "an agent that was offline long before the first check is not reported": [
        *away(-10_000, 0, 600),
        (601, {"a": 601}, []),
    ],
    "agents are independent": [
        *((t, {"a": t, "b": t}, []) for t in (0, 30, 60, 90, 120, 150)),
        *((t, {"a": t, "b": 150}, []) for t in (180, 210, 240, 270)),
        (300, {"a": 300, "b": 150}, ["b offline 150"]),
    ],
    "what was known a day ago is out of date": [*ONLINE, *away(150, MAX_AGE + 200, MAX_AGE + 800)],
}


@pytest.mark.parametrize("course", COURSES.values(), ids=COURSES)
def test_transitions(course: Course) -> None:
    known: Presence | None = None
    for at, contacts, expected in course:
        seen = {name: T + time for name, time in contacts.items()}
        known, transitions = check(known, seen, T + at)
        found = [
            f"{each.piped_id} {'online' if each.online else 'offline'} {each.offline_since - T:g}"
            for each in transitions
        ]
        assert found == expected, at
        known = Presence.from_json(known.to_json())


def test_a_check_that_is_repeated_finds_the_same() -> None:
    """As after a kill between sending and storing: the messages have the same keys."""
    known, _ = check(None, {"a": T}, T)
    for at in range(0, int(OFFLINE_AFTER) + 1, 30):
        known, _ = check(known, {"a": T}, T + at)
    later = T + OFFLINE_AFTER + 1
    first, again = (check(known, {"a": T}, now)[1] for now in (later, later + 20))
    assert first == again and len(first) == 1
