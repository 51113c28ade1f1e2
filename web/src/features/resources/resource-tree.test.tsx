// @vitest-environment jsdom
import { MantineProvider } from "@mantine/core";
import { cleanup, fireEvent, render, screen, waitFor } from "@testing-library/react";
import { userEvent } from "@testing-library/user-event";
import { useState } from "react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { buildGraph } from "./graph";
import type { Resource } from "./live-state";
import ResourceTree from "./resource-tree";

const resource = (kind: string, name: string, parent = "", health = 1): Resource => ({
  id: `${kind}/${name}`,
  apiVersion: "",
  namespace: "",
  kind,
  name,
  parents: parent ? [parent] : [],
  health,
  healthDescription: "",
  createdAt: 0n,
  metadata: {},
});
const RESOURCES = [
  resource("Deployment", "web", "", 2),
  resource("ReplicaSet", "web-1", "Deployment/web", 2),
  ...Array.from({ length: 12 }, (_, index) => resource("Pod", `web-1-${index}`, "ReplicaSet/web-1", index ? 1 : 2)),
];
const ROOT_STATUS = { text: "Unhealthy", tone: "bad" } as const;

beforeEach(() => {
  // jsdom has no layout; React Flow needs the size of its container.
  vi.stubGlobal("ResizeObserver", class { observe() {} unobserve() {} disconnect() {} });
  vi.stubGlobal("matchMedia", () => ({ matches: false, addEventListener() {}, removeEventListener() {} }));
  vi.stubGlobal("DOMMatrixReadOnly", class { m22 = 1; });
  for (const size of ["offsetWidth", "offsetHeight"] as const) {
    Object.defineProperty(HTMLElement.prototype, size, { configurable: true, value: 1000 });
  }
});
afterEach(cleanup);

function Tree({ onSelect }: { onSelect: (id: string) => void }) {
  const [toggled, setToggled] = useState<ReadonlyMap<string, boolean>>(new Map());
  const filter = { search: "", health: new Set<never>() };
  return (
    <MantineProvider>
      <ResourceTree
        graph={buildGraph("shop", RESOURCES, { filter, mode: "auto", toggled })}
        rootStatus={ROOT_STATUS}
        selectedId={null}
        onSelect={onSelect}
        onToggle={(id, open) => setToggled((current) => new Map(current).set(id, open))}
        part=""
        fill={false}
      />
    </MantineProvider>
  );
}

const focused = () => document.activeElement?.getAttribute("aria-label");

test("every node says its kind, name and health, and a click opens its details", async () => {
  const onSelect = vi.fn();
  render(<Tree onSelect={onSelect} />);
  expect(await screen.findByRole("button", { name: "shop Application, Unhealthy" })).toBeDefined();
  fireEvent.click(screen.getByRole("button", { name: "web-1 ReplicaSet, Unhealthy" }));
  expect(onSelect).toHaveBeenCalledExactlyOnceWith("ReplicaSet/web-1");
});

test("the arrow keys move, open and close, and Enter opens the details", async () => {
  const onSelect = vi.fn();
  render(<Tree onSelect={onSelect} />);
  (await screen.findByRole("button", { name: "shop Application, Unhealthy" })).focus();
  const press = async (keys: string, label: string) => {
    await userEvent.keyboard(keys);
    await waitFor(() => expect(focused()).toBe(label));
  };
  await press("{ArrowRight}", "web Deployment, Unhealthy");
  await press("{ArrowDown}{ArrowDown}", "web-1-0 Pod, Unhealthy");
  await press("{ArrowDown}", "11 × Pod, 11 healthy");
  await userEvent.keyboard("{Enter}");
  // The tree is arranged again before its nodes can be reached.
  await screen.findByRole("button", { name: /web-1-5/ });
  await press("{ArrowRight}", "web-1-1 Pod, Healthy");
  await userEvent.keyboard("{Enter}");
  expect(onSelect).toHaveBeenCalledExactlyOnceWith("Pod/web-1-1");
  await press("{ArrowLeft}", "11 × Pod, 11 healthy");
  await userEvent.keyboard("{ArrowLeft}");
  await waitFor(() => expect(screen.queryByRole("button", { name: /web-1-5/ })).toBeNull());
  await press("{Home}", "shop Application, Unhealthy");
});

test("one node only is in the order of the Tab key", async () => {
  render(<Tree onSelect={() => {}} />);
  await screen.findByRole("button", { name: "shop Application, Unhealthy" });
  const nodes = screen.getAllByRole("button", { name: /healthy$/i });
  expect(nodes.filter((node) => node.tabIndex === 0)).toHaveLength(1);
});
