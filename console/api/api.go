// Package api is the console's API, /v1: OpenAPI 3.1, lists by cursor, errors as RFC 9457. What it answers is the
// contract's; who asks was found by package signin before. Reads come from the fleet in memory and from ClickHouse, writes go
// to Kafka, and work while ClickHouse is away.
package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/fleet"
	"github.com/leastwise/leastwise/console/ledger"
	"github.com/leastwise/leastwise/console/live"
	"github.com/leastwise/leastwise/console/read"
	"github.com/leastwise/leastwise/console/rules"
	"github.com/leastwise/leastwise/console/signin"
	"github.com/leastwise/leastwise/console/view"
	"github.com/leastwise/leastwise/internal/store"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Deps are what the API answers from.
type Deps struct {
	Fleet      *fleet.Fleet
	Read       *read.Reader
	Ledger     *ledger.Ledger
	Policies   rules.Policies
	Exceptions rules.Exceptions
	Clouds     rules.Clouds
	Admission  rules.Admission
	Questions  rules.Questions
	Names      read.Names
	Hub        *live.Hub
	Guard      *signin.Guard
	Log        *slog.Logger
	Now        func() time.Time
	Version    string
	// Demo is one sentence about scaled time; empty where this is no demonstration.
	Demo string
	// OldAfter is when newer data should be there (default 2 min).
	OldAfter time.Duration
	// Settings of every query, such as limits of ClickHouse; nil where the connection has its own.
	Settings map[string]any
}

type server struct {
	Deps
	boot string
	held byNode
	past pasts
	slow slow
}

// asked bounds one answer.
const asked = 20 * time.Second

// New gives the handler of everything under /v1/.
func New(d Deps) http.Handler {
	s := &server{Deps: d, boot: d.Now().UTC().Format("150405.000000")}
	if s.OldAfter == 0 {
		s.OldAfter = 2 * time.Minute
	}
	mux, _ := build(s)
	outer := http.NewServeMux()
	outer.Handle("/v1/", s.bounded(s.tagged(tables(mux))))
	outer.HandleFunc("GET /v1/live", s.live)
	return outer
}

// OpenAPI is the API's description, in JSON.
func OpenAPI() ([]byte, error) {
	_, described := build(&server{})
	raw, err := described.OpenAPI().MarshalJSON()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", " "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

func build(s *server) (*http.ServeMux, huma.API) {
	mux := http.NewServeMux()
	huma.DefaultArrayNullable = false // lists are never null
	config := huma.DefaultConfig("Leastwise", "1")
	config.Info.Description = "What Leastwise knows of credentials, and what may be done about them. A value that is null is unknown."
	config.OpenAPIPath, config.DocsPath, config.SchemasPath, config.CreateHooks = "/v1/openapi", "", "", nil
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"session": {Type: "apiKey", In: "cookie", Name: "leastwise", Description: "Given by /auth/login or a one-time link; __Host-leastwise over TLS"},
	}
	config.Security = []map[string][]string{{"session": {}}}
	api := humago.New(mux, config)
	s.reads(api)
	s.lists(api)
	s.questions(api)
	s.writes(api)
	s.admissions(api)
	s.issuances(api)
	described(api)
	return mux, api
}

// described makes the description say what Go's pointers mean, and adds what no handler of huma's answers.
func described(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	for name, schema := range schemas.Map() {
		typ := schemas.TypeFromRef("#/components/schemas/" + name)
		nullable(schema, typ)
	}
	// Headers that are too long are refused by net/http, in its own words, before anything of ours sees them.
	for _, path := range api.OpenAPI().Paths {
		for _, op := range []*huma.Operation{path.Get, path.Post} {
			if op != nil && op.Responses["431"] != nil {
				op.Responses["431"].Content = map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: "string"}}}
			}
		}
	}
	api.OpenAPI().AddOperation(&huma.Operation{OperationID: "live", Method: http.MethodGet, Path: "/v1/live", Summary: "What changes, as it happens",
		Description: "Server-sent events: status (as /v1/status answers) and changed ({what, keys}): ask again.",
		Responses:   map[string]*huma.Response{"200": {Description: "A stream that stays open", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: "string"}}}}}})
}

func nullable(schema *huma.Schema, typ reflect.Type) {
	for typ != nil && typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ == nil || typ.Kind() != reflect.Struct {
		return
	}
	for i := range typ.NumField() {
		field := typ.Field(i)
		if field.Anonymous {
			nullable(schema, field.Type)
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		property := schema.Properties[name]
		if property == nil || field.Type.Kind() != reflect.Pointer {
			continue
		}
		if property.Ref != "" {
			schema.Properties[name] = &huma.Schema{AnyOf: []*huma.Schema{{Ref: property.Ref}, {Type: "null"}}}
			continue
		}
		property.Nullable = true
	}
}

// bounded gives each answer its time, and its queries their settings.
func (s *server) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), asked)
		defer cancel()
		if s.Settings != nil {
			ctx = store.WithSettings(ctx, s.Settings)
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// untagged answers hang on more than the fleet and the ledger.
var untagged = []string{"/v1/me", "/v1/status", "/v1/audit", "/v1/openapi.json", "/v1/openapi.yaml"}

// tagged answers 304 while nothing was written since. Figures that move with time alone are at most ten seconds old then. The
// picture of the fleet, which is large, has a tag of what it tells.
func (s *server) tagged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || slices.Contains(untagged, r.URL.Path) || s.Fleet.Problem() != nil {
			next.ServeHTTP(w, r)
			return
		}
		snapshot := s.Fleet.Snapshot()
		who := ""
		if session := signin.From(r.Context()); session != nil {
			who = session.Name
		}
		tag := fmt.Sprintf(`W/"%s-%d-%d-%d-%d-%x"`, s.boot, snapshot.Version, snapshot.NewestAt().UnixNano(), s.Ledger.Version(), s.Now().Unix()/10, short(who+r.Header.Get("Accept")))
		if state := cmp.Or(r.URL.Query().Get("state"), fleet.Active); r.URL.Path == "/v1/fleet" && slices.Contains(feedStates, state) {
			_, tag = s.feed(state)
		}
		w.Header().Set("Cache-Control", "private, no-cache")
		w.Header().Set("Vary", "Accept, Cookie")
		if strings.Contains(r.Header.Get("If-None-Match"), tag) {
			w.Header().Set("ETag", tag)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		next.ServeHTTP(&tagger{ResponseWriter: w, tag: tag}, r)
	})
}

// feedStates are those that a feed can be asked for.
var feedStates = []string{fleet.Active, fleet.Expired, fleet.Revoked, fleet.Unknown, "all"}

// tagger sets the tag on answers that succeed.
type tagger struct {
	http.ResponseWriter
	tag  string
	done bool
}

func (t *tagger) WriteHeader(status int) {
	if !t.done && status == http.StatusOK {
		t.Header().Set("ETag", t.tag)
	}
	t.done = true
	t.ResponseWriter.WriteHeader(status)
}

func (t *tagger) Write(b []byte) (int, error) {
	if !t.done {
		t.WriteHeader(http.StatusOK)
	}
	return t.ResponseWriter.Write(b)
}

func (t *tagger) Unwrap() http.ResponseWriter { return t.ResponseWriter }

func short(text string) uint32 {
	h := uint32(2166136261)
	for i := range len(text) {
		h = (h ^ uint32(text[i])) * 16777619
	}
	return h
}

// problem turns errors into answers. What the stores say stays in the log: it may hold addresses.
func (s *server) problem(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, read.ErrCursor):
		return huma.Error400BadRequest("cursor: " + read.ErrCursor.Error())
	case errors.Is(err, rules.ErrRefused):
		return huma.Error422UnprocessableEntity(why(err, rules.ErrRefused))
	case errors.Is(err, rules.ErrForbidden):
		return huma.Error403Forbidden(why(err, rules.ErrForbidden))
	case errors.Is(err, rules.ErrNotFound), errors.Is(err, read.ErrNobody):
		return huma.Error404NotFound(why(err, rules.ErrNotFound))
	case errors.Is(err, context.DeadlineExceeded):
		return huma.Error503ServiceUnavailable("It took too long. Ask again in a moment; the command line answers without this limit.")
	case errors.Is(err, context.Canceled):
		return huma.NewError(499, "the client went away")
	}
	s.Log.Warn("the console can not answer", "error", err)
	return huma.Error503ServiceUnavailable("A store does not answer. What the page shows otherwise is what was last known; Leastwise's log says why.")
}

// why is what an error says beside its kind, which the answer's status tells.
func why(err, kind error) string { return strings.TrimPrefix(err.Error(), kind.Error()+": ") }

func person(ctx context.Context) *signin.Person {
	if session := signin.From(ctx); session != nil {
		return &session.Person
	}
	return &signin.Person{}
}

func who(ctx context.Context) rules.Who {
	p := person(ctx)
	return rules.Who{Name: p.Name, Groups: append(slices.Clone(p.Groups), p.Owners...)}
}

func need(ctx context.Context, to string, roles ...string) error {
	if p := person(ctx); !p.Is(roles...) {
		return huma.Error403Forbidden("To " + to + " one needs the role " + strings.Join(append(roles, signin.Admin), " or ") + ".")
	}
	return nil
}

// owners that an answer is about: those that were asked for, or else those of a person who is but an owner. nil: all.
func owners(ctx context.Context, asked string) []string {
	p := person(ctx)
	switch {
	case asked == "*":
		return nil
	case asked == "mine", asked == "" && p.OnlyOwner():
		return append([]string{}, p.Owners...)
	case asked == "":
		return nil
	}
	return []string{asked}
}

// view of the fleet by who asks.
func (s *server) view(ctx context.Context) *view.View {
	snapshot := s.Fleet.Snapshot()
	v := &view.View{Snapshot: snapshot, Now: s.Now(), Policies: s.Policies}
	covered := map[string]*contract.Exception{}
	v.Excepted = func(it *fleet.Item, policy string) *contract.Exception {
		e := s.Ledger.Covering(it.Key, it.Principal, policy, v.Now)
		if e == nil {
			return nil
		}
		if covered[e.Id] == nil {
			told := s.exception(ctx, e)
			covered[e.Id] = &told
		}
		return covered[e.Id]
	}
	v.Asker = asker{s, ctx}
	return v
}

// exception as the contract tells it to who asks.
func (s *server) exception(ctx context.Context, e *pb.Exception) contract.Exception {
	out := contract.Exception{ID: e.Id, Credential: maybe(e.Credential), Identity: maybe(e.Identity), Policy: e.PolicyId, Reason: e.Reason, Ticket: e.Ticket,
		RequestedBy: e.RequestedBy, ApprovedBy: maybe(e.ApprovedBy), RevokedBy: maybe(e.RevokedBy), State: s.Ledger.State(e, s.Now())}
	for to, from := range map[**time.Time]interface {
		IsValid() bool
		AsTime() time.Time
	}{&out.Until: e.Until, &out.RequestedAt: e.RequestedAt, &out.ApprovedAt: e.ApprovedAt, &out.RevokedAt: e.RevokedAt} {
		if from.IsValid() {
			at := from.AsTime().UTC()
			*to = &at
		}
	}
	why := ""
	switch {
	case out.State == "in force":
		why = "It is approved already."
	case out.State != "waiting":
		why = "It is over: request a new one."
	case !person(ctx).Is(signin.Approver):
		why = "One needs the role approver."
	default:
		why = s.Exceptions.MayApprove(e, who(ctx))
	}
	out.MayApprove, out.WhyNot = why == "", maybe(why)
	return out
}

func maybe(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// status does not need ClickHouse.
func (s *server) status() contract.Status {
	set := s.Ledger.Now()
	newest := s.Fleet.Snapshot().NewestAt()
	out := contract.Status{AsOf: newest, Mode: set.Mode, Killed: set.Killed, Version: s.Version, Demo: maybe(s.Demo),
		Old: s.Now().Sub(newest) > s.OldAfter, Stores: []contract.Store{{Name: "clickhouse"}, {Name: "kafka"}}}
	if err := s.Fleet.Problem(); err != nil {
		out.Stores[0].Error = maybe("ClickHouse does not answer: the page shows what was last known.")
		out.Old = true
	}
	if err := s.Ledger.Problem(); err != nil {
		out.Stores[1].Error = maybe("Kafka does not answer: nothing can be written, and settings may be older than shown.")
	}
	if set.Killed {
		out.KilledBy, out.KilledWhy = maybe(set.By), maybe(set.Why)
		if !set.At.IsZero() {
			at := set.At.UTC()
			out.KilledAt = &at
		}
	}
	return out
}

func (s *server) live(w http.ResponseWriter, r *http.Request) {
	session := signin.From(r.Context())
	if session == nil {
		signin.Problem(w, http.StatusUnauthorized, "Sign in first", "Open /auth/login in a browser.")
		return
	}
	s.Hub.Serve(w, r, s.status, session.Ended(), session.Until())
}
