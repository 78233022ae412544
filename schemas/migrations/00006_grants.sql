-- +goose Up
ALTER TABLE grants /*{on_cluster}*/ ADD COLUMN IF NOT EXISTS body String DEFAULT '' COMMENT 'The whole Grant message in protobuf: statements, attachments, boundary; what the other columns show is a part of it';

-- +goose Down
ALTER TABLE grants /*{on_cluster}*/ DROP COLUMN IF EXISTS body;
