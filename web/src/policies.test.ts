import { expect, test } from "vitest";

import { formatPolicies, parsePolicies } from "./policies";

const TEXT = `resources=application{env:dev,team:a},deployment;actions=get,list

resources=*;actions=*`;

test("policies are written and read in PipeCD's format", () => {
  const policies = parsePolicies(TEXT);
  expect(policies).toHaveLength(2);
  expect(policies[0]?.resources[0]?.labels).toEqual({ env: "dev", team: "a" });
  expect(formatPolicies(policies)).toBe(TEXT);
});

test("white space is ignored", () => {
  expect(formatPolicies(parsePolicies("  resources = piped ;\n actions = get , list \n \n\n resources=auditLog;actions=list\n"))).toBe(
    "resources=piped;actions=get,list\n\nresources=auditLog;actions=list",
  );
});

test.each([
  ["", "at least one policy"],
  ["resources=app;actions=get", "app is not a resource"],
  ["resources=application;actions=read", "read is not an action"],
  ["resources=application{env};actions=get", "env is not a label"],
  ["resources=application{};actions=get", "not a label"],
  ["resources=application{env:dev;actions=get", "not a resource"],
  ["application", "resources=…"],
  ["resources=piped;actions=get\n\nresources=x;actions=get", "Policy 2: x is not"],
])("%j is refused with the reason", (text, reason) => {
  expect(() => parsePolicies(text)).toThrow(reason);
});
