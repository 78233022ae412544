-- +goose Up
CREATE TABLE IF NOT EXISTS reach /*{on_cluster}*/
(
    start      UInt64                               COMMENT 'What a leak starts from: credentials that may do the same share one (v_reach_starts)',
    source     LowCardinality(String)               COMMENT 'System that issued them',
    instance   LowCardinality(String)               COMMENT 'Which one of that kind',
    principal  String                               COMMENT 'Key of the identity that holds them; empty if unknown',
    places     Array(String)                        COMMENT 'Where paths lead: key of a principal, sensitive/ID, or SYSTEM/INSTANCE/everything and /secrets',
    kinds      Array(LowCardinality(String))        COMMENT 'For each: sensitive, everything, secrets, or the kind of principal',
    names      Array(String)                        COMMENT 'For each its name for a reader',
    certainty  Array(LowCardinality(String))        COMMENT 'For each: proven, allowed or suggested, by the weakest step',
    stays      Array(Bool)                          COMMENT 'For each: something is made on the way that outlives the credential',
    via        Array(Array(String))                 COMMENT 'For each the places on the way, in order; the last is the place itself',
    steps      Array(Array(String))                 COMMENT 'For each the steps in words, after "it can"',
    steps_certainty Array(Array(LowCardinality(String))) COMMENT 'For each the certainty of each step',
    rules      Array(Array(LowCardinality(String))) COMMENT 'For each the rule of each step; empty: the log shows it, or it is a permission of its own',
    evidence   Array(Array(String))                 COMMENT 'For each what each step rests on beside the scope, when the row was written',
    principals UInt64                               COMMENT 'How many other principals are reached; the first fifty are among the places',
    partly     String                               COMMENT 'Why more may be reached than is told; empty: all of its scope is known',
    hash       UInt64                               COMMENT 'Of what is told, without the evidence: a row is written when it changes',
    since      DateTime64(9, 'UTC')                 COMMENT 'Since when this is the answer',
    written_at DateTime64(9, 'UTC')                 COMMENT 'The row version'
)
ENGINE = /*{replicated}*/ReplacingMergeTree(written_at)
ORDER BY start
TTL toDateTime(written_at) + INTERVAL 90 DAY
COMMENT 'What the holder of a credential could reach, with the shortest of the most certain paths: rows of one start replace each other. Read v_reach.';

CREATE TABLE IF NOT EXISTS reach_runs /*{on_cluster}*/
(
    at         DateTime64(9, 'UTC') COMMENT 'When it was looked at grants, credentials and the catalog',
    starts     UInt64               COMMENT 'Distinct starts of live credentials',
    waiting    UInt64               COMMENT 'Of them those that are not answered by what was known then; 0: all are',
    principals UInt64               COMMENT 'Principals that can be reached at all',
    sensitive  UInt64               COMMENT 'Sensitive things of the catalog'
)
ENGINE = /*{replicated}*/MergeTree
ORDER BY at
TTL toDateTime(at) + INTERVAL 30 DAY
COMMENT 'When the answers of the table reach were brought up to date.';

CREATE VIEW IF NOT EXISTS v_reach_starts /*{on_cluster}*/ AS
SELECT
    credential, source, instance, principal, policies, labels, agent, owner, expires_at, never_expires,
    sipHash64(source, instance, principal, arraySort(policies), labels['session_policy'], labels['admin'], labels['downstream'],
        match(credential, '^[^/]*/[^/]*/[^/]*/ASIA')) AS start
FROM v_credentials
WHERE state IN ('active', 'unknown')
COMMENT 'Live credentials, each with what a leak of it starts from.';

-- The table is read as a stream and the credentials, which are small, are kept: a query needs little memory however many paths there are.
CREATE VIEW IF NOT EXISTS v_reach /*{on_cluster}*/ AS
SELECT
    c.credential AS credential, c.source AS source, c.agent AS agent, c.owner AS owner, c.expires_at AS expires_at, c.never_expires AS never_expires,
    r.place AS place, r.kind AS kind, r.name AS name, r.certainty AS certainty, r.stays AS stays, length(r.steps) AS length,
    r.via AS via, r.steps AS steps, r.steps_certainty AS steps_certainty, r.rules AS rules, r.evidence AS evidence,
    r.partly AS partly, r.since AS since,
    greatest(r.written_at, (SELECT max(at) FROM reach_runs WHERE waiting = 0)) AS as_of
FROM
(
    SELECT start, partly, since, written_at, place, kind, name, certain AS certainty, outlives AS stays, path_via AS via, path_steps AS steps,
        path_certainty AS steps_certainty, path_rules AS rules, path_evidence AS evidence
    FROM (SELECT * FROM reach FINAL)
    ARRAY JOIN places AS place, kinds AS kind, names AS name, certainty AS certain, stays AS outlives, via AS path_via, steps AS path_steps,
        steps_certainty AS path_certainty, rules AS path_rules, evidence AS path_evidence
) AS r
INNER JOIN (SELECT credential, source, agent, owner, expires_at, never_expires, start FROM v_reach_starts) AS c ON c.start = r.start
COMMENT 'What each live credential could reach if it leaked: one row a place, with the shortest of the most certain paths.';

CREATE VIEW IF NOT EXISTS v_exposure /*{on_cluster}*/ AS
SELECT
    c.credential AS credential, c.source AS source, c.agent AS agent, c.owner AS owner, c.expires_at AS expires_at, c.never_expires AS never_expires,
    r.start != 0 AS answered,
    if(r.start = 0, NULL, r.sensitive) AS sensitive,
    if(r.start = 0, NULL, r.issuers) AS issuers,
    if(r.start = 0, NULL, r.secrets) AS secrets,
    if(r.start = 0, NULL, r.principals) AS principals,
    if(r.start = 0, NULL, r.partly) AS partly,
    if(r.start = 0, NULL, greatest(r.written_at, (SELECT max(at) FROM reach_runs WHERE waiting = 0))) AS as_of
FROM (SELECT credential, source, agent, owner, expires_at, never_expires, start FROM v_reach_starts) AS c
LEFT JOIN
(
    SELECT start, countEqual(kinds, 'sensitive') AS sensitive, countEqual(kinds, 'everything') AS issuers, countEqual(kinds, 'secrets') AS secrets,
        principals, partly, written_at
    FROM reach FINAL
) AS r ON r.start = c.start
COMMENT 'How much each live credential could reach if it leaked: sensitive things, issuers taken over, issuers whose secrets show, other principals. NULL: not looked at yet.';

-- +goose Down
DROP VIEW IF EXISTS v_exposure /*{on_cluster}*/;
DROP VIEW IF EXISTS v_reach /*{on_cluster}*/;
DROP VIEW IF EXISTS v_reach_starts /*{on_cluster}*/;
DROP TABLE IF EXISTS reach_runs /*{on_cluster}*/;
DROP TABLE IF EXISTS reach /*{on_cluster}*/;
