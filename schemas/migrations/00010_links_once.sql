-- +goose Up
-- What these held stands in link_statements, once. A migration of its own: tried again, the copy would find nothing to copy.
DROP TABLE IF EXISTS link_history /*{on_cluster}*/;

DROP TABLE IF EXISTS links /*{on_cluster}*/;

-- +goose Down
SELECT 1;
