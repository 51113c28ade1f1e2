// Paths of applications, as the wire protocol has them.

/** `./` for the root of the repository: a path has at least two characters, the first of which is no slash. */
export function wirePath(text: string): string {
  const parts = text.trim().split("/").filter((part) => part && part !== ".");
  const path = parts.join("/");
  return path.length < 2 ? `./${path}` : path;
}
