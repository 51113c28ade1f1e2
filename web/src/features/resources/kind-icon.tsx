// The icon of a resource's kind. Kinds are an open set: one that is not listed has the icon of any resource.

import {
  type Icon,
  IconApps,
  IconBolt,
  IconBox,
  IconClock,
  IconCopies,
  IconDatabase,
  IconFileText,
  IconFolder,
  IconKey,
  IconNetwork,
  IconServer,
  IconTag,
  IconUser,
} from "../../icons";
import classes from "./kind-icon.module.css";

interface Category {
  name: string;
  Icon: Icon;
}

const OTHER: Category = { name: "other", Icon: IconBox };

/** The first pattern that occurs in the kind decides. */
const CATEGORIES: readonly [RegExp, Category][] = [
  [/^(Pod|Task|Instance)$|aws_instance/, { name: "workload", Icon: IconBox }],
  [/ReplicaSet|TaskSet|Revision|ControllerRevision|ReplicationController/, { name: "workload", Icon: IconCopies }],
  [/CronJob|Job|Schedule/i, { name: "workload", Icon: IconClock }],
  [/Deployment|StatefulSet|DaemonSet|Rollout/, { name: "workload", Icon: IconServer }],
  [/Function|Lambda/i, { name: "workload", Icon: IconBolt }],
  [/Secret|_key|Certificate|Issuer/i, { name: "config", Icon: IconKey }],
  [/ServiceAccount|Role|User|policy|iam/i, { name: "identity", Icon: IconUser }],
  [/ConfigMap|file|Parameter|template/i, { name: "config", Icon: IconFileText }],
  [/Volume|Storage|bucket|_db|database|table|disk|Persistent/i, { name: "storage", Icon: IconDatabase }],
  [/Alias|Version|Tag/, { name: "config", Icon: IconTag }],
  [
    /Service|Ingress|Gateway|Route|Endpoint|Listener|LoadBalancer|TargetGroup|NetworkPolicy|subnet|vpc|dns|_lb/i,
    { name: "network", Icon: IconNetwork },
  ],
  [/Namespace|Module/i, { name: "other", Icon: IconFolder }],
];

export const APPLICATION: Category = { name: "application", Icon: IconApps };

export const categoryOf = (kind: string): Category =>
  CATEGORIES.find(([pattern]) => pattern.test(kind))?.[1] ?? OTHER;

export function KindIcon({ category, size = 18 }: { category: Category; size?: number }) {
  const { name, Icon } = category;
  return (
    <span className={classes.tile} data-category={name}>
      <Icon size={size} stroke={1.8} aria-hidden />
    </span>
  );
}
