"""The examples in the guides are valid configurations."""

import re
from pathlib import Path

from pipecd.platforms.registry import load_platform
from tests.platforms.aws.stage_runner import load_source

GUIDES = Path(__file__).parents[3] / "docs/guide"
#: A file name in backticks at the start of a line, followed by a code block.
_EXAMPLE = re.compile(r"^`([\w./]+)`[^\n]*:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)


def write_examples(guide: str, folder: Path) -> None:
    examples = _EXAMPLE.findall((GUIDES / guide).read_text())
    assert examples
    for name, text in examples:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


async def test_the_guide_to_lambda(tmp_path: Path) -> None:
    write_examples("lambda.md", tmp_path)
    checkout = load_source(load_platform("LAMBDA"), tmp_path)
    names = [stage.name for stage in checkout.config.spec.pipeline.stages]
    assert names == ["LAMBDA_CANARY_ROLLOUT", "LAMBDA_PROMOTE", "WAIT", "LAMBDA_PROMOTE"]
    desired = await load_platform("LAMBDA").load_desired_state(checkout)
    assert desired.version == "v1.4.0" and desired.memory == 512


async def test_the_guide_to_ecs(tmp_path: Path) -> None:
    write_examples("ecs.md", tmp_path)
    checkout = load_source(load_platform("ECS"), tmp_path)
    names = [stage.name for stage in checkout.config.spec.pipeline.stages]
    assert set(names) == {*load_platform("ECS").options, "WAIT"} - {"ECS_SYNC"}
    desired = await load_platform("ECS").load_desired_state(checkout)
    assert desired.service.desired_count == 2 and desired.service.tags == {"team": "shop"}
    task = tmp_path / "task"
    (task / "taskdef.json").write_text((tmp_path / "taskdef.json").read_text())
    standalone = await load_platform("ECS").load_desired_state(load_source(load_platform("ECS"), task))
    assert standalone.service is None and standalone.input.run_standalone_task
