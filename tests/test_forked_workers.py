"""Workers and programs that are forked from one process: their ends, and what is reported of them."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from tests.eventually import eventually
from tests.programs import forked_interpreter, run_program, start_function, start_program

ROOT = Path(__file__).parents[1]
#: Two tests, of which one kills its worker.
KILLED = """
import os, signal

def test_of_a_killed_worker():
    os.kill(os.getpid(), signal.SIGKILL)

def test_of_another_worker():
    pass
"""
#: Each worker executes one of them, until it is interrupted.
ENDLESS = """
import os, pathlib, signal, pytest

@pytest.mark.parametrize("number", range(2))
def test_endless(number):
    pathlib.Path(__file__).with_name(f"pid-{number}").write_text(f"{os.getpid()}\\n")
    signal.pause()
"""


def start_tests(folder: Path, text: str) -> subprocess.Popen[bytes]:
    """Run the tests of `text` as `make test` does, in a process group of its own."""
    (folder / "test_it.py").write_text(text)
    # With the options of our tests, but without importing them.
    options = [
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        f"--rootdir={folder}",
        f"--basetemp={folder}/t",
    ]
    parallel = ["--fork-workers", "--numprocesses=2", "--dist=load", "--maxschedchunk=1"]
    # Tests that a shell starts in the background inherit that Ctrl-C is ignored.
    program = "import pytest, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += "sys.exit(pytest.main(sys.argv[1:]))"
    with (folder / "output").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-c", program, *options, *parallel, str(folder / "test_it.py")],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def test_a_killed_worker_is_reported_and_all_tests_are_executed(tmp_path: Path) -> None:
    code = start_tests(tmp_path, KILLED).wait(300)
    output = (tmp_path / "output").read_text()
    assert code == 1, output
    assert "1 failed, 1 passed" in output
    assert "crashed while running 'test_it.py::test_of_a_killed_worker'" in output


async def test_ctrl_c_ends_all_workers(tmp_path: Path) -> None:
    run = start_tests(tmp_path, ENDLESS)

    async def running() -> bool:
        files = [tmp_path / f"pid-{number}" for number in range(2)]
        return all(file.exists() and file.read_text().endswith("\n") for file in files)

    try:
        await eventually(running, 300)
        workers = [psutil.Process(int((tmp_path / f"pid-{number}").read_text())) for number in range(2)]
        os.killpg(run.pid, signal.SIGINT)
        assert run.wait(300) == 2, (tmp_path / "output").read_text()
        assert not [worker for worker in workers if worker.is_running()]
    finally:
        run.kill()


def exit_with(code: object) -> None:
    print("stdin:", repr(sys.stdin.read()))
    sys.exit(code)  # type: ignore[arg-type]


def fail() -> None:
    raise ValueError("a mistake")


def test_the_exit_code_of_a_program_is_that_of_an_interpreter(tmp_path: Path) -> None:
    output = tmp_path / "output"
    for code, expected in ((None, 0), (0, 0), (7, 7), ("a message", 1)):
        assert start_function(exit_with, code, output=output).wait(120) == expected
    assert start_function(fail, output=output).wait(120) == 1
    text = output.read_text()
    assert text.count("stdin: ''\n") == 4 and "a message\n" in text and "ValueError: a mistake\n" in text


def test_a_program_has_the_environment_and_the_folder_that_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "piped.yaml").write_text("kind: [")
    result = run_program(["launcher", "--config-file=piped.yaml"], tmp_path, env={"HOME": "/"}, cwd=tmp_path)
    assert result.returncode == 1 and "piped.yaml:2" in result.stderr
    assert result.stdout == ""


def wait_for_a_signal() -> None:
    print("ready", flush=True)
    signal.pause()


def start_another(folder: Path) -> None:
    program = start_function(wait_for_a_signal, output=folder / "inner")
    print(program.pid, flush=True)
    program.wait(600)


async def test_a_program_receives_signals(tmp_path: Path) -> None:
    output = tmp_path / "output"
    for number in (signal.SIGTERM, signal.SIGKILL):
        output.write_text("")
        program = start_function(wait_for_a_signal, output=output)

        async def ready() -> bool:
            return output.read_text() == "ready\n"

        await eventually(ready, 120)
        assert program.poll() is None
        program.send_signal(number)
        assert program.wait(120) == program.poll() == -number


async def test_a_forked_interpreter_ends_as_its_process(tmp_path: Path) -> None:
    """It passes on signals, arguments and standard files; both are killed together."""
    python = forked_interpreter(tmp_path)
    program = "import os, signal, sys; print(sys.argv, os.getpid(), flush=True); "
    answer = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3)); print(1, flush=True); signal.pause()"

    def start(statements: str, *arguments: str) -> tuple[subprocess.Popen[str], int]:
        command = [str(python), "-c", program + statements, *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        given, pid = process.stdout.readline().rsplit(maxsplit=1)
        assert given == repr(["-c", *arguments]) and int(pid) != process.pid
        return process, int(pid)

    assert start("sys.exit(7)", "a b")[0].wait(120) == 7
    assert start("os.kill(os.getpid(), signal.SIGKILL)")[0].wait(120) == -signal.SIGKILL
    process, _ = start(answer)
    assert process.stdout and process.stdout.readline() == "1\n"
    process.terminate()
    assert process.wait(120) == 3
    process, pid = start("signal.pause()")
    forked = psutil.Process(pid)
    process.kill()
    await asyncio.to_thread(forked.wait, 120)
    process.wait()
    module = subprocess.run([python, "-m", "pipecd", "version"], capture_output=True, text=True, timeout=120)
    assert module.returncode == 0 and module.stdout


async def test_programs_are_killed_with_the_process_that_started_them(tmp_path: Path) -> None:
    outer = start_function(start_another, tmp_path, output=tmp_path / "outer")

    async def ready() -> bool:
        inner = tmp_path / "inner"
        return inner.exists() and "ready\n" in inner.read_text() and (tmp_path / "outer").read_text() != ""

    await eventually(ready, 120)
    inner = psutil.Process(int((tmp_path / "outer").read_text()))
    assert inner.is_running()
    outer.kill()
    inner.wait(120)


def test_the_output_of_a_program_is_appended(tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.write_text("before\n")
    assert start_program(["pipecd", "--version"], output=output).wait(120) == 0
    assert output.read_text().startswith("before\npipecd")
