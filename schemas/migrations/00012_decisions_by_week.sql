-- +goose Up
-- A violation that stands is decided anew each minute, so decisions are by far the most rows. By weeks they can be dropped
-- when they are old, and a question about a time reads no other weeks. The table takes the place of decisions in the next
-- migrations, each of one statement that may be tried again.
CREATE TABLE IF NOT EXISTS decisions_by_week /*{on_cluster}*/
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
    deviations      Array(Float64)                COMMENT 'For each violation how far past its threshold it is, as a ratio; 0: not known',
    deviation       Float64                       COMMENT 'How far past its threshold the worst one is, as a ratio; 0 where something is violated: not known',
    mode            LowCardinality(String)        COMMENT 'OBSERVE, NOTIFY or ENFORCE',
    owner           String                        COMMENT 'Owner who answers; empty if nobody is known',
    agent           String                        COMMENT 'Agent of the catalog; empty if none',
    granted         Nullable(UInt32)              COMMENT 'Permissions granted now; NULL if unknown',
    proposed        Nullable(UInt32)              COMMENT 'Permissions that observed use would justify; NULL if unknown',
    kafka_partition UInt32                        COMMENT 'Partition of leastwise.decisions',
    kafka_offset    Int64                         COMMENT 'Offset there'
)
ENGINE = /*{replicated}*/ReplacingMergeTree
PARTITION BY toMonday(decided_at)
ORDER BY (credential, decided_at, kafka_partition, kafka_offset)
TTL toDateTime(decided_at) + INTERVAL 90 DAY
SETTINGS index_granularity = 2048, ttl_only_drop_parts = 1
COMMENT 'Decisions of the last 90 days as published, heartbeats included; all that ever were stand in audit_log. Those in force: decisions_in_force, v_findings.';

INSERT INTO decisions_by_week (credential, decided_at, policy_revision, input_revision, policies, metrics, values, thresholds, severities, deviation, mode, owner, agent, granted, proposed,
    kafka_partition, kafka_offset)
SELECT credential, decided_at, policy_revision, input_revision, policies, metrics, values, thresholds, severities, deviation, mode, owner, agent, granted, proposed,
    kafka_partition, kafka_offset
FROM decisions WHERE decided_at > now() - INTERVAL 90 DAY;

-- +goose Down
DROP TABLE IF EXISTS decisions_by_week /*{on_cluster}*/;
