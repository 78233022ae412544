// Package admit says whether a credential may be issued as somebody wants it, before it exists. It asks the policies that
// judge credentials at run time (rego.Set.Admit), and measures the scope that is asked for as the processor measures what
// is granted (docs/scope.md): the same figures meet the same thresholds.
//
// It keeps nothing, writes nothing and asks nobody over a network; whoever calls it brings policies, catalog, grants and
// exceptions. What a request does not say is unknown, never zero, and has to be justified where a policy asks for it.
package admit
