package spire

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	trustdomainv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/trustdomain/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// pageSize is how many entries or agents one answer holds at most: the answer has to fit a gRPC message.
const pageSize = 500

// server is a connection to a SPIRE server's API.
type server struct {
	conn  *grpc.ClientConn
	close func() error
}

// dial prepares a connection, and waits for an SVID if the Workload API is to give it.
func dial(ctx context.Context, cfg InventoryConfig) (*server, error) {
	if strings.HasPrefix(cfg.Address, "unix://") {
		// The admin socket: the file's permissions are what protects it.
		return connect(cfg.Address, insecure.NewCredentials(), nil)
	}
	domain, err := spiffeid.TrustDomainFromString(cfg.TrustDomain)
	if err != nil {
		return nil, fmt.Errorf("trust_domain: %w", err)
	}
	id, err := spiffeid.FromPath(domain, "/spire/server")
	if err != nil {
		return nil, fmt.Errorf("trust_domain: %w", err)
	}
	only := tlsconfig.AuthorizeID(id)
	if cfg.WorkloadAPI != "" {
		svid, err := workloadapi.NewX509Source(ctx, workloadapi.WithClientOptions(workloadapi.WithAddr(cfg.WorkloadAPI)))
		if err != nil {
			return nil, fmt.Errorf("get the collector's SVID from %s: %w; the collector needs an entry of its own", cfg.WorkloadAPI, err)
		}
		return connect(cfg.Address, credentials.NewTLS(tlsconfig.MTLSClientConfig(svid, svid, only)), svid.Close)
	}
	svid, err := x509svid.Load(cfg.CertFile, cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("load cert_file and key_file: %w", err)
	}
	bundle, err := x509bundle.Load(domain, cfg.BundleFile)
	if err != nil {
		return nil, fmt.Errorf("load bundle_file: %w", err)
	}
	return connect(cfg.Address, credentials.NewTLS(tlsconfig.MTLSClientConfig(svid, bundle, only)), nil)
}

func connect(address string, how credentials.TransportCredentials, close func() error) (*server, error) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(how))
	if err != nil {
		if close != nil {
			err = errors.Join(err, close())
		}
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	return &server{conn: conn, close: close}, nil
}

// Close ends the connection.
func (s *server) Close() error {
	err := s.conn.Close()
	if s.close != nil {
		err = errors.Join(err, s.close())
	}
	return err
}

// pages asks for page after page until there is none; take gets each.
func pages(ctx context.Context, method string, ask func(ctx context.Context, token string) (next string, err error)) error {
	for token := ""; ; {
		next, err := ask(ctx, token)
		if err != nil {
			return explain(method, err)
		}
		if next == "" {
			return nil
		}
		token = next
	}
}

func (s *server) entries(ctx context.Context, take func(*types.Entry)) error {
	client := entryv1.NewEntryClient(s.conn)
	return pages(ctx, "entry.v1.Entry/ListEntries", func(ctx context.Context, token string) (string, error) {
		page, err := client.ListEntries(ctx, &entryv1.ListEntriesRequest{PageSize: pageSize, PageToken: token})
		for _, entry := range page.GetEntries() {
			take(entry)
		}
		return page.GetNextPageToken(), err
	})
}

func (s *server) agents(ctx context.Context, take func(*types.Agent)) error {
	client := agentv1.NewAgentClient(s.conn)
	return pages(ctx, "agent.v1.Agent/ListAgents", func(ctx context.Context, token string) (string, error) {
		page, err := client.ListAgents(ctx, &agentv1.ListAgentsRequest{PageSize: pageSize, PageToken: token})
		for _, agent := range page.GetAgents() {
			take(agent)
		}
		return page.GetNextPageToken(), err
	})
}

func (s *server) bundles(ctx context.Context, take func(bundle *types.Bundle, own bool)) error {
	client := bundlev1.NewBundleClient(s.conn)
	own, err := client.GetBundle(ctx, &bundlev1.GetBundleRequest{})
	if err != nil {
		return explain("bundle.v1.Bundle/GetBundle", err)
	}
	take(own, true)
	return pages(ctx, "bundle.v1.Bundle/ListFederatedBundles", func(ctx context.Context, token string) (string, error) {
		page, err := client.ListFederatedBundles(ctx, &bundlev1.ListFederatedBundlesRequest{PageSize: pageSize, PageToken: token})
		for _, bundle := range page.GetBundles() {
			take(bundle, false)
		}
		return page.GetNextPageToken(), err
	})
}

func (s *server) federation(ctx context.Context, take func(*types.FederationRelationship)) error {
	client := trustdomainv1.NewTrustDomainClient(s.conn)
	mask := &types.FederationRelationshipMask{BundleEndpointUrl: true, BundleEndpointProfile: true}
	return pages(ctx, "trustdomain.v1.TrustDomain/ListFederationRelationships", func(ctx context.Context, token string) (string, error) {
		page, err := client.ListFederationRelationships(ctx,
			&trustdomainv1.ListFederationRelationshipsRequest{OutputMask: mask, PageSize: pageSize, PageToken: token})
		for _, relation := range page.GetFederationRelationships() {
			take(relation)
		}
		return page.GetNextPageToken(), err
	})
}

// explain names what is missing. What the server says of itself is not repeated: it may hold ids.
func explain(method string, err error) error {
	switch code := status.Code(err); code {
	case codes.PermissionDenied, codes.Unauthenticated:
		return refused(method)
	case codes.Unavailable:
		return fmt.Errorf("SPIRE does not answer %s: see that the server runs, that its socket may be opened by the collector's user, and that trust_domain is right", method)
	case codes.DeadlineExceeded, codes.Canceled:
		return fmt.Errorf("SPIRE's answer to %s took longer than timeout", method)
	case codes.Unimplemented:
		return fmt.Errorf("SPIRE does not know %s: its release is older than this collector", method)
	default:
		return fmt.Errorf("SPIRE failed at %s: %s", method, code)
	}
}

// refused is the method that the collector may not call.
type refused string

func (r refused) Error() string { return refusedAll(string(r)) }

func refusedAll(methods ...string) string {
	return "SPIRE refused " + strings.Join(methods, ", ") + ": the collector's SPIFFE ID needs an entry with admin: true, or a place in the server's admin_ids; or use the server's admin socket"
}

// together makes one sentence of all refusals, beside what else went wrong.
func together(errs []error) error {
	var methods []string
	var others []error
	for _, err := range errs {
		var r refused
		if errors.As(err, &r) {
			methods = append(methods, string(r))
		} else {
			others = append(others, err)
		}
	}
	if len(methods) > 0 {
		others = append([]error{errors.New(refusedAll(methods...))}, others...)
	}
	return errors.Join(others...)
}
