// Favourite applications and saved filters of a user, stored in this browser for each project.

import { useLocalStorage } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";

import { meQuery } from "../../queries";

export interface Favourite {
  id: string;
  name: string;
}

export interface SavedFilter {
  name: string;
  /** The query of the list's URL, without a page. */
  search: string;
}

const MAX_ITEMS = 50;

/** A list in this browser's storage. Entries that another version or a person stored wrongly are left out. */
function useStoredList<Item extends object>(name: string, fields: readonly (keyof Item & string)[]) {
  const me = useQuery(meQuery).data;
  return useLocalStorage<Item[]>({
    key: `pipecd:${me?.projectId ?? ""}:${name}`,
    defaultValue: [],
    getInitialValueInEffect: false,
    deserialize: (text) => parseList(text ?? "[]", fields),
  });
}

export function parseList<Item extends object>(text: string, fields: readonly (keyof Item & string)[]): Item[] {
  try {
    const items: unknown = JSON.parse(text);
    const isItem = (item: unknown): item is Item =>
      typeof item === "object" &&
      item !== null &&
      fields.every((field) => typeof (item as Record<string, unknown>)[field] === "string");
    return Array.isArray(items) ? items.filter(isItem).slice(0, MAX_ITEMS) : [];
  } catch {
    return [];
  }
}

export function useFavourites() {
  const [favourites, setFavourites] = useStoredList<Favourite>("favourites", ["id", "name"]);
  const isFavourite = (id: string) => favourites.some((favourite) => favourite.id === id);
  const toggle = ({ id, name }: Favourite) =>
    setFavourites((current) =>
      current.some((favourite) => favourite.id === id)
        ? current.filter((favourite) => favourite.id !== id)
        : [...current, { id, name }].slice(-MAX_ITEMS),
    );
  return { favourites, isFavourite, toggle };
}

export function useSavedFilters(list: string) {
  const [filters, setFilters] = useStoredList<SavedFilter>(`filters${list}`, ["name", "search"]);
  const save = (filter: SavedFilter) =>
    setFilters((current) => [...current.filter(({ name }) => name !== filter.name), filter].slice(-MAX_ITEMS));
  const remove = (name: string) => setFilters((current) => current.filter((filter) => filter.name !== name));
  return { filters, save, remove };
}
