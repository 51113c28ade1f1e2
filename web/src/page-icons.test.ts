import { expect, test } from "vitest";

import { PAGE_ICONS } from "./page-icons";

const SOURCES = import.meta.glob<string>(["./**/*.tsx", "!./icons.tsx"], { query: "?raw", import: "default", eager: true });

test("each page has an icon of its own", () => {
  const icons = Object.values(PAGE_ICONS);
  expect(new Set(icons).size).toBe(icons.length);
});

test("the bell means notifications of the browser only", () => {
  const users = Object.keys(SOURCES).filter((path) => SOURCES[path]?.includes("<IconBell") ?? false);
  expect(users).toEqual(["./components/user-menu.tsx"]);
});
