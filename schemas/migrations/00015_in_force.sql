-- +goose Up
DROP TABLE IF EXISTS decisions_before /*{on_cluster}*/;

-- What is in force, kept beside the history by the INSERT that writes the history: who asks how things stand reads no past.
CREATE TABLE IF NOT EXISTS decisions_in_force /*{on_cluster}*/
(
    credential      String                        COMMENT 'Key of the credential',
    decided_at      DateTime64(9, 'UTC')          COMMENT 'When it was decided, or last confirmed',
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
    kafka_partition UInt32                        COMMENT 'Partition of leastwise.decisions',
    kafka_offset    Int64                         COMMENT 'Offset there; the row version'
)
ENGINE = /*{replicated}*/ReplacingMergeTree(kafka_offset)
ORDER BY (credential, kafka_partition)
TTL toDateTime(decided_at) + INTERVAL 90 DAY
COMMENT 'The newest decision of each credential: rows of one credential replace each other. Read v_findings.';

CREATE MATERIALIZED VIEW IF NOT EXISTS decisions_to_in_force /*{on_cluster}*/ TO decisions_in_force AS
SELECT credential, decided_at, policies, metrics, values, thresholds, severities, deviations, deviation, mode, owner, agent, kafka_partition, kafka_offset
FROM decisions
COMMENT 'Writes decisions_in_force.';

INSERT INTO decisions_in_force
SELECT credential, decided_at, policies, metrics, values, thresholds, severities, deviations, deviation, mode, owner, agent, kafka_partition, kafka_offset
FROM decisions
ORDER BY kafka_offset DESC
LIMIT 1 BY credential, kafka_partition;

CREATE TABLE IF NOT EXISTS violators_by_day /*{on_cluster}*/
(
    policy      LowCardinality(String)          COMMENT 'Policy',
    day         Date                            COMMENT 'Day on which it was decided that it is violated',
    credentials AggregateFunction(uniq, String) COMMENT 'Which credentials; count with uniqMerge'
)
ENGINE = /*{replicated}*/AggregatingMergeTree
ORDER BY (policy, day)
TTL day + INTERVAL 400 DAY
COMMENT 'How many credentials violated a policy on each day: SELECT policy, day, uniqMerge(credentials) FROM violators_by_day GROUP BY policy, day.';

INSERT INTO violators_by_day SELECT policy, toDate(decided_at) AS day, uniqState(credential) FROM decisions ARRAY JOIN policies AS policy GROUP BY policy, day;

CREATE MATERIALIZED VIEW IF NOT EXISTS decisions_to_violators_by_day /*{on_cluster}*/ TO violators_by_day AS
SELECT policy, toDate(decided_at) AS day, uniqState(credential) AS credentials
FROM decisions ARRAY JOIN policies AS policy
GROUP BY policy, day
COMMENT 'Writes violators_by_day.';

CREATE TABLE IF NOT EXISTS newest_records /*{on_cluster}*/
(
    topic           LowCardinality(String) COMMENT 'leastwise.decisions or .enforcement',
    key             String                 COMMENT 'Key of the record: the credential',
    kafka_partition UInt32                 COMMENT 'Partition the record came through',
    kafka_offset    Int64                  COMMENT 'Its offset there; the row version',
    value           String                 COMMENT 'The record itself (protobuf)',
    at              DateTime64(9, 'UTC')   COMMENT 'Timestamp of the record'
)
ENGINE = /*{replicated}*/ReplacingMergeTree(kafka_offset)
ORDER BY (topic, key, kafka_partition)
TTL toDateTime(at) + INTERVAL 90 DAY DELETE WHERE topic = 'leastwise.decisions'
COMMENT 'The newest record of each credential in audit_log: what the page starts from.';

CREATE MATERIALIZED VIEW IF NOT EXISTS audit_log_to_newest_records /*{on_cluster}*/ TO newest_records AS
SELECT topic, key, kafka_partition, kafka_offset, value, at
FROM audit_log
WHERE topic IN ('leastwise.decisions', 'leastwise.enforcement')
COMMENT 'Writes newest_records.';

INSERT INTO newest_records
SELECT topic, key, kafka_partition, max(kafka_offset), argMax(value, audit_log.kafka_offset), argMax(at, audit_log.kafka_offset)
FROM audit_log
WHERE topic IN ('leastwise.decisions', 'leastwise.enforcement')
GROUP BY topic, key, kafka_partition;

-- The newest entries of the audit log are found without reading it whole.
ALTER TABLE audit_log /*{on_cluster}*/ ADD INDEX IF NOT EXISTS by_time at TYPE minmax GRANULARITY 1;

ALTER TABLE audit_log /*{on_cluster}*/ MATERIALIZE INDEX by_time;

-- +goose Down
ALTER TABLE audit_log /*{on_cluster}*/ DROP INDEX IF EXISTS by_time;
DROP VIEW IF EXISTS audit_log_to_newest_records /*{on_cluster}*/;
DROP TABLE IF EXISTS newest_records /*{on_cluster}*/;
DROP VIEW IF EXISTS decisions_to_violators_by_day /*{on_cluster}*/;
DROP TABLE IF EXISTS violators_by_day /*{on_cluster}*/;
DROP VIEW IF EXISTS decisions_to_in_force /*{on_cluster}*/;
DROP TABLE IF EXISTS decisions_in_force /*{on_cluster}*/;
