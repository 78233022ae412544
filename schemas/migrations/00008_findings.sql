-- +goose Up
CREATE TABLE IF NOT EXISTS findings /*{on_cluster}*/
(
    source     LowCardinality(String) COMMENT 'Who noticed it: the collector''s kind of source',
    instance   LowCardinality(String) COMMENT 'Which one of that kind',
    kind       LowCardinality(String) COMMENT 'ct_bad_signature, ct_rewritten_history, ct_shrunk_tree, ct_wrong_inclusion, ct_gap, ct_unproven, unverified_token or unissued_certificate',
    subject    String                 COMMENT 'What it is about: the log, the issuer and its key, the certificate',
    detail     String                 COMMENT 'What is wrong, and what to do about it',
    evidence   Array(String)          COMMENT 'What it rests on',
    about      Array(String)          COMMENT 'Keys of the credentials and identities that it concerns',
    standing   Bool                   COMMENT 'False: it stands no more',
    since      DateTime64(9, 'UTC')   COMMENT 'When it began to stand',
    seen       UInt64                 COMMENT 'How often it was seen while it stood, where that is counted; else 0',
    said_at    DateTime64(9, 'UTC')   COMMENT 'When this was said; the row version'
)
ENGINE = /*{replicated}*/ReplacingMergeTree(said_at)
ORDER BY (source, instance, kind, subject)
COMMENT 'What sources noticed to be wrong: rows of one finding replace each other. Read v_source_findings.';

CREATE VIEW IF NOT EXISTS v_source_findings /*{on_cluster}*/ AS
SELECT source, instance, kind, subject, detail, evidence, about, seen, since
FROM findings FINAL
WHERE standing
COMMENT 'What sources noticed to be wrong and that stands: somebody must look at it. Conflicts about identities stand in v_identity_conflicts.';

-- +goose Down
DROP VIEW IF EXISTS v_source_findings /*{on_cluster}*/;
DROP TABLE IF EXISTS findings /*{on_cluster}*/;
