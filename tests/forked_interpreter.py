"""In place of an interpreter: waits for a forked process that runs a module, or statements.

    python -I -S tests/forked_interpreter.py ADDRESS -m MODULE …
    python -I -S tests/forked_interpreter.py ADDRESS -c STATEMENTS …

`ADDRESS` is that of the server (`tests.fork_server`). Imports nothing that takes long.
"""

import functools
import os
import pickle
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path


def interpret(arguments: Sequence[str], environment: Mapping[str, str], folder: str) -> None:
    """Runs in the forked process. `arguments` are an interpreter's, `-m MODULE …` or `-c STATEMENTS …`."""
    import runpy

    from tests.programs import detach

    detach()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    option, what, *arguments = arguments
    sys.argv = [what if option == "-m" else option, *arguments]
    match option:
        case "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        case "-c":
            exec(what, vars(sys.modules["__main__"]))
        case _:
            raise AssertionError(f"not forked: an interpreter with {option}")


def _wait(address: str, arguments: Sequence[str]) -> int:
    """Ends as the forked process ends, which gets the signals that stop this one."""
    from tests import fork_server, forked_interpreter

    stops = (signal.SIGTERM, signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    # The function of the module, not of this process's main module.
    function = forked_interpreter.interpret
    message = pickle.dumps(functools.partial(function, list(arguments), dict(os.environ), str(Path.cwd())))
    fork = fork_server.Fork(address, [0, 1, 2], message)

    def pass_on(number: int, _: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(fork.pid, number)

    for number in stops:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, stops)
    code = fork.wait() or 0
    if code < 0:
        if code != -signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.exit(_wait(sys.argv[1], sys.argv[2:]))
