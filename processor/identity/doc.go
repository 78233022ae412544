// Package identity knows which names are one identity, and who answers for it.
//
// Nodes are names in their namespace (system/instance/type/id), links are what somebody said of two of them, with
// evidence and a confidence. SAME_AS links that are proven (an issuer or a signature says so) or asserted (the catalog
// says so) make components; inferred ones are shown and never merge. A component is named by the smallest of its nodes.
//
// It promises that the graph is a function of the set of statements it was given: their order, their repetition and
// their division among processes change nothing. A retraction ends a link from its time on; what it held together falls
// apart again. Nothing blocks, nothing is read from a clock, and nothing is lost but the exact time of the middle ones of
// more than sixteen statements on one link.
//
// A Graph is what every processor holds whole. A Linker turns events and the catalog into links, by the rules that stand
// one in a file (rule_*.go), each with the vendor's page it rests on. Names of sessions, user agents and display names are
// never proof.
package identity
