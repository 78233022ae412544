// Package migrations holds the ClickHouse schema as numbered .sql files, run by goose.
//
// Two markers make one schema serve an embedded engine, a single server and a cluster; the store replaces them before
// goose reads the files: /*{on_cluster}*/ becomes ON CLUSTER '<name>', /*{replicated}*/ before an engine's name
// becomes Replicated.
package migrations

import "embed"

// FS holds the migrations.
//
//go:embed *.sql
var FS embed.FS
