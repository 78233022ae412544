-- +goose Up
CREATE TABLE IF NOT EXISTS link_statements /*{on_cluster}*/
(
    from_node  String                 COMMENT 'Key of the node that the link leads from; SAME_AS has no direction',
    to_node    String                 COMMENT 'Key of the node that it leads to',
    kind       LowCardinality(String) COMMENT 'SAME_AS, ISSUED_TO, DERIVED_FROM, OWNED_BY or RECORDED_IN',
    confidence LowCardinality(String) COMMENT 'PROVEN, ASSERTED or INFERRED',
    at         DateTime64(9, 'UTC')   COMMENT 'When it was said to hold, or no longer to hold; 1970 for always',
    retracted  Bool                   COMMENT 'True: from then on it does not hold, until it is said again',
    evidence   String                 COMMENT 'One sentence with the record it rests on',
    INDEX by_to_node to_node TYPE bloom_filter GRANULARITY 1
)
ENGINE = /*{replicated}*/ReplacingMergeTree
ORDER BY (from_node, to_node, kind, confidence, at, retracted)
COMMENT 'Everything that was ever said of links between nodes: who was it then. Read v_links or v_link_history.';

INSERT INTO link_statements SELECT node, other, kind, confidence, at, retracted, evidence FROM link_history FINAL WHERE outward;

DROP VIEW IF EXISTS v_link_history /*{on_cluster}*/;

CREATE VIEW IF NOT EXISTS v_link_history /*{on_cluster}*/ AS
SELECT kind, from_node, to_node, confidence, at, retracted, evidence
FROM link_statements FINAL
COMMENT 'What was said of each link, and when.';

DROP VIEW IF EXISTS v_links /*{on_cluster}*/;

CREATE VIEW IF NOT EXISTS v_links /*{on_cluster}*/ AS
SELECT
    kind, from_node, to_node, confidence,
    argMaxIf(s.evidence, s.at, NOT s.retracted) AS evidence,
    maxIf(s.at, NOT s.retracted) AS at
FROM link_statements AS s
GROUP BY kind, from_node, to_node, confidence
HAVING countIf(NOT s.retracted) > 0 AND (countIf(s.retracted) = 0 OR maxIf(s.at, NOT s.retracted) > maxIf(s.at, s.retracted))
COMMENT 'Who belongs to whom, as held now: said, and not retracted since.';

ALTER TABLE identities /*{on_cluster}*/ DROP COLUMN IF EXISTS names;

-- +goose Down
ALTER TABLE identities /*{on_cluster}*/ ADD COLUMN IF NOT EXISTS names UInt64 AFTER component;
DROP VIEW IF EXISTS v_links /*{on_cluster}*/;
DROP VIEW IF EXISTS v_link_history /*{on_cluster}*/;
DROP TABLE IF EXISTS link_statements /*{on_cluster}*/;
