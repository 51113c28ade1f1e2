import { expect, test } from "vitest";

import { firstPage, forbiddenPage, PAGE_RIGHTS } from "./page-rights";
import { mayWith, neededRight } from "./rights";
import routes from "./routes.tsx?raw";
import { ConsoleService } from "./schema/pipecd/v1/console_pb";
import { WebService } from "./schema/web/service_pb";

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

test("the first page is one that the roles include", () => {
  const right = (method: Parameters<typeof neededRight>[0]) => ({ ...neededRight(method), conditions: [] });
  const { listEvents, listPipeds } = WebService.method;
  expect(firstPage(mayWith([right(ConsoleService.method.pageApplications), right(listEvents)]))).toBe("/applications");
  expect(firstPage(mayWith([right(listEvents)]))).toBe("/events");
  expect(firstPage(mayWith([right(listPipeds), right(WebService.method.addApplication)]))).toBe("/attention");
  expect(firstPage(mayWith([]))).toBe("/applications");
});
