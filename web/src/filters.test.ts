import { describe, expect, it } from "vitest";

import { isLabel, parseLabels } from "./filters";

describe("labels", () => {
  it("are parsed as key and value, without the white space around them", () => {
    expect(parseLabels(["env:prod", " team : a:b "])).toEqual({ env: "prod", team: "a:b" });
  });

  it.each(["env", ":prod", "env:", " :prod", "", ":"])("ignore the text %j, which is none", (text) => {
    expect(parseLabels([text])).toEqual({});
    expect(isLabel(text)).toBe(false);
  });
});
