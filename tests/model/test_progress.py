"""The next step of a deployment: a table of cases, and properties of every sequence of steps."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipecd.model.application import GitPath
from pipecd.model.deployment import Commit, Deployment, Stage, Trigger
from pipecd.model.progress import (
    BASE_STAGE,
    ONLY_ON_REQUEST,
    ORIGIN_PLAN,
    ORIGIN_REQUEST,
    ROLLBACK_ORIGIN,
    Begin,
    Finish,
    Halt,
    Plan,
    RollBack,
    Run,
    Start,
    Stop,
    StopKind,
    apply_outcome,
    apply_step,
    next_step,
)
from pipecd.model.stage import Again, Done, Failed, Outcome
from pipecd.model.status import DeploymentStatus as D
from pipecd.model.status import StageStatus as S
from pipecd.model.status import may_move, stage_may_move

CANCEL = Stop(kind=StopKind.CANCELLED, requested_by="ann")
CANCEL_WITH = replace(CANCEL, rollback=True)
CANCEL_WITHOUT = replace(CANCEL, rollback=False)
TIMEOUT = Stop(kind=StopKind.TIMED_OUT)


def stage(index: int, status: S = S.NOT_STARTED, **fields: object) -> Stage:
    stage = Stage(id=f"stage-{index}", name="WAIT", index=index, status=status)
    return replace(stage, **fields)  # type: ignore[arg-type]


def rollback_stage(
    name: str = "ROLLBACK", status: S = S.NOT_STARTED, metadata: Mapping[str, str] | None = None
) -> Stage:
    return Stage(
        id=name,
        name=name,
        index=99,
        rollback=True,
        visible=False,
        status=status,
        metadata=dict(metadata or {}),
    )


def deployment(
    status: D, *stages: Stage, shared: dict[str, str] | None = None, reason: str = ""
) -> Deployment:
    commit = Commit(hash="a" * 40, message="m", author="ann", branch="main", created_at=1)
    return Deployment(
        id="d",
        application_id="a",
        application_name="a",
        piped_id="p",
        project_id="j",
        kind="TERRAFORM",
        git_path=GitPath(repo_id="r", path="app"),
        trigger=Trigger(commit=commit, timestamp=1),
        status=status,
        stages=stages,
        shared=shared or {},
        reason=reason,
    )


def name(step: object) -> str:
    match step:
        case None:
            return "nothing"
        case Start(stage=stage) | Run(stage=stage):
            return f"{type(step).__name__} {stage.id}"
        case Halt(stage=stage, status=status):
            return f"Halt {stage.id} {status.name}"
        case Finish(status=status):
            return f"Finish {status.name}"
        case RollBack(origin=origin):
            return f"RollBack {origin}"
    return type(step).__name__


CASES = [
    ("a pending deployment is planned", deployment(D.PENDING), None, "Plan"),
    ("a timeout does not end a deployment that has not begun", deployment(D.PENDING), TIMEOUT, "Plan"),
    ("a deployment cancelled before planning ends", deployment(D.PENDING), CANCEL, "Finish CANCELLED"),
    ("a planned deployment begins", deployment(D.PLANNED, stage(0)), None, "Begin"),
    (
        "a deployment cancelled before any stage ran is not rolled back",
        deployment(D.PLANNED, stage(0), rollback_stage()),
        CANCEL,
        "Finish CANCELLED",
    ),
    (
        "unless a rollback is requested",
        deployment(D.PLANNED, stage(0), rollback_stage()),
        CANCEL_WITH,
        "Halt stage-0 CANCELLED",
    ),
    ("a stage is started before it is called", deployment(D.RUNNING, stage(0)), None, "Start stage-0"),
    ("a started stage is called", deployment(D.RUNNING, stage(0, S.RUNNING)), None, "Run stage-0"),
    (
        "stages run in order",
        deployment(D.RUNNING, stage(0, S.SUCCESS), stage(1, S.SKIPPED), stage(2)),
        None,
        "Start stage-2",
    ),
    (
        "a deployment whose stages all succeeded is a success",
        deployment(D.RUNNING, stage(0, S.SUCCESS), rollback_stage()),
        None,
        "Finish SUCCESS",
    ),
    ("a deployment without stages is a success", deployment(D.RUNNING), None, "Finish SUCCESS"),
    (
        "EXITED ends the deployment without running the following stages",
        deployment(D.RUNNING, stage(0, S.EXITED), stage(1)),
        None,
        "Finish SUCCESS",
    ),
    (
        "a failed stage is followed by the rollback",
        deployment(D.RUNNING, stage(0, S.FAILURE), stage(1), rollback_stage()),
        None,
        f"RollBack {ORIGIN_PLAN}",
    ),
    (
        "a failed stage without rollback ends the deployment",
        deployment(D.RUNNING, stage(0, S.FAILURE)),
        None,
        "Finish FAILURE",
    ),
    (
        "cancelling ends the running stage",
        deployment(D.RUNNING, stage(0, S.RUNNING), rollback_stage()),
        CANCEL,
        "Halt stage-0 CANCELLED",
    ),
    (
        "then the deployment is rolled back as planned",
        deployment(D.RUNNING, stage(0, S.CANCELLED), rollback_stage()),
        CANCEL,
        f"RollBack {ORIGIN_PLAN}",
    ),
    (
        "cancelling without rollback does not roll back",
        deployment(D.RUNNING, stage(0, S.CANCELLED), rollback_stage()),
        CANCEL_WITHOUT,
        "Finish CANCELLED",
    ),
    (
        "a rollback on request does not run without a request",
        deployment(D.RUNNING, stage(0, S.CANCELLED), rollback_stage(metadata={ONLY_ON_REQUEST: "true"})),
        CANCEL,
        "Finish CANCELLED",
    ),
    (
        "a rollback on request runs when it is requested",
        deployment(D.RUNNING, stage(0, S.CANCELLED), rollback_stage(metadata={ONLY_ON_REQUEST: "true"})),
        CANCEL_WITH,
        f"RollBack {ORIGIN_REQUEST}",
    ),
    (
        "the rollback of a stage that never ran is skipped",
        deployment(
            D.RUNNING, stage(0, S.FAILURE), stage(1), rollback_stage(metadata={BASE_STAGE: "stage-1"})
        ),
        None,
        "Finish FAILURE",
    ),
    (
        "a timeout ends the running stage",
        deployment(D.RUNNING, stage(0, S.RUNNING)),
        TIMEOUT,
        "Halt stage-0 FAILURE",
    ),
    (
        "a rollback stage is started",
        deployment(D.ROLLING_BACK, stage(0, S.FAILURE), rollback_stage()),
        None,
        "Start ROLLBACK",
    ),
    (
        "a rollback cannot be cancelled",
        deployment(D.ROLLING_BACK, stage(0, S.FAILURE), rollback_stage(status=S.RUNNING)),
        CANCEL,
        "Run ROLLBACK",
    ),
    (
        "a rollback has a timeout",
        deployment(D.ROLLING_BACK, stage(0, S.FAILURE), rollback_stage(status=S.RUNNING)),
        TIMEOUT,
        "Halt ROLLBACK FAILURE",
    ),
    (
        "a failed rollback stage does not stop the next one",
        deployment(
            D.ROLLING_BACK, stage(0, S.FAILURE), rollback_stage(status=S.FAILURE), rollback_stage("SECOND")
        ),
        None,
        "Start SECOND",
    ),
    (
        "a failed rollback ends the deployment",
        deployment(D.ROLLING_BACK, stage(0, S.FAILURE), rollback_stage(status=S.FAILURE)),
        None,
        "Finish FAILURE",
    ),
    (
        "a deployment that is rolled back after a cancel is cancelled",
        deployment(D.ROLLING_BACK, stage(0, S.CANCELLED), rollback_stage(status=S.SUCCESS)),
        None,
        "Finish CANCELLED",
    ),
    ("a final deployment has no next step", deployment(D.SUCCESS, stage(0)), CANCEL, "nothing"),
]


@pytest.mark.parametrize(
    ("deployment", "stop", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_next_step(deployment: Deployment, stop: Stop | None, expected: str) -> None:
    assert name(next_step(deployment, stop)) == expected


def test_the_reason_contains_the_failed_stage_and_its_error() -> None:
    step = next_step(deployment(D.RUNNING, stage(0, S.FAILURE, reason="exit code 3")))
    assert step == Finish(status=D.FAILURE, reason="Stage WAIT failed: exit code 3")


def test_a_rejection_ends_the_stage_with_who_when_and_why() -> None:
    stop = Stop(kind=StopKind.CANCELLED, requested_by="ann", rejected_stage="stage-0", comment="too\nrisky")
    waiting = deployment(D.RUNNING, stage(0, S.RUNNING))
    step = next_step(waiting, stop)
    assert isinstance(step, Halt)
    assert (step.status, step.reason) == (S.CANCELLED, "Rejected by ann")
    rejected = apply_step(waiting, step, now=7)
    assert json.loads(rejected.stages[0].metadata["pipecd/decisions"]) == [
        {"by": "ann", "verdict": "rejected", "comment": "too\nrisky", "at": 7}
    ]
    step = next_step(rejected, stop)
    assert step == Finish(status=D.CANCELLED, reason="Rejected by ann during stage WAIT: too risky")


def test_the_reason_contains_the_user_who_cancelled() -> None:
    step = next_step(deployment(D.RUNNING, stage(0, S.CANCELLED)), CANCEL)
    assert step == Finish(status=D.CANCELLED, reason="Cancelled by ann during stage WAIT")


def test_the_final_reason_contains_the_failed_rollback() -> None:
    failed = deployment(
        D.ROLLING_BACK,
        stage(0, S.FAILURE),
        rollback_stage(status=S.FAILURE),
        reason="Stage WAIT failed",
    )
    step = next_step(failed)
    assert isinstance(step, Finish)
    assert step.reason == "Stage WAIT failed; the rollback also failed: ROLLBACK"


def test_a_restart_keeps_the_first_start_times() -> None:
    begun = apply_step(deployment(D.PLANNED, stage(0)), Begin(), 100)
    assert apply_step(begun, Begin(), 500).shared == begun.shared
    started = apply_step(begun, Start(stage=begun.stages[0]), 101)
    again = apply_step(started, Start(stage=started.stages[0]), 600)
    assert again.stages[0].metadata == started.stages[0].metadata


STOPS = st.one_of(
    st.none(),
    st.builds(
        Stop,
        kind=st.sampled_from(StopKind),
        requested_by=st.just("ann"),
        rollback=st.sampled_from([None, True, False]),
    ),
)
SUCCESSES = st.sampled_from([S.SUCCESS, S.SKIPPED, S.EXITED])
OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Done, status=SUCCESSES),
    st.builds(Failed, reason=st.just("broken")),
    st.just(Again(saved={"seen": "yes"})),
)
FORWARD = st.lists(st.sampled_from(S), max_size=5)


@st.composite
def deployments(draw: st.DrawFn) -> Deployment:
    stages = [stage(index, status) for index, status in enumerate(draw(FORWARD))]
    rollback_stages: list[Stage] = []
    for index in range(draw(st.integers(0, 3))):
        metadata = {}
        if draw(st.booleans()):
            metadata[ONLY_ON_REQUEST] = "true"
        if bool(stages) and draw(st.booleans()):
            base: Stage = draw(st.sampled_from(stages))
            metadata[BASE_STAGE] = base.id
        rollback_stages.append(rollback_stage(f"undo-{index}", draw(st.sampled_from(S)), metadata))
    shared = draw(st.sampled_from([{}, {ROLLBACK_ORIGIN: ORIGIN_REQUEST}, {ROLLBACK_ORIGIN: ORIGIN_PLAN}]))
    return deployment(draw(st.sampled_from(D)), *stages, *rollback_stages, shared=dict(shared))


def execute_next_step(value: Deployment, stop: Stop | None, outcome: Outcome) -> Deployment | None:
    """The deployment after its next step, or None if there is none."""
    match next_step(value, stop):
        case None:
            return None
        case Plan():
            return replace(value, status=D.PLANNED, stages=value.stages or (stage(0), rollback_stage()))
        case Run(stage=running):
            assert running.status is S.RUNNING
            return apply_outcome(value, running, outcome, 7)
        case step:
            return apply_step(value, step, 7)


@settings(max_examples=400, deadline=None)
@given(deployments(), st.lists(st.tuples(STOPS, OUTCOMES), max_size=30))
def test_after_any_events_all_moves_are_legal_and_the_deployment_ends(
    value: Deployment, events: list[tuple[Stop | None, Outcome]]
) -> None:
    """After any events, the deployment ends once its stages succeed."""
    successes: list[tuple[Stop | None, Outcome]] = [(None, Done())] * (4 * len(value.stages) + 10)
    current: Deployment | None = value
    for stop, outcome in [*events, *successes]:
        assert current is not None
        following = execute_next_step(current, stop, outcome)
        if following is None:
            break
        assert_legal(current, following)
        current = following
    assert current is not None and current.status.final


@settings(max_examples=200, deadline=None)
@given(deployments(), st.lists(st.tuples(STOPS, st.just(Again())), max_size=10))
def test_a_stage_that_never_ends_is_ended_by_the_timeout(
    value: Deployment, events: list[tuple[Stop | None, Outcome]]
) -> None:
    current: Deployment | None = value
    timeouts: list[tuple[Stop | None, Outcome]] = [(TIMEOUT, Again())] * (4 * len(value.stages) + 10)
    for stop, outcome in [*events, *timeouts]:
        assert current is not None
        following = execute_next_step(current, stop, outcome)
        if following is None:
            break
        assert_legal(current, following)
        current = following
    assert current is not None and current.status.final


def assert_legal(old: Deployment, new: Deployment) -> None:
    """A final status never changes, a finished stage never runs again, and every move is in the tables."""
    assert not old.status.final
    assert may_move(old.status, new.status)
    if old.status is D.PENDING:
        return
    for old_stage, new_stage in zip(old.stages, new.stages, strict=True):
        move = f"{old_stage.id}: {old_stage.status!r} → {new_stage.status!r}"
        assert stage_may_move(old_stage.status, new_stage.status), move
        if old.status is D.ROLLING_BACK and not old_stage.rollback:
            assert old_stage == new_stage
