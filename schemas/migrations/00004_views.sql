-- +goose Up
CREATE VIEW IF NOT EXISTS v_credentials /*{on_cluster}*/ AS
SELECT
    * EXCEPT (state, blob, kafka_partition, applied_offset, written_at),
    multiIf(revoked_at IS NOT NULL, 'revoked',
            expires_at IS NOT NULL AND expires_at <= now64(9, 'UTC'), 'expired',
            expires_at IS NULL AND NOT never_expires, 'unknown',
            'active') AS state,
    if(issued_at IS NULL, NULL, dateDiff('second', issued_at, now64(9, 'UTC'))) AS age_seconds,
    if(expires_at IS NULL, NULL, dateDiff('second', now64(9, 'UTC'), expires_at)) AS seconds_left,
    written_at AS as_of
FROM credentials FINAL
COMMENT 'One row a credential, as it stands now.';

CREATE VIEW IF NOT EXISTS v_three_axes /*{on_cluster}*/ AS
SELECT
    credential, agent, owner, state,
    seconds_left,
    never_expires,
    scope_permissions,
    scope_weight,
    scope_known,
    if(scope_permissions IS NULL OR scope_permissions = 0, NULL, used_permissions / scope_permissions) AS used_share,
    uses_1h, uses_24h, uses_7d, uses_30d,
    denied_permissions AS elevation_attempts
FROM v_credentials
COMMENT 'Time left, scope granted, utilization, and attempts to elevate. NULL is unknown.';

CREATE VIEW IF NOT EXISTS v_findings /*{on_cluster}*/ AS
SELECT
    credential, decided_at, policy, metric, value, threshold, severity, owner, agent, mode
FROM
(
    SELECT credential, decided_at, policies, metrics, values, thresholds, severities, owner, agent, mode
    FROM decisions
    ORDER BY kafka_partition, kafka_offset DESC
    LIMIT 1 BY credential
)
ARRAY JOIN policies AS policy, metrics AS metric, values AS value, thresholds AS threshold, severities AS severity
COMMENT 'Violations that stand by the newest decision of each credential.';

CREATE VIEW IF NOT EXISTS v_ladder /*{on_cluster}*/ AS
SELECT * EXCEPT (kafka_partition, kafka_offset)
FROM enforcement
ORDER BY step DESC
LIMIT 1 BY credential
COMMENT 'Where each credential stands on the enforcement ladder.';

CREATE VIEW IF NOT EXISTS v_scope_permissions /*{on_cluster}*/ AS
SELECT
    c.credential AS credential,
    policy,
    g.rule_resource AS resource,
    capability
FROM
(
    SELECT credential, source, instance, arrayJoin(policies) AS policy
    FROM credentials FINAL
) AS c
INNER JOIN
(
    SELECT id, rule_resource, arrayJoin(rule_capabilities) AS capability
    FROM (SELECT id, resource, capabilities FROM grants FINAL WHERE NOT deleted)
    ARRAY JOIN resource AS rule_resource, capabilities AS rule_capabilities
) AS g ON g.id = concat(c.source, '/', c.instance, '/policy/', c.policy)
COMMENT 'What each credential may do, rule by rule.';

CREATE VIEW IF NOT EXISTS v_usage_hourly /*{on_cluster}*/ AS
SELECT
    credential,
    toStartOfHour(occurred_at) AS hour,
    permission,
    kind,
    uniqExact(id) AS calls
FROM events
WHERE kind IN ('USED', 'DENIED') AND flag = ''
GROUP BY credential, hour, permission, kind
COMMENT 'Calls by credential, hour and permission; a denied call is never a use.';

CREATE VIEW IF NOT EXISTS v_dead_letters /*{on_cluster}*/ AS
SELECT source, instance, position, reason, detail, length, excerpt, observed_at
FROM dead_letters FINAL
COMMENT 'Records that could not be read.';

CREATE VIEW IF NOT EXISTS v_links /*{on_cluster}*/ AS
SELECT kind, from_node, to_node, confidence, evidence, at
FROM links FINAL
WHERE NOT retracted
COMMENT 'Who belongs to whom, as held now.';

CREATE VIEW IF NOT EXISTS v_sources /*{on_cluster}*/ AS
SELECT *, dateDiff('second', at, now64(9, 'UTC')) AS silent_seconds
FROM source_health FINAL
COMMENT 'Sources with their last heartbeat.';

-- +goose Down
DROP VIEW IF EXISTS v_sources /*{on_cluster}*/;
DROP VIEW IF EXISTS v_links /*{on_cluster}*/;
DROP VIEW IF EXISTS v_dead_letters /*{on_cluster}*/;
DROP VIEW IF EXISTS v_usage_hourly /*{on_cluster}*/;
DROP VIEW IF EXISTS v_scope_permissions /*{on_cluster}*/;
DROP VIEW IF EXISTS v_ladder /*{on_cluster}*/;
DROP VIEW IF EXISTS v_findings /*{on_cluster}*/;
DROP VIEW IF EXISTS v_three_axes /*{on_cluster}*/;
DROP VIEW IF EXISTS v_credentials /*{on_cluster}*/;
