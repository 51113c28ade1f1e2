// Notifies the user of the browser while any tab of the console is open, also in the background.

import { useLocalStorage } from "@mantine/hooks";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { useNavigate } from "react-router";

import { useLiveUpdates } from "../../live";
import { deploymentQuery, recentDeploymentsQuery, runningDeploymentsQuery } from "../../queries";
import { ConsoleService } from "../../schema/pipecd/v1/console_pb";
import type { GetMeResponse } from "../../schema/web/project_pb";
import { useMay } from "../../use-may";
import { useFavourites } from "../favourites/favourites";
import { showNotice, useIsLeader, usePermission, useShownElsewhere } from "./browser";
import { type Audience, type NoticeSettings, NoticeTracker, parseSettings } from "./notices";

/** The user's settings in this browser and project; null if notifications are off. */
export function useNoticeSettings(projectId: string) {
  return useLocalStorage<NoticeSettings | null>({
    key: `pipecd:${projectId}:notifications`,
    defaultValue: null,
    getInitialValueInEffect: false,
    deserialize: parseSettings,
  });
}

export function useNotices({ projectId, subject: user }: GetMeResponse): void {
  const [settings] = useNoticeSettings(projectId);
  const granted = usePermission() === "granted";
  const enabled = settings !== null && granted;
  const name = `pipecd:${projectId}:notifications`;
  const leads = useIsLeader(name, enabled);
  const liveUpdates = useLiveUpdates();
  const client = useQueryClient();
  const navigate = useNavigate();
  const { favourites } = useFavourites();
  const [tracker] = useState(() => new NoticeTracker(Math.floor(Date.now() / 1000)));
  const announce = useShownElsewhere(name, enabled, (id) => {
    tracker.shownElsewhere(id);
  });
  const may = useMay();
  const listed = enabled && may(ConsoleService.method.pageDeployments);
  const recent = useQuery({ ...recentDeploymentsQuery, enabled: listed }).data;
  const running = useQuery({ ...runningDeploymentsQuery, enabled: listed }).data;

  // Only this tab needs the change feed while it is hidden: browsers limit the connections to one host.
  useEffect(() => liveUpdates.stayConnected(leads), [liveUpdates, leads]);

  useEffect(() => {
    if (!recent || !running) return;
    const ids = new Set(recent.map(({ id }) => id));
    const deployments = [...recent, ...running.filter(({ id }) => !ids.has(id))];
    const favouriteIds = new Set(favourites.map(({ id }) => id));
    const audience: Audience | null = settings && { settings, user, favouriteIds };
    const notify = (changed: typeof deployments) => {
      tracker.update(changed, user, may, audience);
      for (const notice of leads ? tracker.take() : []) {
        showNotice(notice, (to) => void navigate(to));
        announce(notice.id);
      }
    };
    const missing = tracker.missing(deployments);
    notify(deployments);
    for (const id of missing) {
      const load = client.fetchQuery({ ...deploymentQuery(id), staleTime: 0 });
      void load.then(({ record }) => (record ? notify([record]) : tracker.forget(id)), () => tracker.forget(id));
    }
  }, [recent, running, leads, settings, user, may, favourites, tracker, announce, client, navigate]);
}
