// Package store is Leastwise's only door to ClickHouse: a configured
// clickhouse-go connection pool and the migrations.
//
// Open does not connect, so a server that is away fails the first call and
// Ping, not the start. Calls do not retry: an INSERT whose answer was lost may
// have been stored, and only the caller knows whether sending it again is
// harmless. A batch that was sent without an error is stored.
//
// The embedded engine (package chdb) is reached through the same client: the
// all-in-one command sets Config.Transport.
package store
