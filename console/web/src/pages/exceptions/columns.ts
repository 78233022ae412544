// What the CSV of exceptions holds.
import type { Exception } from "../../lib/types";
import type { Column } from "../../lib/ui/table";

export const columns: Column<Exception>[] = [
  { id: "id", label: "Number", text: (x) => x.id }, { id: "state", label: "State", text: (x) => x.state }, { id: "credential", label: "Credential", text: (x) => x.credential ?? "" },
  { id: "identity", label: "Identity", text: (x) => x.identity ?? "" }, { id: "policy", label: "Policy", text: (x) => x.policy }, { id: "reason", label: "Reason", text: (x) => x.reason },
  { id: "ticket", label: "Ticket", text: (x) => x.ticket }, { id: "until", label: "Until", text: (x) => x.until }, { id: "by", label: "Asked by", text: (x) => x.requested_by },
  { id: "at", label: "Asked", text: (x) => x.requested_at }, { id: "approved", label: "Approved by", text: (x) => x.approved_by ?? "" }, { id: "approvedAt", label: "Approved", text: (x) => x.approved_at ?? "" },
  { id: "ended", label: "Ended by", text: (x) => x.revoked_by ?? "" }, { id: "endedAt", label: "Ended", text: (x) => x.revoked_at ?? "" },
];
