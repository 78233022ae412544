-- +goose Up
RENAME TABLE IF EXISTS decisions_by_week TO decisions /*{on_cluster}*/;

-- +goose Down
RENAME TABLE IF EXISTS decisions TO decisions_by_week /*{on_cluster}*/;
