// Package jsonschema holds the JSON Schemas of the YAML files that people write, for editors and for checks outside of
// Leastwise. The loaders are stricter: they know units, dangling references and policies that can not be meant.
package jsonschema

import _ "embed"

// Policy describes one document of a policy file.
//
//go:embed policy.schema.json
var Policy []byte

// Catalog describes a catalog file.
//
//go:embed catalog.schema.json
var Catalog []byte

// Config describes the configuration file of `leastwise up` and of every component.
//
//go:embed config.schema.json
var Config []byte

// JWTRegistry describes one record of a registry of issued JWTs, in the form of our own.
//
//go:embed jwt-registry.schema.json
var JWTRegistry []byte

// Exceptions describes a file of exceptions that is kept in a repository.
//
//go:embed exceptions.schema.json
var Exceptions []byte
