// The command palette: applications, deployments, pages and actions by a few letters. Loaded when first opened.

import "@mantine/spotlight/styles.css";

import { Group, Kbd, useMantineColorScheme } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { createSpotlight, Spotlight } from "@mantine/spotlight";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { useNavigate } from "react-router";

import { errorMessage } from "../../api";
import { displayedSyncStatus } from "../../components/application-table";
import { StatusIcon } from "../../components/status";
import { deploymentDisplay, syncStatusDisplay } from "../../display-names";
import { IconKeyboard, IconMoon, IconPlus, IconSearch, IconStar, IconSun } from "../../icons";
import { kindName, kindOf } from "../../kinds";
import { PAGE_ICONS } from "../../page-icons";
import { foundApplicationsQuery, foundDeploymentsQuery } from "../../queries";
import { WebService } from "../../schema/web/service_pb";
import { useMay } from "../../use-may";
import { useFavourites } from "../favourites/favourites";
import { usePageShortcuts } from "./shortcuts";

const [store, palette] = createSpotlight();
const DEBOUNCE_MS = 150;

interface Item {
  id: string;
  label: string;
  description?: string;
  icon: React.ReactNode;
  /** The shortcut, such as `g a`. */
  keys?: string;
  run: () => unknown;
}

interface PaletteProps {
  opened: boolean;
  close: () => void;
  showHelp: () => void;
}

export function Palette({ opened, close, showHelp }: PaletteProps) {
  const [query, setQuery] = useState("");
  const [search] = useDebouncedValue(query.trim(), DEBOUNCE_MS);
  const found = useFound(search, opened);
  const pending = found.pending || search !== query.trim();
  const groups: [string, Item[]][] = [
    ...found.groups,
    ["Pages", matching(usePages(), query)],
    ["Actions", matching(useActions(showHelp), query)],
  ];
  useEffect(() => {
    if (opened) palette.open();
  }, [opened]);
  const empty = groups.every(([, items]) => items.length === 0);
  return (
    <Spotlight.Root
      store={store}
      query={query}
      onQueryChange={setQuery}
      onSpotlightClose={close}
      shortcut={null}
      scrollable
      maxHeight={460}
      size={640}
      clearQueryOnClose
      overlayProps={{ blur: 0 }}
    >
      <Spotlight.Search
        placeholder="Search applications, deployments, pages and actions"
        aria-label="Search everything"
        leftSection={<IconSearch size={18} aria-hidden />}
      />
      <Spotlight.ActionsList>
        {groups.map(
          ([title, items]) =>
            items.length > 0 && (
              <Spotlight.ActionsGroup key={title} label={title}>
                {items.map(({ id, label, description, icon, keys, run }) => (
                  <Spotlight.Action
                    key={id}
                    label={label}
                    description={description}
                    leftSection={icon}
                    rightSection={keys && <Keys keys={keys} />}
                    onClick={run}
                  />
                ))}
              </Spotlight.ActionsGroup>
            ),
        )}
        {(empty || found.error) && (
          <Spotlight.Empty>
            {pending ? "Searching…" : found.error ? `Applications and deployments could not be searched. ${errorMessage(found.error)}` : "Nothing found"}
          </Spotlight.Empty>
        )}
      </Spotlight.ActionsList>
    </Spotlight.Root>
  );
}

function Keys({ keys }: { keys: string }) {
  return (
    <Group gap={4} wrap="nowrap" aria-hidden>
      {keys.split(" ").map((key) => (
        <Kbd key={key} size="xs">
          {key}
        </Kbd>
      ))}
    </Group>
  );
}

const matching = (items: Item[], query: string): Item[] => {
  const words = query.toLowerCase().split(/\s+/);
  return items.filter(({ label }) => words.every((word) => label.toLowerCase().includes(word)));
};

interface Found {
  groups: [string, Item[]][];
  /** A part of the answer is missing. */
  pending: boolean;
  error: Error | null;
}

/** Favourites without a search; with one, applications and deployments that match it. */
function useFound(search: string, opened: boolean): Found {
  const navigate = useNavigate();
  const { favourites } = useFavourites();
  const enabled = opened && search !== "";
  const foundApplications = useQuery({ ...foundApplicationsQuery(search), enabled });
  const foundDeployments = useQuery({ ...foundDeploymentsQuery(search), enabled });
  if (!search) {
    const items = favourites.map(({ id, name }) => ({
      id: `favourite-${id}`,
      label: name,
      icon: <IconStar size={18} aria-hidden />,
      run: () => navigate(`/applications/${id}`),
    }));
    return { groups: [["Favourites", items]], pending: false, error: null };
  }
  const applications = (foundApplications.data ?? []).map((application) => ({
    id: application.id,
    label: application.name,
    description: [kindName(kindOf(application)), ...Object.entries(application.labels).map((pair) => pair.join(":"))].join(" · "),
    icon: <StatusIcon status={syncStatusDisplay(displayedSyncStatus(application))} />,
    run: () => navigate(`/applications/${application.id}`),
  }));
  const deployments = (foundDeployments.data ?? []).map((deployment) => ({
    id: deployment.id,
    label: deployment.applicationName,
    description: `${deployment.trigger?.commit?.hash.slice(0, 7) ?? ""} ${deployment.trigger?.commit?.message.split("\n")[0] ?? ""}`,
    icon: <StatusIcon status={deploymentDisplay(deployment)} />,
    run: () => navigate(`/deployments/${deployment.id}`),
  }));
  return {
    groups: [
      ["Applications", applications],
      ["Deployments", deployments],
    ],
    pending: foundApplications.isFetching || foundDeployments.isFetching,
    error: foundApplications.error ?? foundDeployments.error,
  };
}

function usePages(): Item[] {
  const navigate = useNavigate();
  return usePageShortcuts().map(({ to, text, keys }) => {
    const Icon = PAGE_ICONS[to];
    return {
      id: to,
      label: text,
      keys,
      icon: <Icon size={18} aria-hidden />,
      run: () => navigate(to),
    };
  });
}

function useActions(showHelp: () => void): Item[] {
  const navigate = useNavigate();
  const { setColorScheme } = useMantineColorScheme();
  const may = useMay();
  const add = { id: "add", label: "Add application", icon: <IconPlus size={18} aria-hidden />, run: () => navigate("/applications/add") };
  const register = { id: "piped", label: "Register piped", icon: <IconPlus size={18} aria-hidden />, run: () => navigate("/pipeds?register") };
  return [
    ...(may(WebService.method.addApplication) ? [add] : []),
    ...(may(WebService.method.registerPiped) ? [register] : []),
    { id: "light", label: "Use light colours", icon: <IconSun size={18} aria-hidden />, run: () => setColorScheme("light") },
    { id: "dark", label: "Use dark colours", icon: <IconMoon size={18} aria-hidden />, run: () => setColorScheme("dark") },
    { id: "help", label: "Show the keyboard shortcuts", icon: <IconKeyboard size={18} aria-hidden />, run: showHelp },
  ];
}
