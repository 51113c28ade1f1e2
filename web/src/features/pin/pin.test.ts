import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";

import { ApplicationSchema } from "../../schema/model/application_pb";
import { activePin, canRollBack } from "./pin";

describe("pin", () => {
  const pinned = (until: bigint) => create(ApplicationSchema, { pin: { commitHash: "a", until } });

  it("lasts until it is removed or its time has come", () => {
    expect(activePin(create(ApplicationSchema), 10)).toBeNull();
    expect(activePin(pinned(0n), 10)?.commitHash).toBe("a");
    expect(activePin(pinned(11n), 10)?.commitHash).toBe("a");
    expect(activePin(pinned(10n), 10)).toBeNull();
  });

  it("needs an agent of this project", () => {
    expect(canRollBack(undefined)).toBe(true);
    expect(canRollBack({ version: "", package: "" })).toBe(true);
    expect(canRollBack({ version: "v0.52.0", package: "" })).toBe(false);
    expect(canRollBack({ version: "v0.1.0", package: "pipecd" })).toBe(true);
  });
});
