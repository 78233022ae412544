package spire

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	authorityv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/localauthority/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/leastwise/leastwise/enforcer/target"
)

// pageSize is how many entries or agents one answer holds at most: it has to
// fit a gRPC message.
const pageSize = 500

// server is the connection, made at the first use.
type server struct {
	cfg     Config
	options []grpc.DialOption

	mu      sync.Mutex
	conn    *grpc.ClientConn
	svid    *workloadapi.X509Source // nil over the admin socket
	serials map[string]bool         // of the SVIDs this process has shown
	domain  string                  // the server's, from its bundle
}

// api are the server's services.
type api struct {
	entry     entryv1.EntryClient
	agent     agentv1.AgentClient
	bundle    bundlev1.BundleClient
	authority authorityv1.LocalAuthorityClient
}

// dial gives the connection. Waiting for the first SVID is bounded by ctx.
func (s *server) dial(ctx context.Context) (api, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		if err := s.connect(ctx); err != nil {
			return api{}, &target.Error{Op: "connect to SPIRE", Err: err}
		}
	}
	return api{entryv1.NewEntryClient(s.conn), agentv1.NewAgentClient(s.conn), bundlev1.NewBundleClient(s.conn),
		authorityv1.NewLocalAuthorityClient(s.conn)}, nil
}

func (s *server) connect(ctx context.Context) error {
	how := insecure.NewCredentials() // the admin socket: the file's permissions protect it
	if !strings.HasPrefix(s.cfg.Address, "unix://") {
		domain, err := spiffeid.TrustDomainFromString(s.cfg.TrustDomain)
		if err != nil {
			return fmt.Errorf("trust_domain: %w", err)
		}
		id, err := spiffeid.FromPath(domain, "/spire/server")
		if err != nil {
			return fmt.Errorf("trust_domain: %w", err)
		}
		svid, err := workloadapi.NewX509Source(ctx, workloadapi.WithClientOptions(workloadapi.WithAddr(s.cfg.WorkloadAPI)))
		if err != nil {
			return fmt.Errorf("get the enforcer's SVID from %s: %w; the enforcer needs an entry of its own, with admin: true", s.cfg.WorkloadAPI, err)
		}
		s.svid = svid
		how = credentials.NewTLS(tlsconfig.MTLSClientConfig(svid, svid, tlsconfig.AuthorizeID(id)))
	}
	conn, err := grpc.NewClient(s.cfg.Address, append([]grpc.DialOption{grpc.WithTransportCredentials(how)}, s.options...)...)
	if err != nil {
		if s.svid != nil {
			err = errors.Join(err, s.svid.Close())
			s.svid = nil
		}
		return err
	}
	s.conn = conn
	return nil
}

// own is the enforcer's SPIFFE ID, empty over the admin socket, and the serials
// of the SVIDs it has shown.
func (s *server) own(ctx context.Context) (id string, serials []string, err error) {
	if _, err := s.dial(ctx); err != nil {
		return "", nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.svid == nil {
		return "", nil, nil
	}
	svid, err := s.svid.GetX509SVID()
	if err != nil {
		return "", nil, &target.Error{Op: "read the enforcer's SVID", Err: err}
	}
	if s.serials == nil {
		s.serials = map[string]bool{}
	}
	s.serials[svid.Certificates[0].SerialNumber.String()] = true
	for serial := range s.serials {
		serials = append(serials, serial)
	}
	return svid.ID.String(), serials, nil
}

func (s *server) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
	}
	if s.svid != nil {
		errs = append(errs, s.svid.Close())
	}
	s.conn, s.svid = nil, nil
	return errors.Join(errs...)
}

// call bounds one request and classes its error. method is the name by which
// SPIRE's authorization policy knows the call.
func call[R any](ctx context.Context, t *Target, method, step string, do func(ctx context.Context, s api) (R, error)) (R, error) {
	var none R
	if err := ctx.Err(); err != nil {
		return none, &target.Error{Op: step, Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	s, err := t.server.dial(ctx)
	if err != nil {
		return none, err
	}
	answer, err := do(ctx, s)
	if err != nil {
		return none, failed(method, step, status.Code(err))
	}
	return answer, nil
}

// codeError is what SPIRE said. Its text is left out: it may hold ids that are
// join tokens.
type codeError struct {
	method string
	code   codes.Code
}

func (e *codeError) Error() string { return "SPIRE answered " + e.code.String() + " to " + e.method }

func failed(method, step string, code codes.Code) error {
	err := &target.Error{Op: step, Err: &codeError{method, code}}
	switch code {
	case codes.PermissionDenied, codes.Unauthenticated:
		err.Kind = target.Permission
		err.Missing = target.Missing{Path: method, Capability: "admin", Step: step}
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange, codes.Unimplemented, codes.AlreadyExists, codes.NotFound:
		err.Kind = target.Impossible
	}
	return err
}

func codeOf(err error) codes.Code {
	var c *codeError
	if errors.As(err, &c) {
		return c.code
	}
	return codes.OK
}

// item is the answer to one item of a batch; a batch of one has one.
func item(method, step string, n int, of func(i int) *types.Status) error {
	if n != 1 {
		return &target.Error{Op: step, Err: fmt.Errorf("SPIRE answered with %d results to %s of one", n, method)}
	}
	if code := codes.Code(of(0).GetCode()); code != codes.OK {
		return failed(method, step, code)
	}
	return nil
}

// Methods by which SPIRE's authorization policy knows calls.
const (
	getEntry     = "entry.v1.Entry/GetEntry"
	listEntries  = "entry.v1.Entry/ListEntries"
	countEntries = "entry.v1.Entry/CountEntries"
	createEntry  = "entry.v1.Entry/BatchCreateEntry"
	updateEntry  = "entry.v1.Entry/BatchUpdateEntry"
	deleteEntry  = "entry.v1.Entry/BatchDeleteEntry"
	getAgent     = "agent.v1.Agent/GetAgent"
	listAgents   = "agent.v1.Agent/ListAgents"
	countAgents  = "agent.v1.Agent/CountAgents"
	deleteAgent  = "agent.v1.Agent/DeleteAgent"
	banAgent     = "agent.v1.Agent/BanAgent"
	getBundle    = "bundle.v1.Bundle/GetBundle"
)

// entry is nil if the server has none of this id.
func (t *Target) entry(ctx context.Context, id string) (*types.Entry, error) {
	e, err := call(ctx, t, getEntry, "read the entry", func(ctx context.Context, s api) (*types.Entry, error) {
		return s.entry.GetEntry(ctx, &entryv1.GetEntryRequest{Id: id})
	})
	switch {
	case codeOf(err) == codes.NotFound:
		return nil, nil
	case err != nil:
		return nil, err
	case e.GetId() != id:
		return nil, &target.Error{Op: "read the entry", Err: errors.New("SPIRE answered about another entry")}
	}
	return e, nil
}

// entries are all that the filter finds.
func (t *Target) entries(ctx context.Context, filter *entryv1.ListEntriesRequest_Filter) ([]*types.Entry, error) {
	var list []*types.Entry
	for token := ""; ; {
		page, err := call(ctx, t, listEntries, "list entries", func(ctx context.Context, s api) (*entryv1.ListEntriesResponse, error) {
			return s.entry.ListEntries(ctx, &entryv1.ListEntriesRequest{Filter: filter, PageSize: pageSize, PageToken: token})
		})
		if err != nil {
			return nil, err
		}
		list = append(list, page.Entries...)
		if token = page.NextPageToken; token == "" {
			return list, nil
		}
	}
}

// agents are all that have these selectors, and maybe more.
func (t *Target) agents(ctx context.Context, selectors []*types.Selector) ([]*types.Agent, error) {
	filter := &agentv1.ListAgentsRequest_Filter{BySelectorMatch: &types.SelectorMatch{Selectors: selectors, Match: types.SelectorMatch_MATCH_SUPERSET}}
	var list []*types.Agent
	for token := ""; ; {
		page, err := call(ctx, t, listAgents, "list agents", func(ctx context.Context, s api) (*agentv1.ListAgentsResponse, error) {
			return s.agent.ListAgents(ctx, &agentv1.ListAgentsRequest{Filter: filter, PageSize: pageSize, PageToken: token})
		})
		if err != nil {
			return nil, err
		}
		list = append(list, page.Agents...)
		if token = page.NextPageToken; token == "" {
			return list, nil
		}
	}
}

// agent is nil if the server knows none of this id.
func (t *Target) agent(ctx context.Context, id spiffeid.ID) (*types.Agent, error) {
	return t.agentOf(ctx, wire(id))
}

func (t *Target) agentOf(ctx context.Context, id *types.SPIFFEID) (*types.Agent, error) {
	a, err := call(ctx, t, getAgent, "read the agent", func(ctx context.Context, s api) (*types.Agent, error) {
		return s.agent.GetAgent(ctx, &agentv1.GetAgentRequest{Id: id})
	})
	if codeOf(err) == codes.NotFound {
		return nil, nil
	}
	return a, err
}

func (t *Target) bundle(ctx context.Context) (*types.Bundle, error) {
	return call(ctx, t, getBundle, "read the bundle", func(ctx context.Context, s api) (*types.Bundle, error) {
		return s.bundle.GetBundle(ctx, &bundlev1.GetBundleRequest{})
	})
}

// trustDomain is the server's.
func (t *Target) trustDomain(ctx context.Context) (string, error) {
	t.server.mu.Lock()
	domain := t.server.domain
	t.server.mu.Unlock()
	if domain != "" {
		return domain, nil
	}
	b, err := t.bundle(ctx)
	if err != nil {
		return "", err
	}
	if t.cfg.TrustDomain != "" && b.TrustDomain != t.cfg.TrustDomain {
		return "", impossible("read the bundle", fmt.Errorf("the server is of trust domain %q and not of enforcer.spire.trust_domain %q", b.TrustDomain, t.cfg.TrustDomain))
	}
	t.server.mu.Lock()
	t.server.domain = b.TrustDomain
	t.server.mu.Unlock()
	return b.TrustDomain, nil
}

func wire(id spiffeid.ID) *types.SPIFFEID {
	return &types.SPIFFEID{TrustDomain: id.TrustDomain().Name(), Path: id.Path()}
}

// text of an ID in the API's form; empty if there is none.
func text(id *types.SPIFFEID) string {
	if id.GetTrustDomain() == "" {
		return ""
	}
	return "spiffe://" + id.TrustDomain + id.Path
}

func impossible(op string, err error) error {
	return &target.Error{Kind: target.Impossible, Op: op, Err: err}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
