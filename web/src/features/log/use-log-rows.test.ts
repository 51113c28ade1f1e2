import { expect, test } from "vitest";

import { followsAfterScroll } from "./use-log-rows";

test.each([
  ["new lines that came since", true, 500, 500, 2000, true],
  ["a user who scrolls up", true, 500, 450, 700, false],
  ["a user who is far from the end", false, 100, 300, 2000, false],
  ["a user who reaches the end", false, 100, 590, 800, true],
  ["a user who stays near the end", true, 600, 590, 800, true],
  ["a user who stays at the end, and does not want to follow", false, 600, 600, 800, false],
])("with %s, the view follows only if it should", (_, following, previousTop, scrollTop, scrollHeight, expected) => {
  expect(followsAfterScroll(following, previousTop, { scrollTop, scrollHeight, clientHeight: 200 })).toBe(expected);
});
