package agentusage

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/schemas"
)

// Target is where a kind of credential is issued: the first three parts of its issuer's keys.
type Target struct {
	System   string `yaml:"system"`
	Instance string `yaml:"instance"`
	Type     string `yaml:"type"`
}

// Kinds of credentials that a log may name, with the keys that their issuers' sources give them.
var defaultTargets = map[string]Target{
	"vault_accessor":     {"vault", "default", "token"},
	"vault_lease":        {"vault", "default", "lease"},
	"vault_certificate":  {"vault", "default", "certificate"},
	"aws_session":        {"cloudtrail", "default", "session"},
	"aws_access_key":     {"cloudtrail", "default", "access_key"},
	"gcp_key":            {"gcpaudit", "default", "service_account_key"},
	"svid_serial":        {"spire", "default", "x509_svid"},
	"certificate_serial": {"certlog", "default", "certificate"},
	"jti":                {"jwtregistry", "default", "jwt"},
	"token_hash":         {"jwtregistry", "default", "jwt"},
}

// keyKind is the kind of an id that is a whole key already: system/instance/type/id.
const keyKind = "key"

// keys makes keys of what logs name.
type keys map[string]Target

// newKeys are the default targets with those of a configuration in their place; what a target leaves empty stays.
func newKeys(over map[string]Target) keys {
	k := make(keys, len(defaultTargets)+len(over))
	for kind, target := range defaultTargets {
		k[kind] = target
	}
	for kind, target := range over {
		base := k[kind]
		k[kind] = Target{System: cmp.Or(target.System, base.System), Instance: cmp.Or(target.Instance, base.Instance, "default"),
			Type: cmp.Or(target.Type, base.Type)}
	}
	return k
}

// validTargets refuses targets that can make no key.
func validTargets(over map[string]Target) error {
	for _, kind := range slices.Sorted(maps.Keys(over)) {
		target := newKeys(over)[kind]
		if target.System == "" || target.Type == "" {
			return fmt.Errorf("credentials: %s: set system and type, as they stand in its source's keys", kind)
		}
		for _, part := range []string{target.System, target.Instance, target.Type} {
			if strings.Contains(part, "/") {
				return fmt.Errorf("credentials: %s: %q holds a slash", kind, part)
			}
		}
	}
	return nil
}

// key of a credential: the one that its issuer's source gives it. Empty with the reason why if it can not be made, and
// empty without one if the log names none.
func (k keys) key(kind, id []byte) (key, why string) {
	if len(id) == 0 {
		return "", ""
	}
	id = bytes.TrimSpace(id)
	name := string(kind)
	if jsonrecord.Secret(id) { // somebody logged the credential itself
		if bytes.Count(id, []byte{'.'}) != 2 || !bytes.HasPrefix(id, []byte("eyJ")) {
			return "", "secret"
		}
		if jti := jtiOf(id); len(jti) > 0 {
			return k.join("jti", jsonrecord.ID(jti)), ""
		}
		return k.join("token_hash", jsonrecord.HashOf(id)), ""
	}
	if name == "" {
		name = guess(id)
	}
	switch name {
	case keyKind:
		parsed, err := schemas.ParseKey(string(id))
		if err != nil || len(id) > 512 {
			return "", "not_a_key"
		}
		return jsonrecord.Text([]byte(parsed.String()), 512), ""
	case "aws_access_key", "aws_session":
		// The prefix tells which it is, whatever the log calls it.
		name = "aws_access_key"
		if bytes.HasPrefix(id, []byte("ASIA")) {
			name = "aws_session"
		}
		return k.join(name, jsonrecord.ID(id)), ""
	case "token_hash":
		hexed := strings.ToLower(strings.TrimPrefix(string(id), "sha256:"))
		if raw, err := hex.DecodeString(hexed); err != nil || len(raw) != 32 {
			return "", "not_a_hash"
		}
		return k.join(name, "sha256:"+hexed), ""
	}
	if _, ok := k[name]; !ok {
		return "", "unknown_kind"
	}
	return k.join(name, jsonrecord.ID(id)), ""
}

func (k keys) join(kind, id string) string {
	target := k[kind]
	return schemas.Key{System: target.System, Instance: target.Instance, Type: target.Type, ID: id}.String()
}

// guess tells a kind by the form of an id, where the log names none.
func guess(id []byte) string {
	switch {
	case len(id) == 20 && (bytes.HasPrefix(id, []byte("ASIA")) || bytes.HasPrefix(id, []byte("AKIA"))):
		return "aws_access_key"
	case bytes.HasPrefix(id, []byte("sha256:")):
		return "token_hash"
	case bytes.Count(id, []byte{'/'}) >= 3:
		return keyKind
	}
	return ""
}

// jtiOf is the jti that a whole JWT claims: by it its registry names it. The signature is not looked at, since this is
// what an agent says.
func jtiOf(token []byte) []byte {
	payload, err := base64.RawURLEncoding.AppendDecode(nil, bytes.Split(token, []byte{'.'})[1])
	if err != nil {
		return nil
	}
	parser := parsers.Get()
	defer parsers.Put(parser)
	claims, err := parser.ParseBytes(payload)
	if err != nil {
		return nil
	}
	return bytes.Clone(claims.GetStringBytes("jti"))
}
