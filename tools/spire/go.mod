// The real SPIRE server and agent, built from source for the demo and the end-to-end tests.
// This module stands outside go.work: nothing of the product imports it.
module github.com/leastwise/leastwise/tools/spire

go 1.26

require github.com/spiffe/spire v1.13.3

// SPIRE replaces this module in its own go.mod, by a fork that was renamed since; the release it was forked from builds.
replace github.com/GoogleCloudPlatform/cloudsql-proxy => github.com/GoogleCloudPlatform/cloudsql-proxy v1.37.8
