-- +goose Up
-- An INSERT of 50,000 events is 24 MB. As one file instead of one for each column it is written and merged for a third less;
-- what many merges have made large is kept by columns as before. Events are merged ten parts at a time instead of five.
ALTER TABLE events /*{on_cluster}*/ MODIFY SETTING min_bytes_for_wide_part = 104857600, merge_selector_base = 10;

ALTER TABLE credentials /*{on_cluster}*/ MODIFY SETTING min_bytes_for_wide_part = 104857600;

ALTER TABLE identities /*{on_cluster}*/ MODIFY SETTING min_bytes_for_wide_part = 104857600;

ALTER TABLE link_statements /*{on_cluster}*/ MODIFY SETTING min_bytes_for_wide_part = 104857600;

-- +goose Down
ALTER TABLE events /*{on_cluster}*/ RESET SETTING min_bytes_for_wide_part, merge_selector_base;
ALTER TABLE credentials /*{on_cluster}*/ RESET SETTING min_bytes_for_wide_part;
ALTER TABLE identities /*{on_cluster}*/ RESET SETTING min_bytes_for_wide_part;
ALTER TABLE link_statements /*{on_cluster}*/ RESET SETTING min_bytes_for_wide_part;
