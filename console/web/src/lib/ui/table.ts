// What Table and who uses it share.
export interface Column<T> {
  id: string;
  label: string;
  /** The cell in words: shown unless the table's `cell` snippet draws it, and what CSV gets. null is unknown. */
  text: (row: T) => string | number | null;
  /** What to sort by here, on the rows that are loaded. A string: the server's name for it, see onsort. */
  sort?: boolean | string | ((row: T) => string | number | null);
  num?: boolean;
  title?: string;
  /** Drawn by the table's `cell` snippet. */
  rich?: boolean;
  /** Left out below 900 px. */
  wide?: boolean;
}

/** A cell of CSV. A spreadsheet would run what begins like a formula. */
export function csvCell(value: string | number | null): string {
  let text = value === null ? "" : String(value);
  if (typeof value !== "number" && /^[=+\-@\t\r]/.test(text)) text = "'" + text;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function csv<T>(columns: Column<T>[], rows: T[]): string {
  return [columns.map((c) => csvCell(c.label)), ...rows.map((row) => columns.map((c) => csvCell(c.text(row))))].map((cells) => cells.join(",")).join("\r\n") + "\r\n";
}
