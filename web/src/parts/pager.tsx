// Leafs through a list that the control plane hands out page by page. The place in it is in the
// address; the way back is kept with the browser's history.

import { Button, Group, Text } from "@mantine/core";
import { useLocation, useNavigate, useSearchParams } from "react-router";

interface PagerProps {
  next: string;
  words?: { back: string; on: string };
  note?: string;
}

export function Pager({ next, words = { back: "Previous", on: "Next" }, note }: PagerProps) {
  const [params] = useSearchParams();
  const location = useLocation();
  const navigate = useNavigate();
  const trail = (location.state as { trail?: string[] } | null)?.trail ?? [];
  const here = params.get("after") ?? "";
  const go = (cursor: string, state: { trail: string[] }) => {
    const address = new URLSearchParams(params);
    address.delete("after");
    if (cursor) address.set("after", cursor);
    void navigate({ search: address.toString() }, { state });
  };
  if (!here && !next) return note ? <Text size="sm" className="faint">{note}</Text> : null;
  return (
    <Group justify="space-between" component="nav" aria-label="Pages of this list">
      <Text size="sm" className="faint">
        {note}
      </Text>
      <Group gap="xs">
        <Button
          variant="default"
          size="xs"
          disabled={!here}
          onClick={() => go(trail.at(-1) ?? "", { trail: trail.slice(0, -1) })}
        >
          {words.back}
        </Button>
        <Button variant="default" size="xs" disabled={!next} onClick={() => go(next, { trail: [...trail, here] })}>
          {words.on}
        </Button>
      </Group>
    </Group>
  );
}
