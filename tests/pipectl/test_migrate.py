"""`pipectl migrate application-config`: the same meaning, with comments, in PipeCD's form for plugins."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pipecd.errors import ConfigError
from pipecd.pipectl.migrations import application_config, convert

CLASSIC = """\
# The shop.
apiVersion: pipecd.dev/v1beta1
kind: KubernetesApp  # the platform
spec:
  name: shop
  # How it is rendered.
  input:
    helmChart:
      path: chart   # local
    kustomizeOptions: {a: b}
  labels:
    env: prod
  quickSync:
    prune: true

  pipeline:
    stages:
      - name: K8S_CANARY_ROLLOUT
        with:
          replicas: 10%
  description: |
    Two lines,
      the second indented.
  variantLabel:
    key: "pipecd.dev/variant"
"""
CONVERTED = """\
# The shop.
apiVersion: pipecd.dev/v1beta1
kind: Application  # the platform
spec:
  name: shop
  labels:
    env: prod
  pipeline:
    stages:
      - name: K8S_CANARY_ROLLOUT
        with:
          replicas: 10%
  description: |
    Two lines,
      the second indented.
  plugins:
    kubernetes:
      # How it is rendered.
      input:
        helmChart:
          path: chart   # local
        kustomizeOptions: {a: b}
      quickSync:
        prune: true

      variantLabel:
        key: "pipecd.dev/variant"
"""


def test_keys_move_with_their_comments() -> None:
    assert convert(CLASSIC, "app.pipecd.yaml") == CONVERTED
    assert convert(CONVERTED, "app.pipecd.yaml") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("spec:\n  name: a\nkind: ECSApp", {"name": "a", "plugins": {"ecs": {}}}),
        (
            "kind: TerraformApp\nspec:\n    input:\n        workspace: x\n",
            {"plugins": {"terraform": {"input": {"workspace": "x"}}}},
        ),
        ("kind: LambdaApp\nspec: {}\n", None),
        ("kind: LambdaApp\nspec: {name: a}\n", None),
        ("kind: CloudRunApp\nspec:\n  a: &x {b: 1}\n  name: *x\n", None),
        ("kind: Deployment\nspec:\n  a: 1\n", None),
        ("- a\n", None),
        ("kind: ECSApp\nspec:\n  a: [\n", None),
        ("", None),
        ("kind: LambdaApp\nspec:\n  a: b\n---\nkind: LambdaApp\n", None),
    ],
)
def test_other_forms_are_converted_or_refused(text: str, expected: object) -> None:
    if expected is None:
        with pytest.raises(ConfigError) as error:
            convert(text, "f")
        assert "f" in str(error.value) and "unicode string" not in str(error.value)
    else:
        converted = convert(text, "f")
        assert converted and yaml.safe_load(converted)["spec"] == expected
        assert yaml.safe_load(converted)["kind"] == "Application"


def test_the_earlier_file_stays_beside_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "shop" / "app.pipecd.yaml"
    file.parent.mkdir()
    file.write_text(CLASSIC)
    result = CliRunner().invoke(application_config, ["--dirs", str(tmp_path)])
    assert (result.exit_code, result.output) == (0, f"Converted {file}\n")
    assert (file.read_text(), Path(f"{file}.old").read_text()) == (CONVERTED, CLASSIC)
    again = CliRunner().invoke(application_config, ["--config-files", str(file)])
    assert again.output == f"{file} needs no conversion\n"
    assert CliRunner().invoke(application_config, []).exit_code == 2
