// The live state of an application: its resources with their health, as a picture or as a list, and their details.

import { ActionIcon, Button, SegmentedControl, Skeleton, Text } from "@mantine/core";
import { useFullscreenElement, useMediaQuery } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useCallback, useMemo, useState } from "react";
import { useSearchParams } from "react-router";

import { ErrorAlert } from "../../components/error-alert";
import { SearchField } from "../../components/search-field";
import { Section } from "../../components/section";
import { StatusBadge } from "../../components/status";
import { withParam } from "../../filters";
import { IconMaximize } from "../../icons";
import { liveStateQuery } from "../../queries";
import type { Application } from "../../schema/model/application_pb";
import {
  buildGraph,
  countHealth,
  type ExpandMode,
  type Graph,
  isFiltering,
  pathTo,
  type TreeFilter,
  VISIBLE_AT_MOST,
} from "./graph";
import { HEALTH, healthDisplay, type HealthName, listResources, type Resource } from "./live-state";
import { ResourceDrawer } from "./resource-drawer";
import { ResourceList } from "./resource-list";
import classes from "./resource-tree.module.css";

const ResourceTree = lazy(() => import("./resource-tree"));

export function LiveState({ application }: { application: Application }) {
  const liveState = useQuery(liveStateQuery(application.id));
  const resources = useMemo(() => (liveState.data ? listResources(liveState.data) : []), [liveState.data]);
  if (liveState.data === null) return null;
  const health = liveState.data?.healthStatus;
  return (
    <Section
      title="Live state"
      flush={resources.length > 0}
      aside={health !== undefined && <StatusBadge status={healthDisplay(health)} />}
    >
      {liveState.isPending && <Skeleton height={220} />}
      {liveState.isError && !liveState.data && (
        <ErrorAlert title="The live state could not be loaded" error={liveState.error} />
      )}
      {liveState.data && resources.length === 0 && (
        <Text size="sm" className="faint">
          No resources of this application are running.
        </Text>
      )}
      {resources.length > 0 && (
        <Resources application={application} resources={resources} health={health ?? 0} />
      )}
    </Section>
  );
}

const VIEWS = [
  { value: "tree", label: "Tree" },
  { value: "list", label: "List" },
];

interface ResourcesProps {
  application: Application;
  resources: readonly Resource[];
  /** Of the whole application. */
  health: number;
}

function Resources({ application, resources, health }: ResourcesProps) {
  const [params, setParams] = useSearchParams();
  const narrow = useMediaQuery("(max-width: 48em)", false, { getInitialValueInEffect: false });
  const view = VIEWS.find(({ value }) => value === params.get("view"))?.value ?? (narrow ? "list" : "tree");
  const selectedId = params.get("resource");
  const [filter, setFilter] = useState<TreeFilter>({ search: "", health: new Set() });
  const { state, toggle, setMode } = useOpenNodes(resources, selectedId);
  const graph = useMemo(() => buildGraph(application.name, resources, { filter, ...state }), [application.name, resources, filter, state]);
  const { ref: frame, fullscreen, toggle: toggleFullscreen } = useFullscreenElement();
  const rootStatus = useMemo(() => healthDisplay(health), [health]);
  const setParam = useCallback(
    (param: string, value: string) => setParams((current) => withParam(current, param, [value]), { replace: true }),
    [setParams],
  );
  const select = useCallback((id: string) => setParam("resource", id), [setParam]);
  return (
    <div ref={frame} className={fullscreen ? classes.full : undefined}>
      <div className={classes.toolbar}>
        <SearchField
          label="Find a resource"
          value={filter.search}
          onSearch={(search) => setFilter((current) => ({ ...current, search }))}
        />
        <HealthFilter
          resources={resources}
          selected={filter.health}
          onChange={(selected) => setFilter((current) => ({ ...current, health: selected }))}
        />
        <Button.Group>
          <Button size="compact-sm" variant="default" fw={500} onClick={() => setMode("all")}>
            Expand all
          </Button>
          <Button size="compact-sm" variant="default" fw={500} onClick={() => setMode("none")}>
            Collapse all
          </Button>
        </Button.Group>
        <SegmentedControl
          size="xs"
          aria-label="View"
          data={VIEWS}
          value={view}
          onChange={(value) => setParam("view", value)}
        />
        {view === "tree" && document.fullscreenEnabled && (
          <ActionIcon
            variant="default"
            aria-label={fullscreen ? "Leave full screen" : "Full screen"}
            onClick={() => void toggleFullscreen()}
          >
            <IconMaximize size={15} aria-hidden />
          </ActionIcon>
        )}
      </div>
      <Notice graph={graph} filter={filter} mode={state.mode} />
      {view === "list" ? (
        <div style={{ padding: "0.5rem 1rem 0.75rem" }}>
          <ResourceList nodes={graph.root.children} name="Resources" onSelect={select} onToggle={toggle} />
        </div>
      ) : (
        <div className={classes.picture}>
          <Suspense fallback={<Skeleton height={220} radius={0} role="status" aria-label="Loading the tree" />}>
            <ResourceTree
              graph={graph}
              rootStatus={rootStatus}
              selectedId={selectedId}
              onSelect={select}
              onToggle={toggle}
              part={JSON.stringify([filter.search, [...filter.health], state.mode])}
              fill={fullscreen}
            />
          </Suspense>
        </div>
      )}
      <ResourceDrawer
        applicationId={application.id}
        resource={resources.find(({ id }) => id === selectedId)}
        resources={resources}
        resourceId={selectedId}
        select={select}
        close={() => setParam("resource", "")}
        fullscreen={fullscreen}
      />
    </div>
  );
}

/** Which nodes are open. A resource that a link selects is visible from the start. */
function useOpenNodes(resources: readonly Resource[], selectedId: string | null) {
  const [state, setState] = useState<{ mode: ExpandMode; toggled: ReadonlyMap<string, boolean> }>(() => ({
    mode: "auto",
    toggled: new Map(selectedId ? pathTo(resources, selectedId).map((id): [string, boolean] => [id, true]) : []),
  }));
  const toggle = useCallback(
    (id: string, open: boolean) => setState(({ mode, toggled }) => ({ mode, toggled: new Map(toggled).set(id, open) })),
    [],
  );
  const setMode = useCallback((mode: ExpandMode) => setState({ mode, toggled: new Map() }), []);
  return { state, toggle, setMode };
}

const WORST_FIRST: readonly HealthName[] = ["unhealthy", "unknown", "healthy"];

interface HealthFilterProps {
  resources: readonly Resource[];
  selected: TreeFilter["health"];
  onChange: (selected: TreeFilter["health"]) => void;
}

/** The number of resources in each health; selecting one shows only those. */
function HealthFilter({ resources, selected, onChange }: HealthFilterProps) {
  const counts = useMemo(() => countHealth(resources), [resources]);
  return (
    <div className={classes.counts} role="group" aria-label="Resources by health">
      {WORST_FIRST.filter((name) => counts[name] > 0 || selected.has(name)).map((name) => {
        const display = HEALTH[name];
        const pressed = selected.has(name);
        return (
          <button
            key={name}
            type="button"
            className={classes.count}
            data-tone={display.tone}
            aria-pressed={pressed}
            onClick={() => onChange(toggled(selected, name))}
          >
            {counts[name]} {display.text}
          </button>
        );
      })}
    </div>
  );
}

function toggled<Item>(set: ReadonlySet<Item>, item: Item): ReadonlySet<Item> {
  const next = new Set(set);
  if (!next.delete(item)) next.add(item);
  return next;
}

function Notice({ graph, filter, mode }: { graph: Graph; filter: TreeFilter; mode: ExpandMode }) {
  const text = noticeText(graph, filter, mode);
  return (
    <Text size="sm" className="faint" px="md" py={text ? 6 : 0} role="status">
      {text}
    </Text>
  );
}

function noticeText(graph: Graph, filter: TreeFilter, mode: ExpandMode): string {
  if (isFiltering(filter)) {
    if (graph.matches === 0) return "No resource matches.";
    return graph.matches === 1 ? "1 resource matches." : `${graph.matches} resources match.`;
  }
  const isCut = mode === "all" && graph.nodes.some((node) => node.expandable && !node.expanded);
  return isCut ? `Some nodes stay closed: at most ${VISIBLE_AT_MOST} are opened at once.` : "";
}
