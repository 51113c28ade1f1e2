import { describe, expect, it } from "vitest";

import { press } from "./shortcuts";

describe("shortcuts", () => {
  const shortcuts = ["/", "g a", "g d"];

  it.each([
    ["", "/", "", "/"],
    ["", "x", "", null],
    ["", "g", "g", null],
    ["g", "a", "", "g a"],
    ["g", "g", "g", null],
    ["g", "x", "", null],
    ["g", "/", "", "/"],
  ])("after %j the key %j", (pending, key, next, complete) => {
    expect(press(pending, key, shortcuts)).toEqual({ pending: next, complete });
  });
});
