import { expect, test } from "vitest";

import { parseDrift, parsePlan, planCounts, planInLog } from "./drift";

test("a drift is read by resource, with both sides of each", () => {
  const text = [
    "Differs from Git: 1 missing, 1 changed at commit 0123456",
    "",
    "--- Running",
    "+++ Git",
    "# Deployment web in shop (changed by kubectl)",
    "@@ -1,3 +1,3 @@",
    " spec:",
    "-  replicas: 5",
    "+  replicas: 3",
    "@@ -9,1 +9,1 @@",
    "-  - name: a",
    "+  - name: b",
    "- Service old in shop: not in Git",
    "+ ConfigMap new in shop: not running (helm)",
    "! compared less exactly",
    "# Added beside Git, and no drift:",
    "~ Service web: spec.ports[name=http] (kubectl)",
  ].join("\n");
  expect(parseDrift(text)).toEqual({
    intro: "Differs from Git: 1 missing, 1 changed at commit 0123456",
    changed: [
      {
        title: "Deployment web in shop (changed by kubectl)",
        running: "spec:\n  replicas: 5\n⋯\n  - name: a",
        git: "spec:\n  replicas: 3\n⋯\n  - name: b",
      },
    ],
    notInGit: ["Service old in shop"],
    notRunning: ["ConfigMap new in shop (helm)"],
    notes: ["compared less exactly", "Added beside Git, and no drift:", "Service web: spec.ports[name=http] (kubectl)"],
  });
});

test("a plan of Terraform is no drift by resource", () => {
  expect(parseDrift("Terraform will perform the following actions:\n  + create")).toBeNull();
});

const PLAN = `Terraform used the selected providers to generate the following execution
plan. Resource actions are indicated with the following symbols:
  + create
  - destroy
-/+ destroy and then create replacement

Terraform will perform the following actions:

  # aws_instance.web must be replaced
-/+ resource "aws_instance" "web" {
      ~ ami  = "a" -> "b" # forces replacement
      + tags = {}
    }

Plan: 1 to add, 2 to change, 1 to destroy.`;

test("a plan's lines have their meaning, and its legend has none", () => {
  const kinds = parsePlan(PLAN.replace("plan. Resource", "plan.\nResource")).map(({ kind }) => kind);
  expect(kinds.slice(3, 6)).toEqual(["text", "text", "text"]);
  expect(kinds.slice(9, 13)).toEqual(["replace", "replace", "update", "create"]);
  expect(kinds.at(-1)).toBe("heading");
  expect(parsePlan(PLAN).filter(({ text }) => text.trim() === "+ create").map(({ kind }) => kind)).toEqual(["text"]);
});

test.each([
  [PLAN, { add: 1, change: 2, destroy: 1 }],
  ["No changes.", null],
])("the counts of a plan are read", (text, counts) => {
  expect(planCounts(text)).toEqual(counts);
});

test("the plan is found in the log of its stage", () => {
  const before = ["$ terraform init", "Initializing provider plugins...", "- terraform.io/builtin/terraform is built in to Terraform", ""];
  const after = ["", "─".repeat(77), "", "Saved the plan to: plan"];
  expect(planInLog([...before, PLAN, ...after].join("\n"))).toBe(PLAN);
  expect(planInLog([...before, "No changes. Your infrastructure matches the configuration."].join("\n"))).toMatch(/^No changes/);
  expect(planInLog(before.join("\n"))).toBe(before.join("\n"));
});
