// @vitest-environment jsdom
import { renderHook } from "@testing-library/react";
import { describe, expect, it, vi } from "vitest";

import { press, useShortcuts } from "./shortcuts";

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

describe("a key in a field", () => {
  it.each([
    ["text", 0],
    ["search", 0],
    ["checkbox", 1],
    ["radio", 1],
  ])("of type %s", (type, calls) => {
    const handler = vi.fn();
    const { unmount } = renderHook(() => useShortcuts({ "/": handler }, true));
    const input = Object.assign(document.createElement("input"), { type });
    document.body.append(input);
    input.dispatchEvent(new KeyboardEvent("keydown", { key: "/", bubbles: true }));
    expect(handler).toHaveBeenCalledTimes(calls);
    input.remove();
    unmount();
  });
});
