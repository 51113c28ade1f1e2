import { expect, test } from "vitest";

import { wirePath } from "./git-path";

test.each([
  ["apps/checkout", "apps/checkout"],
  [" /apps/checkout/ ", "apps/checkout"],
  ["./apps//checkout", "apps/checkout"],
  [".github", ".github"],
  ["a", "./a"],
  ["./a", "./a"],
  ["./", "./"],
  [".", "./"],
  ["/", "./"],
])("the directory %j is %j on the wire", (text, path) => {
  expect(wirePath(text)).toBe(path);
  expect(path).toMatch(/^[^/].+$/);
});
