-- +goose Up
CREATE OR REPLACE VIEW v_dead_letters /*{on_cluster}*/ AS
SELECT source, instance, position, reason, detail, length, excerpt, observed_at
FROM dead_letters FINAL
WHERE reason != 'replayed'
COMMENT 'Records that could not be read, without those that were read again since (leastwise deadletter replay).';

-- +goose Down
CREATE OR REPLACE VIEW v_dead_letters /*{on_cluster}*/ AS
SELECT source, instance, position, reason, detail, length, excerpt, observed_at
FROM dead_letters FINAL
COMMENT 'Records that could not be read.';
