package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/enforcer/target"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const (
	targetName    = "vault/default"
	ownersChannel = "owners"
)

// ask and answer are what travels between a child's enforcer and the issuer.
type ask struct {
	Credential string    `json:"credential"`
	Ladder     string    `json:"ladder,omitempty"`
	Kind       string    `json:"kind,omitempty"`
	RevokeAt   time.Time `json:"revoke_at,omitzero"`
	// PID of the process that asks: the parent sees by it who is at work.
	PID int `json:"pid"`
}

type answer struct {
	Known bool `json:"known"`
	Alive bool `json:"alive"`
}

// remote is, inside a child, the issuer as a revocation target and as the channel through which owners are told.
type remote struct {
	url    string
	client *http.Client
}

func newRemote(url string) *remote {
	// Without keep-alive a request is never sent again by the library after its connection broke: each call that reaches
	// the issuer is one that the enforcer made.
	return &remote{url: url, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
}

func (r *remote) call(ctx context.Context, op string, a ask) (answer, error) {
	fail := func(err error) (answer, error) { return answer{}, &target.Error{Op: op, Err: err} }
	a.PID = os.Getpid()
	body, err := json.Marshal(a)
	if err != nil {
		return fail(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/"+op, bytes.NewReader(body))
	if err != nil {
		return fail(err)
	}
	res, err := r.client.Do(req)
	if err != nil {
		return fail(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	if err != nil {
		return fail(err)
	}
	if res.StatusCode != http.StatusOK {
		return fail(errors.New("the issuer answers " + strconv.Itoa(res.StatusCode)))
	}
	var out answer
	if err := json.Unmarshal(text, &out); err != nil {
		return fail(err)
	}
	return out, nil
}

func (r *remote) Capabilities(context.Context) ([]target.Missing, error) { return nil, nil }

func (r *remote) Lookup(ctx context.Context, c target.Credential) (target.Sighting, error) {
	got, err := r.call(ctx, opLookup, ask{Credential: c.Key})
	switch {
	case err != nil:
		return target.Sighting{}, err
	case !got.Known:
		return target.Sighting{Detail: "the issuer has never heard of it"}, nil
	case got.Alive:
		return target.Sighting{Status: target.Alive, Found: c.Key, Detail: "alive"}, nil
	default:
		return target.Sighting{Status: target.Gone, Detail: "gone"}, nil
	}
}

func (r *remote) Revoke(ctx context.Context, c target.Credential) error {
	_, err := r.call(ctx, opRevoke, ask{Credential: c.Key})
	return err
}

func (r *remote) Verify(ctx context.Context, c target.Credential) (target.Proof, error) {
	got, err := r.call(ctx, opVerify, ask{Credential: c.Key})
	if err != nil {
		return target.Proof{}, err
	}
	return target.Proof{Gone: got.Known && !got.Alive, Text: fmt.Sprintf("the issuer says alive: %t", got.Alive)}, nil
}

// Plan gives something back always: what is tried here is that it is given back, not what.
func (r *remote) Plan(_ context.Context, d *pb.Decision) (plan *pb.Reissue, refused string, err error) {
	return &pb.Reissue{PolicyName: "crash-" + d.GetSubject().GetAgent()}, "", nil
}

func (r *remote) Reissue(ctx context.Context, ladderID string, d *pb.Decision, plan *pb.Reissue) (*pb.Reissue, error) {
	if _, err := r.call(ctx, opReissue, ask{Credential: d.GetCredential(), Ladder: ladderID}); err != nil {
		return nil, err
	}
	return proto.CloneOf(plan), nil
}

func (r *remote) Rollback(context.Context, *pb.Reissue) error {
	return &target.Error{Kind: target.Impossible, Op: "rollback", Err: target.ErrUnsupported}
}

func (r *remote) Protected(context.Context) ([]string, error) { return nil, nil }

// Live is not asked: the configuration names a number.
func (r *remote) Live(context.Context) (int, error) { return 0, nil }

func (r *remote) Kind() string { return "crash" }

func (r *remote) Send(ctx context.Context, m notify.Message) error {
	a := ask{Credential: m.Credential, Ladder: m.LadderID, Kind: string(m.Kind)}
	if m.RevokeAt != nil {
		a.RevokeAt = *m.RevokeAt
	}
	_, err := r.call(ctx, opTell, a)
	return err
}
