// The page of records that own a key (pipeds, API keys): a table, a dialog that creates a record, and a dialog that
// shows a new key once. The caller defines the columns, the rows and the fields of the create dialog.

import { Button, Group, Skeleton, Stack, Table, VisuallyHidden } from "@mantine/core";
import { IconPlus } from "../icons";
import type { UseQueryResult } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { useSearchParams } from "react-router";

import { EmptyState } from "./empty-state";
import { ErrorAlert } from "./error-alert";
import { type OneTimeKey, OneTimeKeyDialog } from "./one-time-key-dialog";
import { PageHeader } from "./page-header";
import classes from "./table.module.css";

interface CreateDialogControls {
  opened: boolean;
  close: () => void;
  showKey: (oneTimeKey: OneTimeKey) => void;
}

interface KeyOwnerPageProps<Item> {
  title: string;
  description: string;
  /** What the page lists, in the plural: "pipeds". */
  noun: string;
  query: UseQueryResult<Item[]>;
  /** Headings of the columns before the one for actions. */
  columns: readonly string[];
  renderRow: (item: Item, showKey: (oneTimeKey: OneTimeKey) => void) => ReactNode;
  emptyState: { title: string; icon: ReactNode; text: string };
  /** Text of the button that opens the create dialog. */
  createText: string;
  /** Whether the user's roles allow to create one. */
  mayCreate: boolean;
  renderCreateDialog: (controls: CreateDialogControls) => ReactNode;
  /** Further buttons, before the one that opens the create dialog. */
  actions?: ReactNode;
}

export function KeyOwnerPage<Item>({
  title,
  description,
  noun,
  query,
  columns,
  renderRow,
  emptyState,
  createText,
  mayCreate,
  renderCreateDialog,
  actions,
}: KeyOwnerPageProps<Item>) {
  const [params] = useSearchParams();
  const [creating, setCreating] = useState(mayCreate && params.has("register"));
  const [oneTimeKey, setOneTimeKey] = useState<OneTimeKey | null>(null);
  return (
    <Stack gap="lg">
      <PageHeader
        title={title}
        description={description}
        actions={
          <Group gap="xs">
            {actions}
            {mayCreate && (
              <Button leftSection={<IconPlus size={16} aria-hidden />} onClick={() => setCreating(true)}>
                {createText}
              </Button>
            )}
          </Group>
        }
      />
      <List
        noun={noun}
        query={query}
        columns={columns}
        renderRow={(item) => renderRow(item, setOneTimeKey)}
        emptyState={
          <EmptyState
            title={emptyState.title}
            icon={emptyState.icon}
            action={
              mayCreate && (
                <Button variant="default" mt="sm" onClick={() => setCreating(true)}>
                  {createText}
                </Button>
              )
            }
          >
            {emptyState.text}
          </EmptyState>
        }
      />
      {renderCreateDialog({ opened: creating, close: () => setCreating(false), showKey: setOneTimeKey })}
      {oneTimeKey && <OneTimeKeyDialog oneTimeKey={oneTimeKey} close={() => setOneTimeKey(null)} />}
    </Stack>
  );
}

interface ListProps<Item> {
  noun: string;
  query: UseQueryResult<Item[]>;
  columns: readonly string[];
  renderRow: (item: Item) => ReactNode;
  emptyState: ReactNode;
}

function List<Item>({ noun, query, columns, renderRow, emptyState }: ListProps<Item>) {
  if (query.isPending) return <Skeleton height={220} role="status" aria-label={`Loading ${noun}`} />;
  if (query.isError && !query.data) {
    return <ErrorAlert title={`The ${noun} could not be loaded`} error={query.error} retry={() => query.refetch()} />;
  }
  if (query.data.length === 0) return emptyState;
  return (
    <div className="panel" style={{ overflowX: "auto" }}>
      <Table className={`${classes.table} ${classes.cards}`} verticalSpacing="sm">
        <Table.Thead>
          <Table.Tr>
            {columns.map((column) => (
              <Table.Th key={column}>{column}</Table.Th>
            ))}
            <Table.Th>
            <VisuallyHidden>Actions</VisuallyHidden>
          </Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>{query.data.map(renderRow)}</Table.Tbody>
      </Table>
    </div>
  );
}
