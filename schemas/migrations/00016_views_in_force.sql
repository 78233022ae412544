-- +goose Up
CREATE OR REPLACE VIEW v_findings /*{on_cluster}*/ AS
SELECT
    credential, decided_at, policy, metric, value, threshold, severity, owner, agent, mode,
    if(far = 0, NULL, far) AS deviation
FROM
(
    SELECT credential, decided_at, policies, metrics, values, thresholds, severities, arrayResize(deviations, length(policies), 0.) AS fars, mode, owner, agent
    FROM decisions_in_force FINAL
    ORDER BY decided_at DESC
    LIMIT 1 BY credential
)
ARRAY JOIN policies AS policy, metrics AS metric, values AS value, thresholds AS threshold, severities AS severity, fars AS far
COMMENT 'Violations that stand by the newest decision of each credential. deviation: how far past the threshold, as a ratio; NULL: not known.';

CREATE OR REPLACE VIEW v_three_axes /*{on_cluster}*/ AS
SELECT
    c.credential AS credential, c.source AS source, c.agent AS agent, c.owner AS owner, c.state AS state,
    c.seconds_left AS seconds_left,
    c.never_expires AS never_expires,
    c.scope_permissions AS scope_permissions,
    c.scope_weight AS scope_weight,
    c.scope_known AS scope_known,
    if(c.scope_permissions IS NULL OR c.scope_permissions = 0, NULL, c.used_permissions / c.scope_permissions) AS used_share,
    c.uses_1h AS uses_1h, c.uses_24h AS uses_24h, c.uses_7d AS uses_7d, c.uses_30d AS uses_30d,
    c.denied_permissions AS elevation_attempts,
    c.violated_policies AS violated_policies,
    if(notEmpty(d.policies) AND d.deviation = 0, NULL, d.deviation) AS deviation
FROM v_credentials AS c
LEFT JOIN
(
    SELECT credential, policies, deviation
    FROM decisions_in_force FINAL
    ORDER BY decided_at DESC
    LIMIT 1 BY credential
) AS d ON d.credential = c.credential
COMMENT 'Time left, scope granted, utilization, and attempts to elevate; and how far each credential stands past its policies, as a ratio (0: within). NULL is unknown.';

CREATE VIEW IF NOT EXISTS v_exceptions /*{on_cluster}*/ AS
SELECT
    id,
    multiIf(revoked_at IS NOT NULL, 'revoked',
            until IS NULL OR until <= now64(9, 'UTC'), 'ended',
            approved_at IS NULL OR lower(trim(approved_by)) IN ('', lower(trim(requested_by))), 'waiting',
            'in force') AS state,
    credential, identity, policy_id AS policy, reason, ticket, until,
    if(until IS NULL, NULL, dateDiff('second', now64(9, 'UTC'), until)) AS seconds_left,
    requested_by, requested_at, approved_by, approved_at, revoked_by, revoked_at
FROM exceptions FINAL
COMMENT 'Exceptions with how they stand now: waiting for approval, in force, ended by themselves, or revoked early.';

-- +goose Down
DROP VIEW IF EXISTS v_exceptions /*{on_cluster}*/;
CREATE OR REPLACE VIEW v_three_axes /*{on_cluster}*/ AS
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
CREATE OR REPLACE VIEW v_findings /*{on_cluster}*/ AS
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
