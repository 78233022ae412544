// Package chdb runs the ClickHouse engine inside this process (chDB's libchdb,
// loaded at run time) and speaks ClickHouse's HTTP protocol for it, so that an
// ordinary client works against it: in process through Transport, from outside
// through Serve.
//
// # What it promises
//
// An insert that was answered with 200 survives a kill of the process. The
// engine's own error text and code reach the client unchanged. Requests may
// come in parallel: each runs on a session of its own, and at most maxSessions
// run at once, the others wait. A request whose client has gone is killed in
// the engine.
//
// # What it does not
//
// There is one engine and one data directory per process, and one process per
// directory (Open says so otherwise). Sessions are not kept between requests:
// what USE, SET and CREATE TEMPORARY change is gone afterwards. A result is
// held in memory whole. External tables are refused. A SELECT in Native format
// that finds no rows has an empty body, without the columns' names. Inserts are
// not synced to disk before they are acknowledged, so power loss may take the
// last ones.
package chdb
