"""Which wish is followed: facts in, choice out."""

import pytest

from pipecd.errors import ConfigError
from pipecd.launcher.desired import Wanted, canonical
from pipecd.launcher.fallback import TRIES, Life, Past, after, choose
from pipecd.launcher.options import Patience

NOW = 1000.0
NEW, OLD, OWN = (Wanted(version=version, config="a") for version in ("v3.0", "v2.0", "v1.0"))
OTHER = Wanted(version="v2.0", config="b")
PATIENCE = Patience()

CHOICES = [
    pytest.param(Past(), NEW, id="what is wished for, when nothing is known"),
    pytest.param(Past(good=[OLD]), NEW, id="what is wished for, though something else works"),
    pytest.param(Past(good=[OLD], refused={NEW: NOW + 1}), OLD, id="what worked, when the wish failed"),
    pytest.param(Past(good=[OLD], refused={NEW: NOW - 1}), NEW, id="the wish again, after a while"),
    pytest.param(Past(refused={NEW: NOW + 1}), OWN, id="the launcher's own version, without a past"),
    pytest.param(
        Past(good=[OTHER], refused={NEW: NOW + 1}), OWN, id="the new configuration rather than an old version"
    ),
    pytest.param(
        Past(good=[OTHER], refused={NEW: NOW + 1, OWN: NOW + 1}), OTHER, id="the old configuration at last"
    ),
    pytest.param(Past(refused={NEW: NOW + 1, OWN: NOW + 1}), NEW, id="the wish, when nothing is left"),
]


@pytest.mark.parametrize(("past", "expected"), CHOICES)
def test_follows(past: Past, expected: Wanted) -> None:
    assert choose(NEW, past, NOW, own_version=OWN.version) == expected


def test_what_works_again_is_no_longer_refused() -> None:
    past = Past(good=[OLD]).failed(NEW, NOW + 600).worked(NEW)
    assert list(past.good) == [NEW, OLD]
    assert choose(NEW, past, NOW, own_version=OWN.version) == NEW


def test_an_end_that_was_asked_for_costs_no_pause() -> None:
    step = after(Life(code=0, well=True), 5, PATIENCE)
    assert (step.pause, step.failures, step.give_up) == (0.0, 0, False)


def test_an_end_in_good_order_that_nobody_asked_for_is_a_failure() -> None:
    assert after(Life(code=0), 0, PATIENCE).pause == 1.0


def test_pauses_double_up_to_a_minute() -> None:
    pauses = [after(Life(code=1), failures, PATIENCE).pause for failures in range(8)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize("life", [Life(code=1), Life(code=-9, well=True), Life(code=None)])
def test_a_wish_is_given_up_after_three_lives_that_came_to_nothing(life: Life) -> None:
    given_up = [after(life, failures, PATIENCE).give_up for failures in range(4)]
    assert given_up == [False] * (TRIES - 1) + [True, True]


def test_an_agent_that_proved_itself_is_never_given_up() -> None:
    step = after(Life(code=-9, well=True, steady=True), 10, PATIENCE)
    assert (step.give_up, step.failures, step.pause) == (False, 1, 1.0)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("v0.2.0", "v0.2.0"), ("0.2", "v0.2"), ("V1.0-rc1", "v1.0rc1"), ("v0.47.0", "v0.47.0")],
)
def test_versions_are_spelt_in_one_way(written: str, meant: str) -> None:
    assert canonical(written) == meant


@pytest.mark.parametrize("written", ["", "latest", "../../etc", "v1.0; rm -rf /", "--index-url=http://x"])
def test_what_is_no_version_is_refused(written: str) -> None:
    with pytest.raises(ConfigError, match=r"is not a version; write it like v0.2.0"):
        canonical(written)
