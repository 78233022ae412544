// Keys for lists that are drawn. Two rows of one key would break the page, and what rows are called is not ours to promise.
export function keyed<T extends object>(rows: T[], name: (row: T) => string): (row: T) => string {
  const times = new Map<string, number>();
  const keys = new Map<T, string>();
  for (const row of rows) {
    const key = name(row);
    const before = times.get(key) ?? 0;
    times.set(key, before + 1);
    keys.set(row, before === 0 ? key : `${key} #${before + 1}`);
  }
  return (row) => keys.get(row) ?? name(row);
}
