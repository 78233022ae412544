// Package grafana holds the dashboards of deploy/grafana, the limits of Grafana's user and the queries of docs/sql.md to what
// they promise, against a running product. There is no Grafana here: what Grafana and its ClickHouse plugin do to a query
// before it is sent (variables, macros) is done by the tests as their sources do it; what they draw is held to the types of
// @grafana/schema.
package grafana
