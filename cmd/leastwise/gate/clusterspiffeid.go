package gate

import (
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/leastwise/leastwise/cmd/leastwise/admit"
	"github.com/leastwise/leastwise/cmd/leastwise/spirepolicy"
	"github.com/leastwise/leastwise/schemas"
)

// SPIRE's own defaults, which hold where a registration names no TTL and the server's configuration is silent
// (https://github.com/spiffe/spire/blob/v1.13.3/doc/spire_server.md: default_x509_svid_ttl, default_jwt_svid_ttl).
const (
	defaultX509 = time.Hour
	defaultJWT  = 5 * time.Minute
)

// clusterSPIFFEID takes a registration of the SPIRE controller manager
// (https://github.com/spiffe/spire-controller-manager/blob/main/docs/clusterspiffeid-crd.md).
func (r *reader) clusterSPIFFEID(file string, n *yaml.Node) error {
	spec := value(n, "spec")
	if spec == nil || spec.Kind != yaml.MappingNode {
		return missing(n, "spec")
	}
	template := value(spec, "spiffeIDTemplate")
	if template == nil || template.Kind != yaml.ScalarNode || template.Value == "" {
		return missing(spec, "spec.spiffeIDTemplate")
	}
	i := &Issuance{Kind: "ClusterSPIFFEID", Where: file + ":" + strconv.Itoa(n.Line), beside: map[string]string{}}
	if name := child(n, "metadata", "name"); name != nil {
		i.Name = name.Value
	}
	decides := lives
	if !strings.Contains(template.Value, "{{") {
		if !strings.HasPrefix(template.Value, "spiffe://") {
			return &ManifestError{Line: template.Line, Text: "spec.spiffeIDTemplate is no SPIFFE ID; expected spiffe://…"}
		}
		i.principal = schemas.Key{System: "spire", Instance: "default", Type: "spiffe_id", ID: template.Value}.String()
		decides = append(append(decides[:0:0], lives...), owned...)
	}
	for _, kind := range []struct {
		key, svid string
		otherwise time.Duration
	}{{"ttl", "x509_svid", defaultX509}, {"jwtTtl", "jwt_svid", defaultJWT}} {
		life := kind.otherwise
		if given := value(spec, kind.key); given == nil {
			i.note("no %s: SPIRE's own default of %s is taken, the server may be configured otherwise", kind.key, life)
		} else {
			d, err := time.ParseDuration(given.Value)
			if err != nil || d < 0 {
				return &ManifestError{Line: given.Line, Text: "spec." + kind.key + ": expected a duration such as 1h"}
			}
			if d > 0 { // 0 is the server's default, too
				life = d
			}
		}
		i.asks = append(i.asks, ask{decides: decides, request: &admit.Request{Principal: i.principal, Type: kind.svid, Source: "spire", Instance: "default", Lifetime: &life}})
	}
	for _, flag := range []struct{ key, id, what string }{
		{"admin", spirepolicy.Admin, "makes its workloads administrators of SPIRE"},
		{"downstream", spirepolicy.Downstream, "lets its workloads sign SVIDs as downstream servers"},
	} {
		switch given := value(spec, flag.key); {
		case given == nil || given.Value == "false":
		case given.Value == "true":
			i.beside[flag.id] = flag.what
		default:
			return &ManifestError{Line: given.Line, Text: "spec." + flag.key + ": expected true or false"}
		}
	}
	r.issuances = append(r.issuances, i)
	return nil
}
