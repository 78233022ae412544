-- +goose Up
ALTER TABLE credentials /*{on_cluster}*/ ADD COLUMN IF NOT EXISTS reported_uses UInt64 DEFAULT 0 COMMENT 'Calls that agents'' own logs tell of, ever: those that went through, or of which they do not say. No part of uses';

ALTER TABLE credentials /*{on_cluster}*/ ADD COLUMN IF NOT EXISTS reported_denied UInt64 DEFAULT 0 COMMENT 'Calls that agents say were refused for want of permission';

ALTER TABLE credentials /*{on_cluster}*/ ADD COLUMN IF NOT EXISTS reported_failed UInt64 DEFAULT 0 COMMENT 'Calls that agents say failed otherwise';

ALTER TABLE credentials /*{on_cluster}*/ ADD COLUMN IF NOT EXISTS reported_first_at Nullable(DateTime64(9, 'UTC')) COMMENT 'First call that an agent tells of; NULL if none does';

ALTER TABLE credentials /*{on_cluster}*/ ADD COLUMN IF NOT EXISTS reported_last_at Nullable(DateTime64(9, 'UTC')) COMMENT 'Last call that an agent tells of; NULL if none does';

ALTER TABLE credentials /*{on_cluster}*/ ADD COLUMN IF NOT EXISTS reported_sampled Bool DEFAULT false COMMENT 'Some agent''s log says of itself that it leaves calls out';

ALTER TABLE credentials /*{on_cluster}*/ ADD COLUMN IF NOT EXISTS issued_but_unused Nullable(Bool) COMMENT 'Issued, and whoever would have told of a use was read throughout and told of none; NULL: unknown, usage_reasons says why';

ALTER TABLE credentials /*{on_cluster}*/ ADD COLUMN IF NOT EXISTS used_but_unissued Nullable(Bool) COMMENT 'Used or named by agents, and its issuer, read for long enough, tells of no issuance; NULL: unknown';

ALTER TABLE credentials /*{on_cluster}*/ ADD COLUMN IF NOT EXISTS usage_contradiction Nullable(Bool) COMMENT 'What agents and issuer tell of its use can not both be true; NULL: unknown, or no agent tells of it';

ALTER TABLE credentials /*{on_cluster}*/ ADD COLUMN IF NOT EXISTS usage_reasons Map(LowCardinality(String), LowCardinality(String)) COMMENT 'Why each of the three is true or unknown, by its name';

CREATE OR REPLACE VIEW v_credentials /*{on_cluster}*/ AS
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

CREATE VIEW IF NOT EXISTS v_usage_findings /*{on_cluster}*/ AS
SELECT
    credential, state, owner, agent, principal,
    finding,
    usage_reasons[finding] AS reason,
    multiIf(finding = 'issued_but_unused', issued_but_unused, finding = 'used_but_unissued', used_but_unissued, usage_contradiction) AS found,
    uses, denied,
    reported_uses, reported_denied, reported_failed, reported_first_at, reported_last_at, reported_sampled,
    issued_at, last_used_at, as_of
FROM v_credentials
ARRAY JOIN mapKeys(usage_reasons) AS finding
ORDER BY found DESC NULLS LAST, indexOf(['used_but_unissued', 'usage_contradiction', 'issued_but_unused'], finding), credential
COMMENT 'What agents say they used against what was issued, worst first. found NULL: not known, and reason says why.';

-- +goose Down
DROP VIEW IF EXISTS v_usage_findings /*{on_cluster}*/;
ALTER TABLE credentials /*{on_cluster}*/ DROP COLUMN IF EXISTS reported_uses;
ALTER TABLE credentials /*{on_cluster}*/ DROP COLUMN IF EXISTS reported_denied;
ALTER TABLE credentials /*{on_cluster}*/ DROP COLUMN IF EXISTS reported_failed;
ALTER TABLE credentials /*{on_cluster}*/ DROP COLUMN IF EXISTS reported_first_at;
ALTER TABLE credentials /*{on_cluster}*/ DROP COLUMN IF EXISTS reported_last_at;
ALTER TABLE credentials /*{on_cluster}*/ DROP COLUMN IF EXISTS reported_sampled;
ALTER TABLE credentials /*{on_cluster}*/ DROP COLUMN IF EXISTS issued_but_unused;
ALTER TABLE credentials /*{on_cluster}*/ DROP COLUMN IF EXISTS used_but_unissued;
ALTER TABLE credentials /*{on_cluster}*/ DROP COLUMN IF EXISTS usage_contradiction;
ALTER TABLE credentials /*{on_cluster}*/ DROP COLUMN IF EXISTS usage_reasons;
CREATE OR REPLACE VIEW v_credentials /*{on_cluster}*/ AS
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
