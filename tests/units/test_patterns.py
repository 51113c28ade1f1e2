"""Patterns that users write: the syntax of RE2, limits, and time proportional to the text."""

import asyncio

import pytest

from pipecd.config.application import CommitMatcher, OnCommit, load
from pipecd.errors import ConfigError
from pipecd.model.deployment import Commit, SyncStrategy, Trigger
from pipecd.model.plan import determine_strategy
from pipecd.model.trigger import on_commit
from pipecd.patterns import MAX_PATTERN_LENGTH, MAX_TEXT_LENGTH, PathPattern, PatternError, Regex
from pipecd.platforms.registry import load_platform
from pipecd.platforms.stage_tables import application_types
from tests.loop_latency import loop_latency

#: What Go accepts and Python's `re` does not, or reads differently.
MATCHES = [
    (r"^[[:alpha:]]+:", "fix: x", True),
    (r"x\z", "x", True),
    (r"x\z", "x\n", False),
    (r"x$", "x\n", False),
    (r"(?m)x$", "x\ny", True),
    (r"a(?i)b", "aB", True),
    (r"a(?i)b", "AB", False),
    (r"(?<kind>fix)", "fix", True),
    (r"(?P<kind>fix)", "fix", True),
    (r"\p{Greek}", "λ", True),
    (r"^\pL+$", "été", True),
    (r"\Qa.b\E", "a.b", True),
    (r"\Qa.b\E", "axb", False),
    (r"a.b", "a\nb", False),
    (r"(?s)a.b", "a\nb", True),
    (r"a*?", "", True),
    (r"\d", "٣", False),
]


@pytest.mark.parametrize(("text", "message", "expected"), MATCHES, ids=[f"{t} {m!r}" for t, m, _ in MATCHES])
def test_a_regular_expression_is_that_of_go(text: str, message: str, expected: bool) -> None:
    assert Regex.parse(text).matches(message) is expected


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("a(?=b)", "lookarounds"),
        ("a(?!b)", "lookarounds"),
        ("(?<=a)b", "lookarounds"),
        (r"(a)\1", "backreferences"),
        ("(?P<a>x)(?P=a)", "RE2"),
        (r"x\Z", "RE2"),
        ("(?>a)", "RE2"),
        ("a{1001}", "repetitions"),
        ("(a{100}){100}", "repetitions"),
        ("(", "RE2"),
        ("a" * (MAX_PATTERN_LENGTH + 1), "simplify"),
    ],
)
def test_what_cannot_be_searched_for_in_linear_time_is_refused(text: str, remedy: str) -> None:
    with pytest.raises(PatternError) as error:
        Regex.parse(text)
    assert remedy in error.value.remedy


def test_an_error_names_file_key_and_remedy() -> None:
    head = "apiVersion: pipecd.dev/v1beta1\nkind: TerraformApp\nspec:\n"
    text = head + "  commitMatcher:\n    pipeline: 'a(?=b)'\n"
    with pytest.raises(ConfigError) as error:
        load(text, "app.pipecd.yaml", lambda kind: application_types(load_platform(kind)))
    assert str(error.value).startswith("app.pipecd.yaml:5: spec.commitMatcher.pipeline: ")
    assert "lookarounds are not supported" in str(error.value)


def test_file_names_that_are_not_text_are_matched() -> None:
    (name,) = PathPattern.parse("*/b?").find_matches(["a/b\udcff"])
    assert name == "a/b\udcff"


def test_an_empty_matcher_matches_nothing() -> None:
    assert CommitMatcher.model_validate({"pipeline": "", "quickSync": ""}) == CommitMatcher()


HOSTILE = {
    "nested quantifiers": "(a+)+$",
    "many optional parts": "(a?){500}b",
    "a large choice": "|".join(f"[ab]{{{n}}}c" for n in range(1, 60)),
    "dots": "(.*a){20}b",
    "large classes": r"[^x]{500}y",
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_pattern_blocks_nothing(name: str) -> None:
    text, message = HOSTILE[name], "a" * 10_000_000
    regex = Regex.parse(text)
    rule = OnCommit.model_validate({"paths": [text]})
    changed = [f"{'a' * 200}{number}" for number in range(2_000)]
    async with loop_latency() as latency:
        await asyncio.to_thread(regex.matches, message)
        await asyncio.to_thread(on_commit, rule, directory="app", last="a", head="b", changed=changed)
    latency.check()


def test_only_the_beginning_of_a_long_text_is_searched() -> None:
    regex = Regex.parse("end")
    assert regex.matches("x" * (MAX_TEXT_LENGTH - 3) + "end")
    assert not regex.matches("x" * MAX_TEXT_LENGTH + "end")


def test_matching_takes_a_limited_time() -> None:
    pattern = PathPattern.parse("*[^x]{400}y")
    with pytest.raises(ConfigError, match=r"takes more than 0\.01 s for the 2000 changed files"):
        list(pattern.find_matches(["a" * 4000] * 2_000, max_time=0.01))


def test_the_matched_expression_is_named_in_the_reason() -> None:
    commit = Commit(hash="c", author="ada", message="fix: x", branch="main", created_at=0)
    matcher = CommitMatcher.model_validate({"quickSync": "^fix"})
    strategy = determine_strategy(
        Trigger(commit=commit, timestamp=0),
        pipeline=[object()],  # type: ignore[list-item]
        always_use_pipeline=False,
        commit_matcher=matcher,
    )
    assert strategy and strategy.strategy is SyncStrategy.QUICK_SYNC and '"^fix"' in strategy.reason
