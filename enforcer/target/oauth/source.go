package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/enforcer/target/vault/kv"
)

// The types of keys that name tokens, as the collector jwtregistry makes them.
const (
	typeJWT     = "jwt"
	typeRefresh = "refresh_token"
	typeSession = "session"
	typeClient  = "client"
)

// held are the tokens of one credential, for the time of one act. It has no
// String on purpose: nothing prints it.
type held struct {
	token   string // the credential's own
	refresh string // that it was given with, if the credential is not that itself
}

// Source finds the tokens of a credential by its type and id. What it does not
// hold is found false, not an error. It is safe for concurrent use.
type Source interface {
	Find(ctx context.Context, kind, id string) (h held, found bool, err error)
	// All gives what the source holds of a type, at most limit of them; more
	// says that there are further ones. A source that can not tell is
	// target.ErrUnsupported.
	All(ctx context.Context, kind string, limit int) (list []held, more bool, err error)
}

func openSource(c TokenSource, timeout time.Duration) (Source, error) {
	switch {
	case c.Directory != "":
		return directory(c.Directory), nil
	case c.Vault != nil:
		store, err := kv.Open(*c.Vault, timeout)
		if err != nil {
			return nil, fmt.Errorf("token_source.vault: %w", err)
		}
		return vaultSource{store}, nil
	case c.ID:
		return ids{}, nil
	default:
		return nowhere{}, nil
	}
}

// fileName is a credential's in a source: its id may hold anything.
func fileName(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}

// read an entry: a token alone, or the object that the token endpoint
// answered (RFC 6749, section 5.1).
func read(kind string, raw []byte) (held, error) {
	text := strings.TrimSpace(string(raw))
	if !strings.HasPrefix(text, "{") {
		return entry(kind, text, "", "")
	}
	var object struct {
		Token   string `json:"token"`
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if json.Unmarshal([]byte(text), &object) != nil { // its error may quote the token
		return held{}, errors.New("it is neither a token nor the answer of a token endpoint")
	}
	return entry(kind, object.Token, object.Access, object.Refresh)
}

func entry(kind, token, access, refresh string) (held, error) {
	h := held{token: token}
	switch {
	case kind == typeRefresh && refresh != "":
		h.token = refresh
	case kind == typeJWT:
		if access != "" {
			h.token = access
		}
		h.refresh = refresh
	}
	if h.token == "" || strings.ContainsAny(h.token, " \r\n\t") {
		return held{}, errors.New("it holds no token of this type")
	}
	return h, nil
}

// directory has one file a credential.
type directory string

const fileMost = 64 << 10

func (d directory) Find(_ context.Context, kind, id string) (held, bool, error) {
	return d.open(kind, fileName(id))
}

func (d directory) open(kind, name string) (held, bool, error) {
	step := "read token_source.directory"
	root, err := os.OpenRoot(string(d))
	if err != nil {
		return held{}, false, &target.Error{Op: step, Err: err}
	}
	defer root.Close()
	file, err := root.Open(kind + "/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		return held{}, false, nil
	}
	if err != nil {
		return held{}, false, &target.Error{Op: step, Err: err}
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return held{}, false, &target.Error{Op: step, Err: err}
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0:
		// Whoever else can read it has the token; taking it as if all were
		// well would hide that.
		return held{}, false, &target.Error{Kind: target.Permission, Op: step,
			Missing: target.Missing{Path: string(d) + "/" + kind + "/" + name, Capability: "mode 0600", Step: step}}
	case info.Size() > fileMost:
		return held{}, false, &target.Error{Kind: target.Impossible, Op: step, Err: errors.New("the file is too large for a token")}
	}
	raw, err := io.ReadAll(io.LimitReader(file, fileMost))
	if err != nil {
		return held{}, false, &target.Error{Op: step, Err: err}
	}
	h, err := read(kind, raw)
	if err != nil {
		return held{}, false, &target.Error{Op: step + ": " + kind + "/" + name, Err: err} // it may be half-written
	}
	return h, true, nil
}

func (d directory) All(ctx context.Context, kind string, limit int) ([]held, bool, error) {
	entries, err := os.ReadDir(string(d) + "/" + kind)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, &target.Error{Op: "list token_source.directory", Err: err}
	}
	return all(entries, limit, func(e fs.DirEntry) (held, bool, error) {
		if ctx.Err() != nil {
			return held{}, false, &target.Error{Op: "list token_source.directory", Err: ctx.Err()}
		}
		return d.open(kind, e.Name())
	})
}

func all[T any](names []T, limit int, open func(T) (held, bool, error)) (list []held, more bool, err error) {
	for _, name := range names {
		if len(list) == limit {
			return list, true, nil
		}
		h, found, err := open(name)
		if err != nil {
			return nil, false, err
		}
		if found {
			list = append(list, h)
		}
	}
	return list, false, nil
}

// vaultSource has one secret a credential.
type vaultSource struct{ store *kv.Store }

func (v vaultSource) Find(ctx context.Context, kind, id string) (held, bool, error) {
	return v.open(ctx, kind, fileName(id))
}

func (v vaultSource) open(ctx context.Context, kind, name string) (held, bool, error) {
	fields, err := v.store.Read(ctx, kind+"/"+name)
	if err != nil || fields == nil {
		return held{}, false, err
	}
	h, err := entry(kind, fields["token"], fields["access_token"], fields["refresh_token"])
	if err != nil {
		return held{}, false, &target.Error{Op: "read token_source.vault: " + kind + "/" + name, Err: err}
	}
	return h, true, nil
}

func (v vaultSource) All(ctx context.Context, kind string, limit int) ([]held, bool, error) {
	names, err := v.store.List(ctx, kind)
	if err != nil {
		return nil, false, err
	}
	return all(names, limit, func(name string) (held, bool, error) { return v.open(ctx, kind, name) })
}

// ids are taken by the issuer in place of tokens.
type ids struct{}

func (ids) Find(_ context.Context, _, id string) (held, bool, error) {
	return held{token: id}, !strings.HasPrefix(id, "sha256:"), nil
}

func (ids) All(context.Context, string, int) ([]held, bool, error) {
	return nil, false, target.ErrUnsupported
}

// nowhere is no source at all.
type nowhere struct{}

func (nowhere) Find(context.Context, string, string) (held, bool, error) { return held{}, false, nil }
func (nowhere) All(context.Context, string, int) ([]held, bool, error) {
	return nil, false, target.ErrUnsupported
}
