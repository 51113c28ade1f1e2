import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { ApplicationSchema } from "../../schema/model/application_pb";
import { labelCommands, parseLabel, removableKeys } from "./label-commands";

const application = (path: string, remote = "https://git.example/shop.git", labels: Record<string, string> = {}) =>
  create(ApplicationSchema, { labels, gitPath: { path, configFilename: "app.pipecd.yaml", repo: { remote, branch: "main" } } });

test.each([
  ["team:shop", ["team", "shop"]],
  [" a/b.c:1-2 ", ["a/b.c", "1-2"]],
  ["team", null],
  [":shop", null],
  ['a:b" | load("/etc/passwd") | "', null],
  ["a:\\(env)", null],
])("the label %s", (text, expected) => {
  expect(parseLabel(text)).toEqual(expected);
});

test("only keys that need no quotes can be removed", () => {
  expect(removableKeys([application("a", "", { team: "x", "b c": "y" }), application("b", "", { env: "z" })])).toEqual(["env", "team"]);
});

test("each repository is changed by one commit", () => {
  const commands = labelCommands([application("a"), application("b"), application("c", "https://git.example/other.git")], [["team", "shop"]], ["old"]);
  expect(commands).toBe(`git clone --branch 'main' -- 'https://git.example/shop.git' change-labels-1
(cd change-labels-1 &&
  yq --inplace '.spec.labels["team"] = "shop" | del(.spec.labels["old"])' './a/app.pipecd.yaml' './b/app.pipecd.yaml' &&
  git commit --all --message 'Change labels' &&
  git push)

git clone --branch 'main' -- 'https://git.example/other.git' change-labels-2
(cd change-labels-2 &&
  yq --inplace '.spec.labels["team"] = "shop" | del(.spec.labels["old"])' './c/app.pipecd.yaml' &&
  git commit --all --message 'Change labels' &&
  git push)`);
  expect(labelCommands([application("a")], [], [])).toBe("");
});

test("paths are quoted for the shell", () => {
  expect(labelCommands([application("-x'; rm -rf ~ #", "--upload-pack=x")], [], ["a"])).toContain(
    `-- '--upload-pack=x' change-labels-1\n(cd change-labels-1 &&\n  yq --inplace 'del(.spec.labels["a"])' './-x'\\''; rm -rf ~ #/app.pipecd.yaml' &&`,
  );
});
