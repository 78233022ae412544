package gate

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/schemas"
)

// Kind is a way in which a workload is known to others. The set is closed: metrics use it as a label.
type Kind string

// The kinds of identities that manifests show.
const (
	ServiceAccount    Kind = "service-account"
	SPIFFE            Kind = "spiffe-id"
	AWSRole           Kind = "aws-role"
	GCPServiceAccount Kind = "gcp-service-account"
	VaultRole         Kind = "vault-role"
	Agent             Kind = "agent"
	Other             Kind = "identity" // a whole key in a manifest of our own
)

// called is how reports speak of a kind.
var called = map[Kind]string{ServiceAccount: "service account", SPIFFE: "SPIFFE ID", AWSRole: "AWS role",
	GCPServiceAccount: "Google service account", VaultRole: "Vault role", Agent: "agent", Other: "identity"}

// Identity is one that a workload will have.
type Identity struct {
	Kind Kind `json:"kind"`
	// Key is its node in the identity graph, system/instance/type/id; exceptions name it so, too.
	Key string `json:"key"`
	// Name is how people write it.
	Name string `json:"name"`
	// Field of the manifest that gives it.
	Field string `json:"field"`
	// Where is file:line of the field; empty at admission.
	Where string `json:"where,omitempty"`
	// Invalid says why the value can be nobody's identity; empty if it can.
	Invalid string `json:"invalid,omitempty"`

	// Namespace and Account of a service account, Mount and Role at Vault; empty for other kinds.
	Namespace string `json:"-"`
	Account   string `json:"-"`
	Mount     string `json:"-"`
	Role      string `json:"-"`
}

// maxName bounds what a manifest may give as an identity. The longest legal one is a SPIFFE ID of 2048 bytes
// (https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md, 2.3).
const maxName = 2048

// origin is where in a manifest something stands.
type origin struct{ field, where string }

func (o origin) identity(kind Kind, key schemas.Key, name string) Identity {
	id := Identity{Kind: kind, Key: key.String(), Name: name, Field: o.field, Where: o.where}
	switch {
	case strings.TrimSpace(name) == "":
		id.Invalid = "it is empty"
	case len(name) > maxName:
		id.Invalid = fmt.Sprintf("it has %d bytes; at most %d are possible", len(name), maxName)
	case !utf8.ValidString(name) || strings.IndexFunc(name, unprintable) >= 0:
		id.Invalid = "it has characters that no identity has"
	}
	if id.Invalid != "" {
		id.Key = schemas.Key{System: key.System, Instance: key.Instance, Type: key.Type, ID: "invalid"}.String()
	}
	return id
}

func unprintable(r rune) bool {
	return unicode.IsControl(r) || unicode.IsSpace(r) || r == utf8.RuneError
}

func serviceAccount(cfg *Config, namespace, name string, o origin) Identity {
	id := o.identity(ServiceAccount, schemas.Key{System: "kubernetes", Instance: cfg.cluster(), Type: "serviceaccount",
		ID: catalog.ServiceAccountUser(namespace, name)}, namespace+"/"+name)
	id.Namespace, id.Account = namespace, name
	return id
}

func spiffeID(name string, o origin) Identity {
	domain, _, _ := strings.Cut(strings.TrimPrefix(name, "spiffe://"), "/")
	id := o.identity(SPIFFE, schemas.Key{System: "spiffe", Instance: or(domain, "none"), Type: "id", ID: name}, name)
	if id.Invalid == "" && (!strings.HasPrefix(name, "spiffe://") || domain == "" || !strings.Contains(name[len("spiffe://"):], "/")) {
		id.Invalid = "it is no SPIFFE ID; expected one such as spiffe://example.org/ns/payments/sa/ingest"
	}
	return id
}

func awsRole(arn string, o origin) Identity {
	account := "unknown" // arn:partition:iam::account:role/name
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 && parts[4] != "" {
		account = parts[4]
	}
	id := o.identity(AWSRole, schemas.Key{System: "aws", Instance: account, Type: "role", ID: arn}, arn)
	if id.Invalid == "" && (account == "unknown" || !strings.HasPrefix(arn, "arn:") || !strings.Contains(arn, ":role/")) {
		id.Invalid = "it is no role's ARN; expected one such as arn:aws:iam::111122223333:role/ingest"
	}
	return id
}

func gcpServiceAccount(email string, o origin) Identity {
	id := o.identity(GCPServiceAccount, schemas.Key{System: "gcp", Instance: "global", Type: "serviceaccount", ID: email}, email)
	if id.Invalid == "" && (strings.Count(email, "@") != 1 || !strings.HasSuffix(email, ".gserviceaccount.com")) {
		id.Invalid = "it is no service account's email; expected one such as ingest@project.iam.gserviceaccount.com"
	}
	return id
}

func vaultRole(cfg *Config, mount, role string, o origin) Identity {
	mount = strings.Trim(mount, "/")
	if !strings.HasPrefix(mount, "auth/") {
		mount = "auth/" + mount
	}
	id := o.identity(VaultRole, schemas.Key{System: "vault", Instance: cfg.vaultInstance(), Type: "role", ID: mount + ":" + role},
		role+"@"+mount+"/")
	if id.Invalid == "" && role == "" {
		id.Invalid = "the role is empty"
	}
	id.Mount, id.Role = mount+"/", role
	return id
}

func agentID(name string, o origin) Identity {
	id := o.identity(Agent, schemas.Key{System: "agent", Instance: "default", Type: "agent", ID: name}, name)
	if id.Invalid == "" {
		id.Key = identity.Node(id.Key)
	}
	return id
}

func otherIdentity(key string, o origin) Identity {
	parsed, err := schemas.ParseKey(key)
	id := o.identity(Other, parsed, key)
	if err != nil {
		id.Invalid = "it is no key of the form system/instance/type/id"
	}
	return id
}

// rule is the entry of match by which a catalog knows the identity.
func (id Identity) rule() string {
	q := strconv.Quote
	switch id.Kind {
	case ServiceAccount:
		return fmt.Sprintf("kubernetes_service_account: {namespace: %s, name: %s}", q(id.Namespace), q(id.Account))
	case SPIFFE:
		return "spiffe_id: " + q(id.Name)
	case AWSRole:
		return "aws_role: " + q(id.Name)
	case GCPServiceAccount:
		return "gcp_service_account: " + q(id.Name)
	case VaultRole:
		return fmt.Sprintf("vault_role: {mount: %s, role: %s}", q(id.Mount), q(id.Role))
	case Agent:
		return "agent_id: " + q(id.Name)
	default:
		return "vault_entity: " + q(id.Key) // a whole key is taken as it is
	}
}

// String is the identity in a sentence, bounded whatever the manifest holds.
func (id Identity) String() string { return called[id.Kind] + " " + shorten(id.Name) }

func shorten(text string) string {
	const most = 160
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, text)
	if len(text) <= most {
		return text
	}
	cut := most
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
