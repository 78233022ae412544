-- +goose Up
RENAME TABLE IF EXISTS events TO events_before /*{on_cluster}*/;

-- +goose Down
RENAME TABLE IF EXISTS events_before TO events /*{on_cluster}*/;
