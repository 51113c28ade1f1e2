// The icon of each page of the navigation. An icon has one meaning in the whole console.

import {
  IconAdjustments,
  IconApps,
  IconBolt,
  IconChartBar,
  IconCommit,
  IconFileText,
  IconFlag,
  IconKey,
  IconNetwork,
  IconRocket,
  IconServerBolt,
} from "./icons";

export const PAGE_ICONS = {
  "/applications": IconApps,
  "/deployments": IconRocket,
  "/attention": IconFlag,
  "/chains": IconNetwork,
  "/traces": IconCommit,
  "/events": IconBolt,
  "/insights": IconChartBar,
  "/pipeds": IconServerBolt,
  "/api-keys": IconKey,
  "/settings": IconAdjustments,
  "/audit-log": IconFileText,
} as const;
