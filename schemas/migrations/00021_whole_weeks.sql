-- +goose Up
-- Who looks at one credential opens every part of every week. A week that is over gets no more rows: a day after its last
-- one its parts become one part, once.
ALTER TABLE events /*{on_cluster}*/ MODIFY SETTING min_age_to_force_merge_seconds = 86400, min_age_to_force_merge_on_partition_only = 1;

ALTER TABLE decisions /*{on_cluster}*/ MODIFY SETTING min_age_to_force_merge_seconds = 86400, min_age_to_force_merge_on_partition_only = 1;

-- +goose Down
ALTER TABLE events /*{on_cluster}*/ RESET SETTING min_age_to_force_merge_seconds, min_age_to_force_merge_on_partition_only;
ALTER TABLE decisions /*{on_cluster}*/ RESET SETTING min_age_to_force_merge_seconds, min_age_to_force_merge_on_partition_only;
