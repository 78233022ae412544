// What the server objects to, sorted to the fields of a form.
import { ApiError } from "../../lib/api";

interface FieldError { location: string; message: string }

/** Messages by field; what names none of the fields stands under "". */
export function byField(error: unknown, fields: string[]): Record<string, string> {
  if (!error) return {};
  const found: Record<string, string> = {};
  const list = (error as { errors?: FieldError[] | null }).errors ?? [];
  for (const { location, message } of list) {
    const field = fields.find(f => location === f || location.endsWith(`.${f}`) || location.endsWith(`/${f}`)) ?? "";
    found[field] = found[field] ? `${found[field]} ${message}` : message;
  }
  if (list.length === 0) found[""] = error instanceof ApiError ? [error.title, error.detail].filter(Boolean).join(". ") : String(error);
  return found;
}
