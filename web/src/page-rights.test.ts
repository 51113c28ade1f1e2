import { expect, test } from "vitest";

import { forbiddenPage, PAGE_RIGHTS } from "./page-rights";
import { mayWith, neededRight } from "./rights";
import routes from "./routes.tsx?raw";

test("the pages of all routes need a right, but for those of every user", () => {
  const paths = [...routes.matchAll(/path: "([^"]+)",\s+lazy:/g)].map(([, path]) => path);
  const open = ["/login", "/sessions", "*"];
  expect(paths.toSorted()).toEqual([...PAGE_RIGHTS.map(({ path }) => path), ...open].toSorted());
});

test.each(PAGE_RIGHTS)("$path is for users who may make one of its calls", ({ path, needs }) => {
  const address = path.replace(":id", "1234");
  expect(forbiddenPage(mayWith([]), address)?.path).toBe(path);
  for (const method of needs) {
    const may = mayWith([{ ...neededRight(method), conditions: [{ env: "dev" }] }]);
    expect(forbiddenPage(may, address)).toBeUndefined();
  }
});

test("an address without a page of its own is not forbidden", () => {
  expect(forbiddenPage(mayWith([]), "/sessions")).toBeUndefined();
  expect(forbiddenPage(mayWith([]), "/nowhere")).toBeUndefined();
});
