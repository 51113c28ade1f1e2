// Marks an application as a favourite.

import { ActionIcon } from "@mantine/core";

import { IconStar } from "../../icons";
import { type Favourite, useFavourites } from "./favourites";

export function FavouriteButton({ application: { id, name } }: { application: Favourite }) {
  const { isFavourite, toggle } = useFavourites();
  const pressed = isFavourite(id);
  return (
    <ActionIcon
      variant="subtle"
      color={pressed ? "yellow" : "gray"}
      aria-label={`Favourite ${name}`}
      title={pressed ? "Remove from favourites" : "Add to favourites"}
      aria-pressed={pressed}
      onClick={() => toggle({ id, name })}
    >
      <IconStar size={17} aria-hidden fill={pressed ? "currentColor" : "none"} />
    </ActionIcon>
  );
}
