// Package agentusage reads what agents log of themselves: OpenTelemetry spans and logs (received over OTLP, or from
// files), Amazon Bedrock's model invocation logs, and JSON lines of a site's own by a mapping file.
//
// # Evidence, not use
//
// Each use that an agent reports becomes one event of kind NOTED with the labels reported_use=true, reported_outcome
// (success, failure, denied, unknown) and agent_id, under the key that the credential has at its issuer's source:
// vault/INSTANCE/token/ACCESSOR, cloudtrail/INSTANCE/session/ASIA..., jwtregistry/INSTANCE/jwt/JTI and so on. A
// credential's counts, holder and policies stay those of its issuer's log; what agents report is compared with them
// (processor/usage). A log that names no credential gives events without one, tied by role or agent alone.
//
// Spans that tell neither of an agent nor of a credential nor of a GenAI operation give no event; an export without any
// other is kept as UNKNOWN. A session's name, which its caller chose, is a label and never a tie.
//
// # What is never copied
//
// Attributes and fields are copied by an allow-list that holds no prompt, answer, tool argument, body, header or query.
// Where a log holds a whole token in place of its id, the event names it by its jti or hash, or not at all. Texts that
// look like a secret of a well-known kind are left out.
//
// # The collector
//
// A file is followed by inode, and remembered after its events are published. An export over OTLP is answered with
// success only after its events are published: while Kafka is away, or after a timeout, senders are told to try again,
// and what they send again has the same ids. What a sender drops meanwhile is lost to it, not to us. No export is held
// but those that wait at their senders' connections; memory is bounded by their number and max_export_bytes.
package agentusage
