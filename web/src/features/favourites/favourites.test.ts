import { describe, expect, it } from "vitest";

import { type Favourite, parseList } from "./favourites";

describe("stored lists", () => {
  it.each(["", "null", "{}", "[1", '[null, 1, {"id": 1, "name": "x"}, {"id": "a"}]'])("ignore %j", (text) => {
    expect(parseList<Favourite>(text, ["id", "name"])).toEqual([]);
  });

  it("keep what is complete", () => {
    expect(parseList<Favourite>('[{"id": "a", "name": "shop"}, 3]', ["id", "name"])).toEqual([{ id: "a", name: "shop" }]);
  });
});
