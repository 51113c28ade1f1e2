// Who is signed in: the user's own sessions, and for project administrators those of all users.

import { Badge, Button, Group, SegmentedControl, Skeleton, Stack, Table, Text, VisuallyHidden } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useSearchParams } from "react-router";

import { consoleClient } from "../api";
import { useChange } from "../changes";
import { ConfirmDialog, useDialog } from "../components/confirm-dialog";
import { ErrorAlert } from "../components/error-alert";
import { PageHeader } from "../components/page-header";
import tableClasses from "../components/table.module.css";
import { RelativeTime } from "../components/time";
import { withParam } from "../filters";
import { key } from "../queries";
import { ConsoleService } from "../schema/pipecd/v1/console_pb";
import type { UserSession } from "../schema/pipecd/v1/sessions_pb";
import { useMay } from "../use-may";

const SOURCES: Record<string, string> = { PASSWORD: "Password", GITHUB: "GitHub", OIDC: "Single sign-on" };

export function SessionsPage() {
  const [params, setParams] = useSearchParams();
  const mayListAll = useMay()(ConsoleService.method.listSessions);
  const all = params.get("users") === "all" && mayListAll;
  const dialog = useDialog<"others">();
  const end = useEndSessions(all);
  const sessions = useQuery({
    queryKey: [...key.sessions, all],
    queryFn: ({ signal }) => (all ? consoleClient.listSessions({}, { signal }) : consoleClient.listOwnSessions({}, { signal })),
    refetchInterval: 30_000,
  });
  const others = sessions.data?.sessions.filter(({ current }) => !current).length ?? 0;
  return (
    <Stack gap="lg">
      <PageHeader
        title="Sessions"
        description={
          all
            ? "Every browser in which a user is signed in to this project."
            : "The browsers in which you are signed in. End what you do not recognize, and change your password."
        }
        actions={
          others > 0 && (
            <Button variant="default" color="red" onClick={() => dialog.open("others")}>
              {all ? "End all other sessions" : "Sign out everywhere else"}
            </Button>
          )
        }
      />
      {mayListAll && (
        <Group>
          <SegmentedControl
            aria-label="Whose sessions"
            data={[
              { value: "own", label: "Yours" },
              { value: "all", label: "All users" },
            ]}
            value={all ? "all" : "own"}
            onChange={(value) => setParams(withParam(params, "users", value === "all" ? ["all"] : []), { replace: true })}
          />
        </Group>
      )}
      {sessions.isPending && <Skeleton height={180} role="status" aria-label="Loading the sessions" />}
      {sessions.isError && !sessions.data && (
        <ErrorAlert title="The sessions could not be loaded" error={sessions.error} retry={() => sessions.refetch()} />
      )}
      {sessions.data && <SessionTable sessions={sessions.data.sessions} all={all} />}
      <ConfirmDialog
        title={all ? "End all other sessions?" : "Sign out everywhere else?"}
        verb={all ? "End sessions" : "Sign out"}
        dangerous
        run={() => end.mutateAsync({ allOthers: true })}
        opened={dialog.isOpen("others")}
        close={dialog.close}
      >
        {all
          ? "Every user but you has to sign in again, in each browser."
          : "You stay signed in here, and have to sign in again in every other browser."}
      </ConfirmDialog>
    </Stack>
  );
}

/** Ends sessions of all users, or of the user's own. */
function useEndSessions(all: boolean) {
  return useChange(
    async (request: { ids?: string[]; allOthers?: boolean }): Promise<unknown> =>
      all ? consoleClient.endSessions(request) : consoleClient.endOwnSessions(request),
    [key.sessions],
  );
}

function SessionTable({ sessions, all }: { sessions: UserSession[]; all: boolean }) {
  return (
    <div className="panel" style={{ overflowX: "auto" }}>
      <Table className={`${tableClasses.table} ${tableClasses.cards}`} verticalSpacing="sm" aria-label="Sessions">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>{all ? "User" : "Browser"}</Table.Th>
            {all && <Table.Th>Browser</Table.Th>}
            <Table.Th>Address</Table.Th>
            <Table.Th>Signed in</Table.Th>
            <Table.Th>Last used</Table.Th>
            <Table.Th>Ends</Table.Th>
            <Table.Th>
              <VisuallyHidden>Actions</VisuallyHidden>
            </Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {sessions.map((session) => (
            <Row key={session.id} session={session} all={all} />
          ))}
        </Table.Tbody>
      </Table>
    </div>
  );
}

function Row({ session, all }: { session: UserSession; all: boolean }) {
  const dialog = useDialog<"end">();
  const end = useEndSessions(all);
  const browser = session.browser || "Unknown browser";
  return (
    <Table.Tr>
      <Table.Td>
        <Group gap="xs">
          <Text inherit fw={600} style={{ overflowWrap: "anywhere" }} title={all ? undefined : session.userAgent}>
            {all ? session.username : browser}
          </Text>
          {session.current && (
            <Badge variant="light" color="gray">
              This session
            </Badge>
          )}
        </Group>
        <Text size="xs" className="faint" style={{ overflowWrap: "anywhere" }}>
          {[SOURCES[session.source] ?? session.source, session.roles.join(", ")].filter(Boolean).join(" · ")}
        </Text>
      </Table.Td>
      {all && (
        <Table.Td data-label="Browser" title={session.userAgent}>
          {browser}
        </Table.Td>
      )}
      <Table.Td data-label="Address">
        {session.lastAddress || session.address || "–"}
        {session.address && session.lastAddress && session.address !== session.lastAddress && (
          <Text size="xs" className="faint">
            signed in from {session.address}
          </Text>
        )}
      </Table.Td>
      <Table.Td className={tableClasses.time} data-label="Signed in">
        <RelativeTime at={session.startedAt} />
      </Table.Td>
      <Table.Td className={tableClasses.time} data-label="Last used">
        <RelativeTime at={session.lastSeenAt} />
      </Table.Td>
      <Table.Td className={tableClasses.time} data-label="Ends">
        <RelativeTime at={session.expiresAt} />
      </Table.Td>
      <Table.Td>
        {!session.current && (
          <Group justify="flex-end">
            <Button
              size="compact-sm"
              variant="subtle"
              color="red"
              aria-label={`End session of ${session.username}, ${browser}`}
              onClick={() => dialog.open("end")}
            >
              End session
            </Button>
          </Group>
        )}
        <ConfirmDialog
          title="End this session?"
          verb="End session"
          dangerous
          run={() => end.mutateAsync({ ids: [session.id] })}
          opened={dialog.isOpen("end")}
          close={dialog.close}
        >
          {session.username} has to sign in again in {session.browser || "this browser"}. Its open pages say so at once.
        </ConfirmDialog>
      </Table.Td>
    </Table.Tr>
  );
}
