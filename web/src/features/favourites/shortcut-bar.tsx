// Above a list: the user's favourites and saved filters, and a button that saves the current filter.

import { Button, CloseButton, Group, Popover, Stack, TextInput } from "@mantine/core";
import { type FormEvent, useState } from "react";
import { Link, useLocation, useSearchParams } from "react-router";

import { IconFilter, IconStar } from "../../icons";
import { tooLong } from "../../field-errors";
import { isFiltered, withParam } from "../../filters";
import { useFavourites, useSavedFilters } from "./favourites";
import classes from "./shortcut-bar.module.css";

export function ShortcutBar({ favourites: showsFavourites = false }: { favourites?: boolean }) {
  const { pathname } = useLocation();
  const [params] = useSearchParams();
  const { favourites, toggle } = useFavourites();
  const { filters, save, remove } = useSavedFilters(pathname);
  const current = withParam(params, "after", []).toString();
  const shown = showsFavourites ? favourites : [];
  const canSave = isFiltered(params) && !filters.some(({ search }) => search === current);
  if (shown.length + filters.length === 0 && !canSave) return null;
  return (
    <Group gap="xs" role="group" aria-label="Favourites and saved filters">
      {shown.map(({ id, name }) => (
        <span key={id} className={classes.chip}>
          <IconStar size={14} aria-hidden fill="currentColor" className={classes.star} /> <Link to={`/applications/${id}`}>{name}</Link>
          <CloseButton size="xs" aria-label={`Remove the favourite ${name}`} onClick={() => toggle({ id, name })} />
        </span>
      ))}
      {filters.map(({ name, search }) => (
        <span key={name} className={classes.chip} data-current={search === current || undefined}>
          <IconFilter size={14} aria-hidden /> <Link to={{ search }}>{name}</Link>
          <CloseButton size="xs" aria-label={`Remove the filter ${name}`} onClick={() => remove(name)} />
        </span>
      ))}
      {canSave && (
        <SaveFilter names={filters.map(({ name }) => name)} save={(name) => save({ name, search: current })} />
      )}
    </Group>
  );
}

const MAX_NAME = 60;

function SaveFilter({ names, save }: { names: readonly string[]; save: (name: string) => void }) {
  const [opened, setOpened] = useState(false);
  const [name, setName] = useState("");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!name.trim() || name.length > MAX_NAME) return;
    save(name.trim());
    setName("");
    setOpened(false);
  };
  return (
    <Popover opened={opened} onChange={setOpened} trapFocus position="bottom-start">
      <Popover.Target>
        <Button size="compact-sm" variant="subtle" onClick={() => setOpened(!opened)}>
          Save filter
        </Button>
      </Popover.Target>
      <Popover.Dropdown>
        <form onSubmit={submit}>
          <Stack gap="xs">
            <TextInput
              label="Name"
              description={names.includes(name.trim()) ? "Replaces the filter of this name." : "Stored in this browser."}
              error={tooLong(name, MAX_NAME)}
              value={name}
              onChange={(event) => setName(event.currentTarget.value)}
              data-autofocus
            />
            <Button type="submit" size="compact-sm" disabled={!name.trim() || name.length > MAX_NAME}>
              Save
            </Button>
          </Stack>
        </form>
      </Popover.Dropdown>
    </Popover>
  );
}
