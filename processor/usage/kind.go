package usage

import (
	"strings"
	"time"
)

// Kind is what an issuer's log can be expected to tell of one kind of credential, as its source's documentation says.
type Kind struct {
	// LogsIssuance: each issuance is in its log. LogsUse: so are uses.
	LogsIssuance, LogsUse bool
	// LeavesOut: kinds of uses are not in the log unless the site asks for them. What is not in it may have happened.
	LeavesOut bool
	// Longest is the longest time that a credential of this kind lives; 0 is unknown.
	Longest time.Duration
}

const day = 24 * time.Hour

// KindOf tells by the system and type of a credential's key. Of a kind that is not known nothing is expected.
func KindOf(system, typ string) Kind {
	switch system {
	case "vault":
		// The audit log has every call. 32 days is Vault's max_lease_ttl unless the site sets another; a token of longer
		// life tells its issue time with each of its calls.
		switch typ {
		case "token":
			return Kind{LogsIssuance: true, LogsUse: true, Longest: 32 * day}
		case "lease":
			return Kind{LogsIssuance: true, Longest: 32 * day}
		case "certificate":
			return Kind{LogsIssuance: true}
		}
	case "cloudtrail":
		// Data events are off by default. Keys of instance profiles and of Lambda have no record of their issuance.
		switch typ {
		case "session":
			return Kind{LogsUse: true, LeavesOut: true, Longest: 36 * time.Hour}
		case "access_key":
			return Kind{LogsIssuance: true, LogsUse: true, LeavesOut: true}
		}
	case "gcpaudit":
		// Data Access logs are off by default, and with them most uses. Keys have no end; ids of tokens are in no log.
		if typ == "service_account_key" {
			return Kind{LogsIssuance: true, LogsUse: true, LeavesOut: true}
		}
	case "jwtregistry":
		// A registry tells of what was issued. A month is longer than such tokens are made for.
		if typ == "jwt" {
			return Kind{LogsIssuance: true, Longest: 30 * day}
		}
	case "certlog":
		return Kind{LogsIssuance: true}
	}
	// SPIRE tells serials at log level debug alone, and of no use.
	return Kind{}
}

// OwnLife is whether a call is a token's own life (it looks itself up, renews or revokes itself), which its issuer's
// source notes and does not count as a use.
func OwnLife(credential, permission, resource string) bool {
	if !strings.HasPrefix(credential, "vault/") {
		return false
	}
	for _, call := range [...]string{"auth/token/lookup-self", "auth/token/renew", "auth/token/revoke-self"} {
		if strings.Contains(permission, call) || strings.Contains(resource, call) {
			return true
		}
	}
	return false
}
