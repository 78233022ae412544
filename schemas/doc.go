// Package schemas is the contract that all rooms of Leastwise share: the protobuf messages (leastwisev1), the ids of
// events and keys of credentials, the topic table, the ClickHouse migrations and the JSON Schemas of the YAML files.
//
// It imports none of the other rooms, blocks nowhere and loses nothing: it is data and pure functions.
package schemas
