// Previous and next buttons for a list with cursor pagination. The URL contains the current cursor; the
// browser's history state contains the cursors of the previous pages.

import { Button, Group, Text } from "@mantine/core";
import { useLocation, useNavigate, useSearchParams } from "react-router";

interface PaginationProps {
  /** The cursor of the next page; empty on the last page. */
  nextCursor: string;
  labels?: { previous: string; next: string };
  /** Text beside the buttons, such as the total. */
  note?: string;
  /** The page of the URL is being loaded, and another one is shown meanwhile: the buttons, which are those of it, do nothing. */
  loading?: boolean;
}

interface HistoryState {
  previousCursors: string[];
}

export function Pagination({ nextCursor, labels = { previous: "Previous", next: "Next" }, note, loading = false }: PaginationProps) {
  const [params] = useSearchParams();
  const location = useLocation();
  const navigate = useNavigate();
  const previousCursors = (location.state as Partial<HistoryState> | null)?.previousCursors ?? [];
  const cursor = params.get("after") ?? "";
  const go = (toCursor: string, state: HistoryState) => {
    if (loading) return;
    const nextParams = new URLSearchParams(params);
    nextParams.delete("after");
    if (toCursor) nextParams.set("after", toCursor);
    void navigate({ search: nextParams.toString() }, { state });
  };
  if (!cursor && !nextCursor) return note ? <Text size="sm" className="faint">{note}</Text> : null;
  return (
    <Group justify="space-between" component="nav" aria-label="Pagination">
      <Text size="sm" className="faint">
        {note}
      </Text>
      <Group gap="xs">
        <Button
          variant="default"
          size="xs"
          disabled={!cursor}
          onClick={() => go(previousCursors.at(-1) ?? "", { previousCursors: previousCursors.slice(0, -1) })}
        >
          {labels.previous}
        </Button>
        <Button
          variant="default"
          size="xs"
          disabled={!nextCursor}
          onClick={() => go(nextCursor, { previousCursors: [...previousCursors, cursor] })}
        >
          {labels.next}
        </Button>
      </Group>
    </Group>
  );
}
