-- +goose Up
-- Whoever looks at one credential reads its rows in every partition: by weeks there are seven times fewer, and of each a
-- quarter as much is read. The table takes the place of events in the next migrations, each of one statement that may be
-- tried again. Copying takes about a minute for ten million events.
CREATE TABLE IF NOT EXISTS events_by_week /*{on_cluster}*/
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
PARTITION BY toMonday(written_at)
ORDER BY (credential, occurred_at, id)
TTL written_at + INTERVAL 400 DAY
SETTINGS index_granularity = 2048, ttl_only_drop_parts = 1, min_bytes_for_wide_part = 104857600, merge_selector_base = 10
COMMENT 'Every normalised event, once. Count distinct id where a rebalance may have written a row twice.';

TRUNCATE TABLE events_by_week /*{on_cluster}*/;

INSERT INTO events_by_week (id, kind, credential, principal, occurred_at, observed_at, source, instance, action, permission, resource, outcome, error, record_id, record_index, position, actor, flag, parent, child, issued_at, expires_at, never_expires, policies, granted_by, labels, remote_address, kafka_partition, kafka_offset, written_at)
SELECT id, kind, credential, principal, occurred_at, observed_at, source, instance, action, permission, resource, outcome, error, record_id, record_index, position, actor, flag, parent, child, issued_at, expires_at, never_expires, policies, granted_by, labels, remote_address, kafka_partition, kafka_offset, written_at
FROM events
SETTINGS max_partitions_per_insert_block = 0;

-- +goose Down
DROP TABLE IF EXISTS events_by_week /*{on_cluster}*/;
