-- +goose Up
CREATE TABLE IF NOT EXISTS audit_log /*{on_cluster}*/
(
    topic           LowCardinality(String) COMMENT 'leastwise.decisions, .enforcement, .exceptions or .control',
    kafka_partition UInt32                 COMMENT 'Partition the record came through',
    kafka_offset    Int64                  COMMENT 'Its offset there',
    key             String                 COMMENT 'Key of the record',
    value           String                 COMMENT 'The record itself (protobuf)',
    at              DateTime64(9, 'UTC')   COMMENT 'Timestamp of the record',
    previous_hash   FixedString(32)        COMMENT 'Hash of the row before in the same topic and partition; zeros for the first',
    hash            FixedString(32)        COMMENT 'SHA-256 over previous_hash, topic, partition, offset, key and value',
    written_at      DateTime('UTC')        COMMENT 'When the row was written'
)
ENGINE = /*{replicated}*/ReplacingMergeTree
ORDER BY (topic, kafka_partition, kafka_offset)
COMMENT 'All that was decided and done, as a hash chain: a row removed or changed shows (leastwise audit verify).';

CREATE TABLE IF NOT EXISTS decisions /*{on_cluster}*/
(
    credential      String                        COMMENT 'Key of the credential',
    decided_at      DateTime64(9, 'UTC')          COMMENT 'When it was decided',
    policy_revision LowCardinality(String)        COMMENT 'Revision of policies and bundle',
    input_revision  String                        COMMENT 'Hash of what went into the decision',
    policies        Array(LowCardinality(String)) COMMENT 'Violated policies; empty: none any more',
    metrics         Array(LowCardinality(String)) COMMENT 'For each violation the metric',
    values          Array(String)                 COMMENT 'For each violation the measured value, as a person reads it',
    thresholds      Array(String)                 COMMENT 'For each violation the threshold',
    severities      Array(LowCardinality(String)) COMMENT 'For each violation the severity',
    deviation       Float64                       COMMENT 'How far past its threshold the worst one is, as a ratio',
    mode            LowCardinality(String)        COMMENT 'OBSERVE, NOTIFY or ENFORCE',
    owner           String                        COMMENT 'Owner who answers; empty if nobody is known',
    agent           String                        COMMENT 'Agent of the catalog; empty if none',
    granted         Nullable(UInt32)              COMMENT 'Permissions granted now; NULL if unknown',
    proposed        Nullable(UInt32)              COMMENT 'Permissions that observed use would justify; NULL if unknown',
    kafka_partition UInt32                        COMMENT 'Partition of leastwise.decisions',
    kafka_offset    Int64                         COMMENT 'Offset there'
)
ENGINE = /*{replicated}*/ReplacingMergeTree
ORDER BY (credential, decided_at, kafka_partition, kafka_offset)
COMMENT 'Decisions as published, heartbeats included.';

CREATE TABLE IF NOT EXISTS enforcement /*{on_cluster}*/
(
    credential      String                         COMMENT 'Key of the credential',
    ladder_id       String                         COMMENT 'One ladder from violation to end',
    step            UInt64                         COMMENT 'Grows with every entry of the credential',
    state           LowCardinality(String)         COMMENT 'State on the ladder',
    at              DateTime64(9, 'UTC')           COMMENT 'When the entry was written',
    revoke_at       Nullable(DateTime64(9, 'UTC')) COMMENT 'When the grace period ends',
    notified_at     Nullable(DateTime64(9, 'UTC')) COMMENT 'When the owner was told',
    told            Array(String)                  COMMENT 'Channels that took the notification',
    waiting         String                         COMMENT 'The guard that holds the ladder back, with its reason',
    attempt         UInt32                         COMMENT 'Which attempt of the act this is',
    attempt_error   String                         COMMENT 'Why the attempt failed',
    proof           String                         COMMENT 'What the issuer proved after the act',
    works_until     Nullable(DateTime64(9, 'UTC')) COMMENT 'Until when the credential still works although revoked',
    seen_in_log_at  Nullable(DateTime64(9, 'UTC')) COMMENT 'When the revocation came back in the issuer''s own log',
    reissued_policy String                         COMMENT 'Name of the policy written from observed use',
    granted_before  UInt32                         COMMENT 'Permissions before re-issue',
    granted_after   UInt32                         COMMENT 'Permissions after',
    exception_id    String                         COMMENT 'Exception that exempts the credential',
    reason          String                         COMMENT 'Why the ladder is where it is',
    kafka_partition UInt32                         COMMENT 'Partition of leastwise.enforcement',
    kafka_offset    Int64                          COMMENT 'Offset there'
)
ENGINE = /*{replicated}*/ReplacingMergeTree
ORDER BY (credential, step, kafka_partition, kafka_offset)
COMMENT 'The enforcement journal, entry by entry. v_ladder shows the newest of each credential.';

CREATE TABLE IF NOT EXISTS exceptions /*{on_cluster}*/
(
    id           String                         COMMENT 'Id of the exception',
    credential   String                         COMMENT 'Credential it is for; empty if for an identity',
    identity     String                         COMMENT 'Identity it is for; empty if for a credential',
    policy_id    LowCardinality(String)         COMMENT 'Policy it exempts from; * for all',
    reason       String                         COMMENT 'Why',
    ticket       String                         COMMENT 'Ticket',
    until        Nullable(DateTime64(9, 'UTC')) COMMENT 'When it ends by itself',
    requested_by String                         COMMENT 'Who asked',
    requested_at Nullable(DateTime64(9, 'UTC')) COMMENT 'When',
    approved_by  String                         COMMENT 'Who approved: somebody else; empty if nobody yet',
    approved_at  Nullable(DateTime64(9, 'UTC')) COMMENT 'When',
    revoked_by   String                         COMMENT 'Who ended it early; empty if nobody did',
    revoked_at   Nullable(DateTime64(9, 'UTC')) COMMENT 'When',
    kafka_offset Int64                          COMMENT 'Offset in leastwise.exceptions; the row version'
)
ENGINE = /*{replicated}*/ReplacingMergeTree(kafka_offset)
ORDER BY id
COMMENT 'Exceptions as they stand; their history is in audit_log.';

-- +goose Down
DROP TABLE IF EXISTS exceptions /*{on_cluster}*/;
DROP TABLE IF EXISTS enforcement /*{on_cluster}*/;
DROP TABLE IF EXISTS decisions /*{on_cluster}*/;
DROP TABLE IF EXISTS audit_log /*{on_cluster}*/;
