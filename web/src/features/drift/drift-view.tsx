// The differences between what runs and Git: a diff per resource, or the plan of Terraform.

import { SegmentedControl, Skeleton, Spoiler, Stack, Text } from "@mantine/core";
import { useLocalStorage, useMediaQuery } from "@mantine/hooks";
import { lazy, Suspense } from "react";

import { parseDrift } from "./drift";
import classes from "./drift.module.css";
import type { DiffLayout } from "./merge-view";
import { PlanText } from "./plan-text";

const MergeView = lazy(() => import("./merge-view"));

export function DriftView({ text }: { text: string }) {
  const narrow = useMediaQuery("(max-width: 62em)", false, { getInitialValueInEffect: false });
  const [chosen, choose] = useLocalStorage<DiffLayout>({ key: "pipecd-diff-layout", defaultValue: "unified" });
  const drift = parseDrift(text);
  if (!drift) {
    return (
      <Spoiler maxHeight={360} fz="sm" showLabel="Show all" hideLabel="Show less">
        <PlanText text={text} />
      </Spoiler>
    );
  }
  const layout = narrow ? "unified" : chosen;
  return (
    <Stack gap="sm">
      {drift.changed.length > 0 && (
        <div className={classes.header}>
          <Text size="xs" className="faint">
            <span className={classes.running}>Running</span> · <span className={classes.git}>Git</span>
          </Text>
          {!narrow && (
            <SegmentedControl
              size="xs"
              aria-label="Layout of differences"
              data={[
                { value: "unified", label: "Unified" },
                { value: "split", label: "Side by side" },
              ]}
              value={layout}
              onChange={choose}
            />
          )}
        </div>
      )}
      {drift.changed.map(({ title, running, git }, index) => (
        <div key={index} className={classes.resource}>
          {title && <div className={classes.title}>{title}</div>}
          {running !== git && (
            <Suspense fallback={<Skeleton height={80} role="status" aria-label="Loading the difference" />}>
              <MergeView before={running} after={git} layout={layout} label={title || "Difference"} />
            </Suspense>
          )}
        </div>
      ))}
      <Entries title="Running, but not in Git" items={drift.notInGit} />
      <Entries title="In Git, but not running" items={drift.notRunning} />
      <Entries title="Notes" items={drift.notes} />
    </Stack>
  );
}

function Entries({ title, items }: { title: string; items: readonly string[] }) {
  if (items.length === 0) return null;
  return (
    <div>
      <Text size="sm" fw={600}>
        {title}
      </Text>
      <Spoiler maxHeight={160} fz="sm" showLabel="Show all" hideLabel="Show less">
        <ul className={classes.entries}>
          {items.map((item, index) => (
            <li key={index}>{item}</li>
          ))}
        </ul>
      </Spoiler>
    </div>
  );
}
