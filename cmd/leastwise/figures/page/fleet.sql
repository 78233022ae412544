-- A fleet and its history, as the pipeline would have written them, made by ClickHouse itself from a seed: the same seed gives
-- the same fleet, at times that count back from now. {names} in braces are filled in by fill.go. Statements end with a line
-- that holds nothing but a semicolon.

-- One credential a number: the lower the number, the longer it lives and the more it is used. Nine in ten live for
-- minutes or hours and have a few dozen events; the first has a hundred thousand.
CREATE OR REPLACE VIEW bench_credentials AS
WITH
    sipHash64({seed}, n, 'who') % 5000 AS who,
    sipHash64({seed}, n, 'kind') % 1000 AS lot,
    sipHash64({seed}, n, 'life') % 100000 / 100000 AS u,
    sipHash64({seed}, n, 'age') % 100000 / 100000 AS v,
    sipHash64({seed}, n, 'scope') % 100000 / 100000 AS w,
    sipHash64({seed}, n, 'tries') % 1000 AS trying,
    n / {credentials} AS rank,
    multiIf(lot < 645, ('vault', 'prod', if(lot < 545, 'token', 'lease')), lot < 725, ('vault', 'staging', 'token'),
            lot < 865, ('cloudtrail', 'main', 'sts_session'), lot < 868, ('cloudtrail', 'main', 'access_key'),
            lot < 870, ('gcpaudit', 'main', 'service_account_key'), lot < 970, ('spire', 'prod', 'x509_svid'),
            ('jwtregistry', 'gateway', 'jwt')) AS kind,
    multiIf(rank < 0.02, 30 + 370 * u, rank < 0.10, 1 + 14 * u, (300 + 86100 * u * u * u) / 86400) AS days,
    -- What ends soon would not be there any more when it is looked at.
    toUInt64(days * 86400) + 1200 AS life_seconds,
    toUInt64(days * 86400 * v) AS age_seconds,
    multiIf(w < 0.85, 1 + w * 14, w < 0.97, 12 + (w - 0.85) * 300, 48 + (w - 0.97) * 6000) AS permissions
SELECT
    n,
    concat(kind.1, '/', kind.2, '/', kind.3, '/', if(kind.1 = 'vault', 'hmac-sha256:', ''), lower(hex(sipHash128({seed}, n)))) AS credential,
    kind.1 AS source, kind.2 AS instance, kind.3 AS type,
    concat('vault/prod/entity/e-', toString(who)) AS principal,
    who,
    concat(['summariser', 'indexer', 'planner', 'triage', 'extractor', 'router', 'reviewer', 'crawler', 'forecaster', 'reconciler'][who % 10 + 1], '-', toString(who % 900)) AS agent,
    if(who % 47 = 0, '', concat('team-', toString(who % 900 % 60))) AS owner,
    now64(9) - toIntervalSecond(age_seconds) AS issued,
    rank < 0.003 AS never,
    now64(9) + toIntervalSecond(life_seconds - age_seconds) AS ends,
    toUInt64(if(never, age_seconds, life_seconds)) AS life,
    age_seconds,
    sipHash64({seed}, n, 'known') % 25 != 0 AS scope_known,
    toUInt64(permissions) AS scope_permissions,
    toUInt64(permissions) * (1 + sipHash64({seed}, n, 'weight') % 4) AS scope_weight,
    toUInt64(ceil(permissions * (0.15 + 0.85 * (sipHash64({seed}, n, 'used') % 100 / 100)))) AS used_permissions,
    toUInt64(multiIf(trying < 8, 5 + trying * 3, trying < 40, 1 + trying % 3, 0)) AS attempts,
    toUInt64({events} * (cbrt((n + 1) / {credentials}) - cbrt(n / {credentials}))) AS uses,
    [concat('task-', toString(who % 200)), 'default'] AS policies,
    map('role', agent, 'tier', if(who % 3 = 0, 'batch', 'online'), 'mount', concat('auth/approle-', toString(who % 7))) AS labels,
    -- By the policies of policies.go.
    arrayConcat(
        if(never OR life > 30 * 86400, ['long-lived'], []),
        if(scope_known AND scope_weight > 150, ['broad'], []),
        if(attempts >= 5, ['probing'], []),
        if(owner = '' AND rank < 0.2, ['nobody-answers'], [])) AS violated
FROM (SELECT number AS n FROM numbers({credentials}))
;
INSERT INTO credentials (credential, type, source, instance, state, principal, agent, owner, owner_evidence, system_of_record, issued_at, expires_at, never_expires,
    first_seen_at, last_seen_at, last_used_at, last_denied_at, parent, children, policies, labels, scope_known, scope_permissions, scope_weight, used_permissions,
    uses, uses_1h, uses_24h, uses_7d, uses_30d, denied, denied_permissions, denied_samples, violated_policies, blob, kafka_partition, applied_offset, written_at,
    issued_but_unused, used_but_unissued, usage_reasons)
SELECT credential, type, source, instance, 'active', principal, agent, owner, if(owner = '', 'No entry of the catalog fits it.', concat('catalog.yaml:', toString(who % 900 * 9 + 4))), if(owner = '', '', 'register'),
    issued, if(never, NULL, ends), never, issued, now64(9), if(uses = 0, NULL, now64(9) - toIntervalSecond(age_seconds % 7200)), if(attempts = 0, NULL, now64(9) - toIntervalSecond(age_seconds % 50000)),
    '', 0, policies, labels, scope_known, if(scope_known, scope_permissions, NULL), if(scope_known, scope_weight, NULL), if(scope_known, least(used_permissions, scope_permissions), NULL),
    uses, intDiv(uses, 300), intDiv(uses, 20), intDiv(uses, 4), uses, attempts * 3, attempts, if(attempts > 0, ['update sys/policies/acl/root', 'read secret/data/finance/keys'], []), violated,
    unhex({blobs}[who % {kinds} + 1]), n % 4, n, now64(9), uses = 0, false, if(uses = 0, map('issued_but_unused', 'log_silent_about_it'), map())
FROM bench_credentials
SETTINGS max_insert_threads = 1
;
-- Calls spread over a credential's life, at most the last thirty days; one in a hundred was refused.
INSERT INTO events (id, kind, credential, principal, occurred_at, observed_at, source, instance, action, permission, resource, outcome, error, record_id, record_index,
    position, actor, flag, policies, granted_by, labels, remote_address, kafka_partition, kafka_offset, written_at)
WITH
    sipHash64({seed}, e, 'when') % 1000000 / 1000000 AS back,
    sipHash64({seed}, e, 'what') AS what,
    what % 97 = 0 AND c.attempts > 0 AS refused,
    now64(9) - toIntervalMillisecond(toUInt64(least(c.age_seconds, 30 * 86400) * 1000 * back)) AS at,
    concat('secret/data/', c.labels['tier'], '/task-', toString(c.who % 200), '/item-', toString(what % 40)) AS path
SELECT toFixedString(reinterpretAsString(sipHash128({seed}, e, 'id')), 16), multiIf(refused, 'DENIED', what % 401 = 0, 'RENEWED', 'USED'), c.credential, c.principal, at, at + toIntervalMillisecond(400),
    c.source, c.instance, ['read', 'update', 'list'][what % 3 + 1], if(refused, concat('update sys/policies/acl/p-', toString(what % 23)), concat(['read', 'update', 'list'][what % 3 + 1], ' ', path)), path,
    if(refused, 'FAILURE', 'SUCCESS'), if(refused, 'permission_denied', ''), concat('r-', toString(e)), 0, concat('audit.log:', toString(e * 1200)), '', '',
    c.policies, c.policies, map('mount', 'secret/'), concat('10.2.', toString(what % 250), '.', toString(c.who % 250)), c.n % 4, e, toDateTime(at)
FROM (SELECT number AS e, toUInt64(floor(pow(sipHash64({seed}, number, 'of') % 10000019 / 10000019, 3) * {credentials})) AS n FROM numbers({events})) AS ev
INNER JOIN bench_credentials AS c ON c.n = ev.n
SETTINGS max_insert_threads = 2, min_insert_block_size_rows = 2000000, join_algorithm = 'hash'
;
INSERT INTO grants (id, resource, capabilities, as_of, deleted, incomplete, body)
SELECT concat('vault/', instance, '/policy/task-', toString(number)),
    arrayMap(i -> concat('secret/data/', if(i % 2 = 0, 'batch', 'online'), '/task-', toString(number), '/item-', if(i > 11, concat(toString(i), '/*'), toString(i))), range(2 + number % 20)),
    arrayMap(i -> if(i % 3 = 0, ['read', 'update', 'list'], ['read']), range(2 + number % 20)), now64(9), false, '', ''
FROM numbers(200) ARRAY JOIN ['prod', 'staging'] AS instance
;
INSERT INTO grants (id, resource, capabilities, as_of, deleted, incomplete, body)
SELECT concat('vault/', instance, '/policy/default'), ['auth/token/lookup-self', 'auth/token/renew-self', 'sys/capabilities-self'], [['read'], ['update'], ['update']], now64(9), false, '', ''
FROM (SELECT arrayJoin(['prod', 'staging']) AS instance)
;
-- Who is behind each entity: an agent of the catalog, an owner, a system of record.
INSERT INTO identities (node, component, agents, owners, systems, status, changed_at)
WITH number AS who, sipHash64({seed}, who, 'status') % 100 AS lot
SELECT node, concat('aws/main/role/agent-', toString(who)) AS component, [concat('catalog/default/agent/', toString(who % 900))],
    multiIf(who % 47 = 0, [], lot = 0, ['catalog/default/owner/team-1', 'catalog/default/owner/team-2'], [concat('catalog/default/owner/team-', toString(who % 900 % 60))]),
    ['catalog/default/system/register'], multiIf(who % 47 = 0, 'unowned', lot = 0, 'conflict', 'owned'), now64(9) - INTERVAL 3 DAY
FROM numbers(5000) ARRAY JOIN [concat('aws/main/role/agent-', toString(number)), concat('vault/prod/entity/e-', toString(number)), concat('spiffe/example.org/id/ns/agents/sa/a-', toString(number))] AS node
;
INSERT INTO link_statements (from_node, to_node, kind, confidence, at, retracted, evidence)
SELECT link.1, link.2, link.3, link.4, now64(9) - INTERVAL 20 DAY, false, concat('record r-', toString(number), ' says so')
FROM numbers(5000) ARRAY JOIN [
    (concat('vault/prod/entity/e-', toString(number)), concat('aws/main/role/agent-', toString(number)), 'SAME_AS', 'PROVEN'),
    (concat('vault/prod/entity/e-', toString(number)), concat('spiffe/example.org/id/ns/agents/sa/a-', toString(number)), 'SAME_AS', 'ASSERTED'),
    (concat('vault/prod/entity/e-', toString(number)), concat('catalog/default/owner/team-', toString(number % 900 % 60)), 'OWNED_BY', 'ASSERTED'),
    (concat('aws/main/role/agent-', toString(number)), 'catalog/default/system/register', 'RECORDED_IN', 'ASSERTED'),
    (concat('vault/prod/entity/e-', toString(number)), concat('agentlog/main/agent/', toString(number % 900)), 'SAME_AS', 'INFERRED')] AS link
;
INSERT INTO link_statements (from_node, to_node, kind, confidence, at, retracted, evidence)
SELECT principal, credential, 'ISSUED_TO', 'PROVEN', issued, false, concat('its login, ', toString(n)) FROM bench_credentials
;
INSERT INTO identity_findings (kind, subject, detail, claims, evidence, standing, changed_at)
SELECT 'two_owners', component, 'Two owners answer for it.', owners, arrayMap(o -> concat(o, ': catalog.yaml'), owners), true, changed_at FROM identities FINAL WHERE status = 'conflict' AND node = component
;
INSERT INTO source_health (source, instance, at, last_record_at, records, events, dead_letters, unknown, trouble)
SELECT s.1, s.2, now64(9), now64(9) - INTERVAL 4 SECOND, 9000000, 5000000, 500, 12, s.3 FROM (SELECT arrayJoin([('vault', 'prod', ''), ('vault', 'staging', ''), ('cloudtrail', 'main', ''),
    ('gcpaudit', 'main', 'the subscription can not be read: permission denied'), ('spire', 'prod', ''), ('jwtregistry', 'gateway', '')]) AS s)
;
INSERT INTO dead_letters (id, source, instance, position, reason, detail, sha256, length, excerpt, observed_at)
SELECT toFixedString(reinterpretAsString(sipHash128({seed}, number, 'dead')), 16), 'vault', 'prod', concat('audit.log:', toString(number * 977)), ['malformed', 'truncated', 'too_long'][number % 3 + 1], 'It ends within a text.',
    toFixedString('', 32), 812, '{"time":"","type":"","auth":{', now64(9) - toIntervalMinute(number * 31) FROM numbers(2000)
;
INSERT INTO findings (source, instance, kind, subject, detail, evidence, about, standing, since, seen, said_at)
SELECT 'jwtregistry', 'gateway', 'unverified_token', concat('kid-', toString(number)), 'Tokens are shown that no key of the issuer signed.', ['12 tokens'], [], true, now64(9) - toIntervalHour(number), 12, now64(9) FROM numbers(20)
;
