// The page of one record. Instead of a record that the control plane does not return, it says why, and what can be done.

import { Anchor, Button, Skeleton, Text } from "@mantine/core";
import { useQuery, type UseQueryOptions } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { Link, useLocation } from "react-router";

import type { Refusal } from "../api";
import { IconMapOff } from "../icons";
import { type Answer, meQuery } from "../queries";
import { EmptyState } from "./empty-state";
import { ErrorAlert } from "./error-alert";
import { PageHeader } from "./page-header";

interface RecordPageProps<Value> {
  /** What the page shows: "application". */
  noun: string;
  id: string;
  query: UseQueryOptions<Answer<Value>>;
  /** The list of these records. */
  parent: { text: string; to: string };
  /** Of the placeholder, in pixels. */
  height: number;
  children: (record: Value) => ReactNode;
}

export function RecordPage<Value>({ noun, id, query, parent, height, children }: RecordPageProps<Value>) {
  const { data, error, isPending, refetch } = useQuery(query);
  const [shownId, setShownId] = useState("");
  if (data?.record !== undefined) {
    if (shownId !== id) setShownId(id);
    return children(data.record);
  }
  if (data?.refusal) {
    return <RefusedPage noun={noun} id={id} refusal={data.refusal} parent={parent} wasShown={shownId === id} />;
  }
  if (isPending) return <Skeleton height={height} role="status" aria-label={`Loading ${noun}`} />;
  return <ErrorAlert title={`The ${noun} could not be loaded`} error={error} retry={refetch} />;
}

interface RefusedPageProps {
  noun: string;
  id: string;
  refusal: Refusal;
  parent: { text: string; to: string };
  /** Whether the record was on this page until now. */
  wasShown: boolean;
}

const TITLES: Record<Refusal["reason"], (noun: string) => string> = {
  unknown: (noun) => `${capitalize(noun)} not found`,
  invalid: (noun) => `${capitalize(noun)} not found`,
  forbidden: (noun) => `No access to this ${noun}`,
};
/** Of an ID in a sentence, in characters. */
const MAX_ID = 80;

function RefusedPage({ noun, id, refusal, parent, wasShown }: RefusedPageProps) {
  const { reason } = refusal;
  const list = parent.text.toLowerCase();
  return (
    <>
      <PageHeader title={TITLES[reason](noun)} parent={parent} />
      <EmptyState
        title={headline(noun, reason, wasShown)}
        icon={<IconMapOff size={40} stroke={1.4} />}
        action={
          <Button component={Link} to={parent.to} variant="default" mt="sm">
            View {list}
          </Button>
        }
      >
        <Text inherit>{reason === "forbidden" ? refusal.message : explanation(noun, reason)}</Text>
        {reason === "forbidden" && <WhoCanHelp />}
        {id && (
          <Text size="sm" className="mono" mt="xs" style={{ overflowWrap: "anywhere" }}>
            {id.length > MAX_ID ? `${id.slice(0, MAX_ID)}…` : id}
          </Text>
        )}
      </EmptyState>
    </>
  );
}

function headline(noun: string, reason: Refusal["reason"], wasShown: boolean): string {
  if (reason === "forbidden") return wasShown ? `You no longer have access to this ${noun}` : `You may not see this ${noun}`;
  if (wasShown) return `This ${noun} was deleted while you looked at it`;
  return reason === "invalid" ? `This is not the ID of ${withArticle(noun)}` : `No ${noun} with this ID exists`;
}

const explanation = (noun: string, reason: Refusal["reason"]): string =>
  reason === "invalid"
    ? "The link is incomplete, or was changed on its way."
    : `It may have been deleted, or belong to another project, or the link to the ${noun} is incomplete.`;

function WhoCanHelp() {
  const { pathname, search, hash } = useLocation();
  const project = useQuery(meQuery).data?.projectId;
  return (
    <Text inherit mt="xs">
      An administrator of the project{project && ` ${project}`} can change your roles. If it belongs to another project,{" "}
      <Anchor component={Link} to={`/login?next=${encodeURIComponent(pathname + search + hash)}`} inherit>
        sign in to that project
      </Anchor>
      .
    </Text>
  );
}

const capitalize = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
const withArticle = (noun: string): string => `${/^[aeiou]/.test(noun) ? "an" : "a"} ${noun}`;
