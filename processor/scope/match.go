package scope

import "strings"

// Matches reports whether a Vault policy path covers a request path: a trailing * is a prefix, a + stands for one
// segment (https://developer.hashicorp.com/vault/docs/concepts/policies#policy-syntax). A template's {{…}} is taken as
// one segment, because its value is not known here.
func Matches(pattern, path string) bool {
	prefix := strings.HasSuffix(pattern, "*")
	if prefix {
		pattern = pattern[:len(pattern)-1]
	}
	if !strings.ContainsAny(pattern, "+{") {
		if prefix {
			return strings.HasPrefix(path, pattern)
		}
		return path == pattern
	}
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	if prefix && len(have) < len(want) || !prefix && len(have) != len(want) {
		return false
	}
	for i, segment := range want {
		last := prefix && i == len(want)-1
		switch {
		case segment == "+" || strings.Contains(segment, "{{"):
		case last:
			if !strings.HasPrefix(have[i], segment) {
				return false
			}
		case segment != have[i]:
			return false
		}
	}
	return true
}

// lessSpecific orders patterns as Vault does when several match one path
// (https://developer.hashicorp.com/vault/docs/concepts/policies#priority-matching): true if a gives way to b.
func lessSpecific(a, b string) bool {
	if x, y := firstWildcard(a), firstWildcard(b); x != y {
		return x < y
	}
	if x, y := strings.HasSuffix(a, "*"), strings.HasSuffix(b, "*"); x != y {
		return x
	}
	if x, y := strings.Count(a, "+"), strings.Count(b, "+"); x != y {
		return x > y
	}
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return a < b
}

func firstWildcard(pattern string) int {
	if i := strings.IndexByte(pattern, '+'); i >= 0 {
		return i
	}
	if strings.HasSuffix(pattern, "*") {
		return len(pattern) - 1
	}
	return len(pattern) + 1
}

// capability that an operation of the audit log needs. "" for operations that need none (help).
// https://developer.hashicorp.com/vault/docs/concepts/policies#capabilities
func capability(operation string) string {
	switch operation {
	case "create", "read", "update", "patch", "delete", "list", "recover", "subscribe":
		return operation
	case "header":
		return "read"
	default:
		return ""
	}
}

// needsSudo lists the root-protected API paths
// (https://developer.hashicorp.com/vault/docs/concepts/policies#root-protected-api-endpoints).
func needsSudo(path string) bool {
	switch path {
	case "auth/token/accessors", "auth/token/accessors/", "auth/token/create-orphan", "auth/token/revoke-orphan",
		"sys/audit", "sys/rotate", "sys/rotate/config", "sys/seal", "sys/step-down", "sys/raw", "sys/config/cors",
		"sys/config/ui/headers", "sys/internal/inspect/router", "sys/storage/raft/snapshot-auto/config":
		return true
	}
	for _, prefix := range []string{"sys/audit/", "sys/auth/", "sys/raw/", "sys/remount", "sys/revoke-prefix/",
		"sys/revoke-force/", "sys/leases/revoke-prefix/", "sys/leases/revoke-force/", "sys/leases/lookup/",
		"sys/config/auditing/", "sys/config/ui/headers/", "sys/internal/inspect/", "sys/plugins/catalog/",
		"sys/replication/", "pki/root", "sys/storage/raft/snapshot-auto/"} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}
