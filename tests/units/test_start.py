"""What programs import when they start."""

import json
import subprocess
import sys

#: Calls help and version of each program, then writes which packages the interpreter has imported.
PROGRAM = """
import json, sys
from pipecd import __main__ as programs
for name in ("pipectl", "piped", "launcher", "main"):
  for argument in ("--help", "version"):
    sys.argv = [name, argument]
    try:
        getattr(programs, name)()
    except SystemExit as end:
        assert not end.code, (name, argument)
packages = {module.partition(".")[0] for module in sys.modules}
print(json.dumps(sorted(packages - set(sys.stdlib_module_names))), file=sys.stderr)
"""


def test_help_and_version_import_only_the_command_line() -> None:
    """Importing gRPC alone would take longer."""
    result = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    imported = json.loads(result.stderr.splitlines()[-1])
    assert [name for name in imported if not name.startswith(("_", "sitecustomize"))] == ["click", "pipecd"]
    assert "Usage: pipectl" in result.stdout
