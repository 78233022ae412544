-- +goose Up
RENAME TABLE IF EXISTS events_by_week TO events /*{on_cluster}*/;

DROP TABLE IF EXISTS events_before /*{on_cluster}*/;

-- +goose Down
SELECT 1;
