"""Completion by a shell: the scripts are valid, and complete commands, options and values."""

import shutil
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from pipecd.pipectl import command
from pipecd.process import capture


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_the_script_is_valid(shell: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["completion", shell])
    assert result.exit_code == 0 and "_PIPECTL_COMPLETE" in result.output, result.output
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(result.output)
    checked = await capture([shell, "-n", str(script)], timeout=60)
    assert checked.code == 0, checked.stderr


@pytest.mark.parametrize(
    ("words", "incomplete", "expected"),
    [
        ([], "p", ["piped", "project", "plan-preview", "plugin"]),
        (["application"], "de", ["delete"]),
        (["deployment", "list", "--status"], "roll", ["ROLLING_BACK"]),
        (["deployment", "list", "--status"], "RUNNING,pl", ["RUNNING,PLANNED"]),
        (["application", "list", "--app-kind"], "T", ["TERRAFORM"]),
        (["application", "get"], "--w", ["--watch"]),
        (["completion"], "z", ["zsh"]),
    ],
)
def test_commands_options_and_values_are_completed(
    words: list[str], incomplete: str, expected: list[str]
) -> None:
    completer = ShellComplete(command, {}, "pipectl", "_PIPECTL_COMPLETE")
    assert [item.value for item in completer.get_completions(words, incomplete)] == expected
