// Package gate decides whether a deployment may happen: it reads manifests, finds the identities that the workload will
// have, and lets it pass only if each of them maps to exactly one owner and one system of record, and all of them to the
// same. `leastwise gate` asks it before a merge, the admission webhook asks the same code before an object is stored.
//
// It promises that what it can not read is never taken for consent: a broken manifest is an error with file and line, and
// where the catalog can not be read the answer is the configured one (Config.Fail) and says so. A refusal names each
// identity, what is missing, the evidence of every side, and the YAML to add. An exception counts only while it is valid.
//
// It refuses to guess: names of workloads, images and labels other than the configured ones are no identities. It can not
// see what manifests do not say: EKS Pod Identity associations, roles of nodes, roles in ConfigMaps; reports say where that
// matters. Judging blocks only in a Directory; nothing is stored.
package gate
