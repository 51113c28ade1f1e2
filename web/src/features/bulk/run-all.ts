/** Runs `run` for every item, at most `limit` at a time. `run` must not throw. */
export async function runAll<Item>(items: readonly Item[], limit: number, run: (item: Item) => Promise<void>): Promise<void> {
  const queue = [...items];
  const work = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await run(item);
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, work));
}
