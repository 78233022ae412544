-- +goose Up
RENAME TABLE IF EXISTS decisions TO decisions_before /*{on_cluster}*/;

-- +goose Down
RENAME TABLE IF EXISTS decisions_before TO decisions /*{on_cluster}*/;
