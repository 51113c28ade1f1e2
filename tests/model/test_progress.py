"""What comes next in a deployment: a table of cases, and what holds whatever happens."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipecd.model.application import ApplicationKind, GitPath
from pipecd.model.deployment import Commit, Deployment, Stage, Trigger
from pipecd.model.progress import (
    ASKED,
    BASE_STAGE,
    ONLY_ON_REQUEST,
    PLANNED,
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
    advance,
    after,
    next_step,
)
from pipecd.model.stage import Again, Done, Failed, Outcome
from pipecd.model.status import DeploymentStatus as D
from pipecd.model.status import StageStatus as S
from pipecd.model.status import may_move, stage_may_move

CANCEL = Stop(kind=StopKind.CANCELLED, by="ann")
CANCEL_WITH = replace(CANCEL, rollback=True)
CANCEL_WITHOUT = replace(CANCEL, rollback=False)
TIMEOUT = Stop(kind=StopKind.TIMED_OUT)


def stage(index: int, status: S = S.NOT_STARTED, **facts: object) -> Stage:
    made = Stage(id=f"stage-{index}", name="WAIT", index=index, status=status)
    return replace(made, **facts)  # type: ignore[arg-type]


def undo(name: str = "ROLLBACK", status: S = S.NOT_STARTED, **metadata: str) -> Stage:
    return Stage(id=name, name=name, index=99, rollback=True, visible=False, status=status, metadata=metadata)


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
        kind=ApplicationKind.TERRAFORM,
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
        case Start(stage=one) | Run(stage=one):
            return f"{type(step).__name__} {one.id}"
        case Halt(stage=one, status=status):
            return f"Halt {one.id} {status.name}"
        case Finish(status=status):
            return f"Finish {status.name}"
        case RollBack(origin=origin):
            return f"RollBack {origin}"
    return type(step).__name__


CASES = [
    ("a pending deployment is planned", deployment(D.PENDING), None, "Plan"),
    ("a time limit does not end what was not begun", deployment(D.PENDING), TIMEOUT, "Plan"),
    ("cancelled before its plan, it is over", deployment(D.PENDING), CANCEL, "Finish CANCELLED"),
    ("a planned deployment begins", deployment(D.PLANNED, stage(0)), None, "Begin"),
    (
        "cancelled before any stage ran, nothing needs undoing",
        deployment(D.PLANNED, stage(0), undo()),
        CANCEL,
        "Finish CANCELLED",
    ),
    (
        "unless a rollback is asked for",
        deployment(D.PLANNED, stage(0), undo()),
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
    ("all done is a success", deployment(D.RUNNING, stage(0, S.SUCCESS), undo()), None, "Finish SUCCESS"),
    ("no stages is a success", deployment(D.RUNNING), None, "Finish SUCCESS"),
    (
        "EXITED ends it without running what follows",
        deployment(D.RUNNING, stage(0, S.EXITED), stage(1)),
        None,
        "Finish SUCCESS",
    ),
    (
        "a failure leads to the rollback",
        deployment(D.RUNNING, stage(0, S.FAILURE), stage(1), undo()),
        None,
        f"RollBack {PLANNED}",
    ),
    (
        "a failure without rollback ends it",
        deployment(D.RUNNING, stage(0, S.FAILURE)),
        None,
        "Finish FAILURE",
    ),
    (
        "cancel ends the stage at work",
        deployment(D.RUNNING, stage(0, S.RUNNING), undo()),
        CANCEL,
        "Halt stage-0 CANCELLED",
    ),
    (
        "then rolls back as planned",
        deployment(D.RUNNING, stage(0, S.CANCELLED), undo()),
        CANCEL,
        f"RollBack {PLANNED}",
    ),
    (
        "cancel without rollback does not roll back",
        deployment(D.RUNNING, stage(0, S.CANCELLED), undo()),
        CANCEL_WITHOUT,
        "Finish CANCELLED",
    ),
    (
        "a rollback on request waits for a request",
        deployment(D.RUNNING, stage(0, S.CANCELLED), undo(**{ONLY_ON_REQUEST: "true"})),
        CANCEL,
        "Finish CANCELLED",
    ),
    (
        "and runs on request",
        deployment(D.RUNNING, stage(0, S.CANCELLED), undo(**{ONLY_ON_REQUEST: "true"})),
        CANCEL_WITH,
        f"RollBack {ASKED}",
    ),
    (
        "a stage's own rollback is left out when the stage never ran",
        deployment(D.RUNNING, stage(0, S.FAILURE), stage(1), undo(**{BASE_STAGE: "stage-1"})),
        None,
        "Finish FAILURE",
    ),
    (
        "time up ends the stage at work",
        deployment(D.RUNNING, stage(0, S.RUNNING)),
        TIMEOUT,
        "Halt stage-0 FAILURE",
    ),
    (
        "a rollback stage is started",
        deployment(D.ROLLING_BACK, stage(0, S.FAILURE), undo()),
        None,
        "Start ROLLBACK",
    ),
    (
        "a rollback is not cancelled",
        deployment(D.ROLLING_BACK, stage(0, S.FAILURE), undo(status=S.RUNNING)),
        CANCEL,
        "Run ROLLBACK",
    ),
    (
        "a rollback has a time limit",
        deployment(D.ROLLING_BACK, stage(0, S.FAILURE), undo(status=S.RUNNING)),
        TIMEOUT,
        "Halt ROLLBACK FAILURE",
    ),
    (
        "a failed rollback does not keep the next from running",
        deployment(D.ROLLING_BACK, stage(0, S.FAILURE), undo(status=S.FAILURE), undo("SECOND")),
        None,
        "Start SECOND",
    ),
    (
        "a failed rollback ends the deployment",
        deployment(D.ROLLING_BACK, stage(0, S.FAILURE), undo(status=S.FAILURE)),
        None,
        "Finish FAILURE",
    ),
    (
        "rolled back after a cancel stays cancelled",
        deployment(D.ROLLING_BACK, stage(0, S.CANCELLED), undo(status=S.SUCCESS)),
        None,
        "Finish CANCELLED",
    ),
    ("a final deployment has no next step", deployment(D.SUCCESS, stage(0)), CANCEL, "nothing"),
]


@pytest.mark.parametrize(
    ("deployment", "stop", "expected"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_next_step(deployment: Deployment, stop: Stop | None, expected: str) -> None:
    assert name(next_step(deployment, stop)) == expected


def test_reason_names_the_stage_and_why_it_failed() -> None:
    step = next_step(deployment(D.RUNNING, stage(0, S.FAILURE, reason="exit code 3")))
    assert step == Finish(status=D.FAILURE, reason="Failed while executing stage stage-0: exit code 3")


def test_reason_names_who_cancelled() -> None:
    step = next_step(deployment(D.RUNNING, stage(0, S.CANCELLED)), CANCEL)
    assert step == Finish(status=D.CANCELLED, reason="Cancelled by ann while executing stage stage-0")


def test_final_reason_says_that_the_rollback_failed() -> None:
    broken = deployment(
        D.ROLLING_BACK,
        stage(0, S.FAILURE),
        undo(status=S.FAILURE),
        reason="Failed while executing stage stage-0",
    )
    step = next_step(broken)
    assert isinstance(step, Finish)
    assert step.reason == "Failed while executing stage stage-0; the rollback failed too: ROLLBACK"


def test_a_restart_keeps_the_first_start_times() -> None:
    begun = advance(deployment(D.PLANNED, stage(0)), Begin(), 100)
    assert advance(begun, Begin(), 500).shared == begun.shared
    started = advance(begun, Start(stage=begun.stages[0]), 101)
    again = advance(started, Start(stage=started.stages[0]), 600)
    assert again.stages[0].metadata == started.stages[0].metadata


STOPS = st.one_of(
    st.none(),
    st.builds(
        Stop, kind=st.sampled_from(StopKind), by=st.just("ann"), rollback=st.sampled_from([None, True, False])
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
    undos = []
    for index in range(draw(st.integers(0, 3))):
        metadata = {}
        if draw(st.booleans()):
            metadata[ONLY_ON_REQUEST] = "true"
        if stages and draw(st.booleans()):
            metadata[BASE_STAGE] = draw(st.sampled_from(stages)).id
        undos.append(undo(f"undo-{index}", draw(st.sampled_from(S)), **metadata))
    shared = draw(st.sampled_from([{}, {ROLLBACK_ORIGIN: ASKED}, {ROLLBACK_ORIGIN: PLANNED}]))
    return deployment(draw(st.sampled_from(D)), *stages, *undos, shared=dict(shared))


def carry_out(value: Deployment, stop: Stop | None, outcome: Outcome) -> Deployment | None:
    """The deployment after its next step, or None when there is none."""
    match next_step(value, stop):
        case None:
            return None
        case Plan():
            return replace(value, status=D.PLANNED, stages=value.stages or (stage(0), undo()))
        case Run(stage=one):
            assert one.status is S.RUNNING
            return after(value, one, outcome, 7)
        case step:
            return advance(value, step, 7)


@settings(max_examples=400, deadline=None)
@given(deployments(), st.lists(st.tuples(STOPS, OUTCOMES), max_size=30))
def test_whatever_happens_moves_are_legal_and_the_deployment_ends(
    value: Deployment, events: list[tuple[Stop | None, Outcome]]
) -> None:
    """After any events, a world where stages answer brings the deployment to its end."""
    calm: list[tuple[Stop | None, Outcome]] = [(None, Done())] * (4 * len(value.stages) + 10)
    current: Deployment | None = value
    for stop, outcome in [*events, *calm]:
        assert current is not None
        following = carry_out(current, stop, outcome)
        if following is None:
            break
        assert_legal(current, following)
        current = following
    assert current is not None and current.status.final


@settings(max_examples=200, deadline=None)
@given(deployments(), st.lists(st.tuples(STOPS, st.just(Again())), max_size=10))
def test_a_stage_that_never_ends_is_ended_by_the_time_limit(
    value: Deployment, events: list[tuple[Stop | None, Outcome]]
) -> None:
    current: Deployment | None = value
    late: list[tuple[Stop | None, Outcome]] = [(TIMEOUT, Again())] * (4 * len(value.stages) + 10)
    for stop, outcome in [*events, *late]:
        assert current is not None
        following = carry_out(current, stop, outcome)
        if following is None:
            break
        assert_legal(current, following)
        current = following
    assert current is not None and current.status.final


def assert_legal(old: Deployment, new: Deployment) -> None:
    """A final status is never left, a finished stage is never run again, every move is in the tables."""
    assert not old.status.final
    assert may_move(old.status, new.status)
    if old.status is D.PENDING:
        return
    for before, now in zip(old.stages, new.stages, strict=True):
        assert stage_may_move(before.status, now.status), f"{before.id}: {before.status!r} → {now.status!r}"
        if old.status is D.ROLLING_BACK and not before.rollback:
            assert before == now
