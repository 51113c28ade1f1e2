// @vitest-environment jsdom
import { expect, test } from "vitest";

import { localPath } from "./sign-in";

test.each([
  "/applications",
  "/deployments/x?stage=s&line=7#L7",
  "/applications?label=team:a&label=env:b",
  "/insights?application=%C3%A4%2F%2F",
])("%j is a path of the console", (path) => {
  expect(localPath(path, "/")).toBe(path);
});

test.each([
  null,
  "",
  "applications",
  "https://evil.example/",
  "javascript:alert(1)",
  "//",
  "//evil.example",
  "/\\evil.example",
  "\\\\evil.example",
  "/\t/evil.example",
  "/\n/evil.example",
  "\t//evil.example",
  "/.//evil.example",
  "/x/..//evil.example",
  "https:evil.example",
])("%j leads to no other site", (address) => {
  expect(localPath(address, "/applications")).toBe("/applications");
});
