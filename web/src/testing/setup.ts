// Before the tests of each file.

export {};

// A page of the console takes seconds to appear on a busy machine.
if (typeof document !== "undefined") {
  const { configure } = await import("@testing-library/react");
  configure({ asyncUtilTimeout: 30_000 });
}
