-- +goose Up
CREATE TABLE IF NOT EXISTS link_history /*{on_cluster}*/
(
    node       String                 COMMENT 'One of the link''s nodes; each statement has a row under both',
    other      String                 COMMENT 'The other node',
    outward    Bool                   COMMENT 'True: the link leads from node to other; SAME_AS has no direction',
    kind       LowCardinality(String) COMMENT 'SAME_AS, ISSUED_TO, DERIVED_FROM, OWNED_BY or RECORDED_IN',
    confidence LowCardinality(String) COMMENT 'PROVEN, ASSERTED or INFERRED',
    at         DateTime64(9, 'UTC')   COMMENT 'When it was said to hold, or no longer to hold; 1970 for always',
    retracted  Bool                   COMMENT 'True: from then on it does not hold, until it is said again',
    evidence   String                 COMMENT 'One sentence with the record it rests on'
)
ENGINE = /*{replicated}*/ReplacingMergeTree
ORDER BY (node, other, outward, kind, confidence, at, retracted)
COMMENT 'Everything that was ever said of links between nodes: who was it then. Read v_link_history.';

CREATE TABLE IF NOT EXISTS identities /*{on_cluster}*/
(
    node       String                 COMMENT 'A name in its namespace: system/instance/type/id',
    component  String                 COMMENT 'The identity it belongs to: the smallest of its names',
    names      UInt64                 COMMENT 'How many names the identity has',
    agents     Array(String)          COMMENT 'Agents of the catalog that the identity is; more than one: they share a name',
    owners     Array(String)          COMMENT 'Who answers for it; exactly one is as it should be',
    systems    Array(String)          COMMENT 'Its systems of record; exactly one is as it should be',
    status     LowCardinality(String) COMMENT 'owned, unowned or conflict; empty for nodes that are no identity, such as owners',
    changed_at DateTime64(9, 'UTC')   COMMENT 'When this was found; the row version'
)
ENGINE = /*{replicated}*/ReplacingMergeTree(changed_at)
ORDER BY node
COMMENT 'Names of identities as they are now: rows of one node replace each other. Read v_identities.';

CREATE TABLE IF NOT EXISTS identity_findings /*{on_cluster}*/
(
    kind       LowCardinality(String) COMMENT 'two_owners, two_systems_of_record, one_label_two_agents, one_credential_two_identities or one_label_two_identities',
    subject    String                 COMMENT 'The identity, credential or label',
    detail     String                 COMMENT 'The finding in one sentence',
    claims     Array(String)          COMMENT 'What contradicts itself: owners, systems, agents or identities',
    evidence   Array(String)          COMMENT 'The links that lead to each claim, with what they rest on',
    standing   Bool                   COMMENT 'False: it stands no more',
    changed_at DateTime64(9, 'UTC')   COMMENT 'When this was found; the row version'
)
ENGINE = /*{replicated}*/ReplacingMergeTree(changed_at)
ORDER BY (kind, subject)
COMMENT 'Conflicts about identities, with the evidence of both sides. Read v_identity_conflicts.';

CREATE VIEW IF NOT EXISTS v_link_history /*{on_cluster}*/ AS
SELECT kind, node AS from_node, other AS to_node, confidence, at, retracted, evidence
FROM link_history FINAL
WHERE outward
COMMENT 'What was said of each link, and when.';

CREATE VIEW IF NOT EXISTS v_identities /*{on_cluster}*/ AS
SELECT
    i.component AS identity,
    arraySort(groupArray(i.node)) AS names,
    any(i.agents) AS agents,
    any(i.owners) AS owners,
    any(i.systems) AS systems,
    any(i.status) AS status,
    max(i.changed_at) AS as_of
FROM identities AS i FINAL
WHERE i.status != ''
GROUP BY i.component
COMMENT 'One row an identity: all its names, who answers for it, and where it is recorded.';

CREATE VIEW IF NOT EXISTS v_identity_conflicts /*{on_cluster}*/ AS
SELECT kind, subject, detail, claims, evidence, changed_at AS since
FROM identity_findings FINAL
WHERE standing
COMMENT 'What contradicts itself about identities, and the evidence of both sides.';

-- +goose Down
DROP VIEW IF EXISTS v_identity_conflicts /*{on_cluster}*/;
DROP VIEW IF EXISTS v_identities /*{on_cluster}*/;
DROP VIEW IF EXISTS v_link_history /*{on_cluster}*/;
DROP TABLE IF EXISTS identity_findings /*{on_cluster}*/;
DROP TABLE IF EXISTS identities /*{on_cluster}*/;
DROP TABLE IF EXISTS link_history /*{on_cluster}*/;
