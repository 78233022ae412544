-- +goose Up
CREATE TABLE IF NOT EXISTS events /*{on_cluster}*/
(
    id              FixedString(16)               COMMENT 'Deterministic id of the event: SHA-256 of system, instance, record id and index, cut to 16 bytes',
    kind            LowCardinality(String)        COMMENT 'UNKNOWN, ISSUED, RENEWED, ROTATED, USED, DENIED, REVOKED, EXPIRED, OBSERVED, LINKED or NOTED',
    credential      String                        COMMENT 'Key system/instance/type/id of the credential; empty if the record names none',
    principal       String                        COMMENT 'Key of the identity that held the credential; empty if the record names none',
    occurred_at     DateTime64(9, 'UTC')          COMMENT 'When it happened, by the source''s clock',
    observed_at     DateTime64(9, 'UTC')          COMMENT 'When the collector read it',
    source          LowCardinality(String)        COMMENT 'The collector''s kind of source, such as vault',
    instance        LowCardinality(String)        COMMENT 'Which one of that kind',
    action          LowCardinality(String)        COMMENT 'The source''s own verb',
    permission      String                        COMMENT 'What the call needed, such as "update secret/data/a"',
    resource        String                        COMMENT 'What the call was about',
    outcome         LowCardinality(String)        COMMENT 'SUCCESS, FAILURE or empty for unknown: what the backend answered, apart from permission',
    error           LowCardinality(String)        COMMENT 'Bounded category of the error; empty if there was none',
    record_id       String                        COMMENT 'The source''s own id of the record',
    record_index    UInt32                        COMMENT 'Which of the record''s events this is',
    position        String                        COMMENT 'Where the record stood',
    actor           String                        COMMENT 'Key of the credential that did this to `credential`; empty if itself or unknown',
    flag            LowCardinality(String)        COMMENT 'FUTURE or STALE: kept, but in no window; empty otherwise',
    parent          String                        COMMENT 'Key of the credential this one was made with',
    child           String                        COMMENT 'LINKED: key of the child',
    issued_at       Nullable(DateTime64(9, 'UTC')) COMMENT 'Issue time as this record tells it; NULL if it does not',
    expires_at      Nullable(DateTime64(9, 'UTC')) COMMENT 'Expiry as this record tells it; NULL if it does not or if there is none',
    never_expires   Bool                          COMMENT 'The record says that the credential has no expiry',
    policies        Array(LowCardinality(String)) COMMENT 'Names of what the credential is granted through',
    granted_by      Array(LowCardinality(String)) COMMENT 'The policies that allowed this call',
    labels          Map(LowCardinality(String), String) COMMENT 'Bounded facts that are no secrets: role, mount, metadata',
    remote_address  String                        COMMENT 'Where the call came from',
    kafka_partition UInt32                        COMMENT 'Partition of leastwise.events the event came through',
    kafka_offset    Int64                         COMMENT 'Its offset there; a restart writes only what lies past the newest',
    written_at      DateTime('UTC')               COMMENT 'When the row was written; one value for each INSERT, so that it touches one table partition and is atomic'
)
ENGINE = /*{replicated}*/MergeTree
PARTITION BY toDate(written_at)
ORDER BY (credential, occurred_at, id)
TTL written_at + INTERVAL 400 DAY
COMMENT 'Every normalised event, once. Count distinct id where a rebalance may have written a row twice.';

CREATE TABLE IF NOT EXISTS dead_letters /*{on_cluster}*/
(
    id          FixedString(16)        COMMENT 'Deterministic id of the record at its position',
    source      LowCardinality(String) COMMENT 'Kind of source',
    instance    LowCardinality(String) COMMENT 'Which one of that kind',
    position    String                 COMMENT 'Where the record stood',
    reason      LowCardinality(String) COMMENT 'Bounded category: malformed, truncated, too_long, too_deep, encoding, rejected',
    detail      String                 COMMENT 'One sentence why',
    sha256      FixedString(32)        COMMENT 'SHA-256 of the record',
    length      UInt64                 COMMENT 'Length of the record in bytes',
    excerpt     String                 COMMENT 'The record''s outline with every value blanked',
    observed_at DateTime64(9, 'UTC')   COMMENT 'When the collector read it'
)
ENGINE = /*{replicated}*/ReplacingMergeTree
ORDER BY (source, instance, id)
COMMENT 'Records that could not be read, with the reason. Read with FINAL or through v_dead_letters.';

-- +goose Down
DROP TABLE IF EXISTS dead_letters /*{on_cluster}*/;
DROP TABLE IF EXISTS events /*{on_cluster}*/;
