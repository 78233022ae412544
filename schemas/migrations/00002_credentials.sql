-- +goose Up
CREATE TABLE IF NOT EXISTS credentials /*{on_cluster}*/
(
    credential          String                          COMMENT 'Key system/instance/type/id',
    type                LowCardinality(String)          COMMENT 'token, lease, certificate, ...',
    source              LowCardinality(String)          COMMENT 'System that issued it',
    instance            LowCardinality(String)          COMMENT 'Which one of that kind',
    state               LowCardinality(String)          COMMENT 'active, expired, revoked or unknown, when the row was written; v_credentials computes it for now',
    principal           String                          COMMENT 'Key of the identity that holds it; empty if unknown',
    agent               String                          COMMENT 'Agent of the catalog; empty if none matched',
    owner               String                          COMMENT 'Owner who answers for it; empty if nobody is known',
    owner_evidence      String                          COMMENT 'Where the owner is written, or why there is none',
    system_of_record    String                          COMMENT 'System of record of the identity; empty if unknown',
    issued_at           Nullable(DateTime64(9, 'UTC'))  COMMENT 'NULL: unknown',
    expires_at          Nullable(DateTime64(9, 'UTC'))  COMMENT 'NULL: unknown, or none if never_expires',
    never_expires       Bool                            COMMENT 'The issuer gave no expiry',
    first_seen_at       Nullable(DateTime64(9, 'UTC'))  COMMENT 'First event that named it',
    last_seen_at        Nullable(DateTime64(9, 'UTC'))  COMMENT 'Last event that named it',
    last_used_at        Nullable(DateTime64(9, 'UTC'))  COMMENT 'Last allowed call; NULL if none was seen',
    last_denied_at      Nullable(DateTime64(9, 'UTC'))  COMMENT 'Last refused call; NULL if none was seen',
    revoked_at          Nullable(DateTime64(9, 'UTC'))  COMMENT 'NULL: not revoked as far as known',
    revoked_how         LowCardinality(String)          COMMENT 'revoked, parent revoked or parent expired',
    parent              String                          COMMENT 'Key of the credential it was made with',
    children            UInt64                          COMMENT 'Credentials made with it',
    policies            Array(LowCardinality(String))   COMMENT 'Names of what it is granted through',
    labels              Map(LowCardinality(String), String) COMMENT 'Bounded facts that are no secrets',
    scope_known         Bool                            COMMENT 'False: what it may do is not (wholly) known, and the two figures below are a lower bound',
    scope_permissions   Nullable(UInt64)                COMMENT 'Distinct permissions granted; NULL: unknown',
    scope_weight        Nullable(Float64)               COMMENT 'Sum of the permissions'' weights by access level; NULL: unknown',
    used_permissions    Nullable(UInt64)                COMMENT 'Granted permissions seen in use; NULL: unknown',
    uses                UInt64                          COMMENT 'Allowed calls, ever',
    uses_1h             UInt64                          COMMENT 'Allowed calls in the hour before the row was written',
    uses_24h            UInt64                          COMMENT 'In the day before',
    uses_7d             UInt64                          COMMENT 'In the seven days before',
    uses_30d            UInt64                          COMMENT 'In the thirty days before',
    denied              UInt64                          COMMENT 'Refused calls, ever; never part of uses',
    denied_permissions  UInt64                          COMMENT 'Distinct permissions among the refused calls (estimated past 4096)',
    denied_samples      Array(String)                   COMMENT 'Some of them',
    violated_policies   Array(LowCardinality(String))   COMMENT 'Policies it violates by the last decision',
    blob                String                          COMMENT 'CredentialState (protobuf): what a restart loads',
    kafka_partition     UInt32                          COMMENT 'Partition of leastwise.events that owns it',
    applied_offset      Int64                           COMMENT 'Newest event applied; the row version',
    written_at          DateTime64(9, 'UTC')            COMMENT 'When the row was written: the tie-breaker of equal offsets'
)
ENGINE = /*{replicated}*/ReplacingMergeTree(applied_offset)
ORDER BY credential
COMMENT 'State of every credential: rows of one key replace each other, newest offset wins. Read v_credentials.';

CREATE TABLE IF NOT EXISTS grants /*{on_cluster}*/
(
    id         String               COMMENT 'Key system/instance/policy/name',
    resource   Array(String)        COMMENT 'Resource pattern of each rule',
    capabilities Array(Array(String)) COMMENT 'Capabilities of each rule',
    as_of      DateTime64(9, 'UTC') COMMENT 'When the issuer said so; the row version',
    deleted    Bool                 COMMENT 'The issuer no longer has it',
    incomplete String               COMMENT 'Why the rules are not complete; empty if they are'
)
ENGINE = /*{replicated}*/ReplacingMergeTree(as_of)
ORDER BY id
COMMENT 'What each named policy of an issuer permits. Read v_scope_permissions.';

CREATE TABLE IF NOT EXISTS links /*{on_cluster}*/
(
    id         String                 COMMENT 'Hash of kind, from and to',
    kind       LowCardinality(String) COMMENT 'SAME_AS, ISSUED_TO, DERIVED_FROM, OWNED_BY or RECORDED_IN',
    from_node  String                 COMMENT 'Key of one side',
    to_node    String                 COMMENT 'Key of the other',
    confidence LowCardinality(String) COMMENT 'PROVEN, ASSERTED or INFERRED',
    evidence   String                 COMMENT 'One sentence with the record it rests on',
    at         DateTime64(9, 'UTC')   COMMENT 'When it was said; the row version',
    retracted  Bool                   COMMENT 'No longer held'
)
ENGINE = /*{replicated}*/ReplacingMergeTree(at)
ORDER BY id
COMMENT 'Who belongs to whom, with evidence. Read v_links.';

CREATE TABLE IF NOT EXISTS source_health /*{on_cluster}*/
(
    source         LowCardinality(String)         COMMENT 'Kind of source',
    instance       LowCardinality(String)         COMMENT 'Which one of that kind',
    at             DateTime64(9, 'UTC')           COMMENT 'When the collector said so; the row version',
    last_record_at Nullable(DateTime64(9, 'UTC')) COMMENT 'Time of the last record; NULL if none yet',
    records        UInt64                         COMMENT 'Records read since the collector started',
    events         UInt64                         COMMENT 'Events made of them',
    dead_letters   UInt64                         COMMENT 'Records that could not be read',
    unknown        UInt64                         COMMENT 'Records of a kind not known, kept',
    trouble        String                         COMMENT 'What keeps the source from reading; empty if nothing does'
)
ENGINE = /*{replicated}*/ReplacingMergeTree(at)
ORDER BY (source, instance)
COMMENT 'Last heartbeat of each source.';

-- +goose Down
DROP TABLE IF EXISTS source_health /*{on_cluster}*/;
DROP TABLE IF EXISTS links /*{on_cluster}*/;
DROP TABLE IF EXISTS grants /*{on_cluster}*/;
DROP TABLE IF EXISTS credentials /*{on_cluster}*/;
