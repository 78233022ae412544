package gcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/api/cloudresourcemanager/v1"
	"google.golang.org/api/iam/v1"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/schemas"
)

// system of the keys, and their types, as the collector gcpaudit makes them.
const (
	system        = "gcpaudit"
	typeKey       = "service_account_key"
	typePrincipal = "principal"
)

// tokenLasts is how long an access token works that was got with a key: an
// hour, and no call ends it sooner.
const tokenLasts = time.Hour

type need struct{ permission, step string }

// needed permissions, by the step that fails without.
var needed = []need{
	{"iam.serviceAccounts.list", "find the account of a key"},
	{"iam.serviceAccountKeys.list", "find a key"},
	{"iam.serviceAccountKeys.get", "look a key up"},
	{"iam.serviceAccountKeys.disable", "disable a key"},
	{"iam.serviceAccountKeys.enable", "give a key back"},
	{"iam.serviceAccountKeys.delete", "delete a key that was disabled"},
}

// neededToNarrow besides.
var neededToNarrow = []need{
	{"resourcemanager.projects.getIamPolicy", "read what an account is bound to"},
	{"resourcemanager.projects.setIamPolicy", "narrow what an account is bound to"},
	{"iam.roles.get", "read what a role holds"},
	{"iam.roles.list", "list the roles that can be given"},
}

// Target is the projects of one configuration. It is safe for concurrent use.
type Target struct {
	cfg     Config
	iam     *iam.Service
	manager *cloudresourcemanager.Service
	log     *slog.Logger
	now     func() time.Time

	mu    sync.Mutex
	names map[string]string // resource name by key id, guarded by mu
}

// Open prepares a target.
func Open(c Config, log *slog.Logger, now func() time.Time) (*Target, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if now == nil {
		now = time.Now
	}
	t := &Target{cfg: c.withDefaults(), log: log, now: now, names: map[string]string{}}
	var err error
	t.iam, t.manager, err = c.open(context.Background())
	return t, err
}

// Capabilities asks each project which of the permissions the enforcer lacks.
func (t *Target) Capabilities(ctx context.Context) ([]target.Missing, error) {
	var missing []target.Missing
	needed := slices.Clone(needed)
	if t.cfg.Narrow {
		needed = append(needed, neededToNarrow...)
	}
	ask := &cloudresourcemanager.TestIamPermissionsRequest{}
	for _, n := range needed {
		ask.Permissions = append(ask.Permissions, n.permission)
	}
	for _, project := range t.cfg.Projects {
		got, err := call(ctx, t, "ask what the enforcer may do", "projects/"+project, "a role on the project", func(ctx context.Context) (*cloudresourcemanager.TestIamPermissionsResponse, error) {
			return t.manager.Projects.TestIamPermissions(project, ask).Context(ctx).Do()
		})
		if err != nil {
			return nil, err
		}
		for _, n := range needed {
			if !slices.Contains(got.Permissions, n.permission) {
				missing = append(missing, target.Missing{Path: "projects/" + project, Capability: n.permission, Step: n.step})
			}
		}
	}
	return missing, nil
}

// errUnknown: no account of the configured projects has the key.
var errUnknown = errors.New("no service account of enforcer.gcp.projects has this key: it was deleted, or is another project's")

// name gives the resource name of a credential's key.
func (t *Target) name(ctx context.Context, c target.Credential) (string, error) {
	key, err := schemas.ParseKey(c.Key)
	if err != nil {
		return "", impossible("read the credential's key", err)
	}
	switch {
	case key.System != system || key.Instance != t.cfg.Instance:
		return "", impossible("read the credential's key", fmt.Errorf("%s is not of %s/%s", c.Key, system, t.cfg.Instance))
	case key.Type == "access_token" || key.Type == "id_token" || key.Type == "signed_jwt":
		return "", impossible("revoke a token", fmt.Errorf("Google revokes no single token, and the log gives it no id; all tokens of its account end with "+
			"`gcloud iam service-accounts disable EMAIL`, and so does everything that runs as it: %w", target.ErrIssuerCannot))
	case key.Type != typeKey:
		return "", impossible("revoke a "+key.Type, target.ErrUnsupported)
	case strings.HasSuffix(c.Found, "/keys/"+key.ID):
		return c.Found, nil
	}
	t.mu.Lock()
	name := t.names[key.ID]
	t.mu.Unlock()
	if name != "" {
		return name, nil
	}
	if _, err := t.list(ctx); err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if name = t.names[key.ID]; name == "" {
		return "", errUnknown
	}
	return name, nil
}

// list reads the keys that people manage, of all accounts of the projects.
func (t *Target) list(ctx context.Context) ([]*iam.ServiceAccountKey, error) {
	var keys []*iam.ServiceAccountKey
	for _, project := range t.cfg.Projects {
		var emails []string
		_, err := call(ctx, t, "list service accounts", "projects/"+project, "iam.serviceAccounts.list", func(ctx context.Context) (struct{}, error) {
			emails = nil
			return struct{}{}, t.iam.Projects.ServiceAccounts.List("projects/"+project).PageSize(100).Pages(ctx, func(page *iam.ListServiceAccountsResponse) error {
				for _, a := range page.Accounts {
					emails = append(emails, a.Name)
				}
				return nil
			})
		})
		if err != nil {
			return nil, err
		}
		for _, account := range emails {
			list, err := t.keysOf(ctx, account)
			if status(err, http.StatusNotFound) {
				continue // deleted in between
			}
			if err != nil {
				return nil, err
			}
			keys = append(keys, list...)
		}
	}
	return keys, nil
}

func (t *Target) keysOf(ctx context.Context, account string) ([]*iam.ServiceAccountKey, error) {
	got, err := call(ctx, t, "list keys", account, "iam.serviceAccountKeys.list", func(ctx context.Context) (*iam.ListServiceAccountKeysResponse, error) {
		return t.iam.Projects.ServiceAccounts.Keys.List(account).KeyTypes("USER_MANAGED").Context(ctx).Do()
	})
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range got.Keys {
		t.names[idOf(k.Name)] = k.Name
	}
	return got.Keys, nil
}

func idOf(name string) string { return name[strings.LastIndex(name, "/")+1:] }

func accountOf(name string) string {
	account, _, _ := strings.Cut(name, "/keys/")
	return account[strings.LastIndex(account, "/")+1:]
}

// get reads one key; nil: it does not exist.
func (t *Target) get(ctx context.Context, name string) (*iam.ServiceAccountKey, error) {
	k, err := call(ctx, t, "look the key up", name, "iam.serviceAccountKeys.get", func(ctx context.Context) (*iam.ServiceAccountKey, error) {
		return t.iam.Projects.ServiceAccounts.Keys.Get(name).PublicKeyType("TYPE_NONE").Context(ctx).Do()
	})
	if status(err, http.StatusNotFound) {
		return nil, nil
	}
	return k, err
}

// state of a key. A key that is not there was deleted only if it was known.
func (t *Target) state(k *iam.ServiceAccountKey, name string) target.Sighting {
	switch {
	case k == nil:
		return target.Sighting{Status: target.Gone, Found: name, Detail: "IAM has no such key any more: it was deleted"}
	case k.Disabled:
		return target.Sighting{Status: target.Gone, Found: name, Restore: name, Detail: "IAM says that the key is disabled"}
	}
	if ends, err := time.Parse(time.RFC3339, k.ValidBeforeTime); err == nil && !t.now().Before(ends) {
		return target.Sighting{Status: target.Gone, Found: name, Detail: "its time ended " + k.ValidBeforeTime}
	}
	return target.Sighting{Status: target.Alive, Found: name, Restore: name, Detail: "the key is enabled, valid until " + k.ValidBeforeTime}
}

// Lookup tells whether the key works. It changes nothing.
func (t *Target) Lookup(ctx context.Context, c target.Credential) (target.Sighting, error) {
	if c.Key == t.ownPrincipal() {
		_, err := t.keysOf(ctx, "projects/-/serviceAccounts/"+t.cfg.ServiceAccount)
		if err != nil {
			return target.Sighting{}, err
		}
		return target.Sighting{Status: target.Alive, Found: t.cfg.ServiceAccount, Detail: "the account that the enforcer acts as"}, nil
	}
	name, err := t.name(ctx, c)
	if errors.Is(err, errUnknown) {
		return target.Sighting{Detail: err.Error()}, nil
	}
	if err != nil {
		return target.Sighting{}, err
	}
	k, err := t.get(ctx, name)
	if err != nil {
		return target.Sighting{}, err
	}
	return t.state(k, name), nil
}

// Revoke disables the key. Disabling a disabled or deleted one is no error.
func (t *Target) Revoke(ctx context.Context, c target.Credential) error {
	if c.Key == t.ownPrincipal() {
		return impossible("disable the account", target.ErrOwn)
	}
	name, err := t.name(ctx, c)
	switch {
	case errors.Is(err, errUnknown):
		return impossible("find the key", err)
	case err != nil:
		return err
	case t.own(name):
		return impossible("disable the key", target.ErrOwn)
	}
	_, err = call(ctx, t, "disable the key", name, "iam.serviceAccountKeys.disable", func(ctx context.Context) (*iam.Empty, error) {
		return t.iam.Projects.ServiceAccounts.Keys.Disable(name, &iam.DisableServiceAccountKeyRequest{}).Context(ctx).Do()
	})
	if status(err, http.StatusNotFound) {
		return nil
	}
	return err
}

// Verify asks IAM whether the key is disabled or deleted.
func (t *Target) Verify(ctx context.Context, c target.Credential) (target.Proof, error) {
	s, err := t.Lookup(ctx, c)
	if err != nil {
		return target.Proof{}, err
	}
	p := target.Proof{Gone: s.Status == target.Gone, Text: "projects.serviceAccounts.keys.get: " + s.Detail}
	since := c.RevokedAt
	if since.IsZero() {
		since = t.now()
	}
	if until := since.Add(tokenLasts).UTC(); p.Gone && until.After(t.now()) {
		p.WorksUntil = until
		p.Text += "; access tokens that were got with it work for an hour at most"
	}
	return p, nil
}

// Restore enables the key again.
func (t *Target) Restore(ctx context.Context, c target.Credential) error {
	c.Found = or(c.Restore, c.Found)
	name, err := t.name(ctx, c)
	if errors.Is(err, errUnknown) {
		return impossible("find the key", err)
	}
	if err != nil {
		return err
	}
	_, err = call(ctx, t, "enable the key", name, "iam.serviceAccountKeys.enable", func(ctx context.Context) (*iam.Empty, error) {
		return t.iam.Projects.ServiceAccounts.Keys.Enable(name, &iam.EnableServiceAccountKeyRequest{}).Context(ctx).Do()
	})
	if status(err, http.StatusNotFound) {
		return impossible("enable the key", errors.New("it was deleted: make a new key for its account, or better let the workload use no key"))
	}
	return err
}

// FinishAfter is when a disabled key is deleted.
func (t *Target) FinishAfter(c target.Credential) time.Duration {
	key, err := schemas.ParseKey(c.Key)
	if err != nil || key.Type != typeKey || t.cfg.KeepDisabled {
		return 0
	}
	return t.cfg.DeleteAfter
}

// Finish deletes a key that is disabled.
func (t *Target) Finish(ctx context.Context, c target.Credential) error {
	name, err := t.name(ctx, c)
	if errors.Is(err, errUnknown) {
		return nil // nobody knows where it was: it is not there any more
	}
	if err != nil {
		return err
	}
	k, err := t.get(ctx, name)
	switch {
	case err != nil:
		return err
	case k == nil:
		return nil
	case !k.Disabled:
		return impossible("delete the key", errors.New("somebody enabled it again"))
	case t.own(name):
		return impossible("delete the key", target.ErrOwn)
	}
	_, err = call(ctx, t, "delete the key", name, "iam.serviceAccountKeys.delete", func(ctx context.Context) (*iam.Empty, error) {
		return t.iam.Projects.ServiceAccounts.Keys.Delete(name).Context(ctx).Do()
	})
	if status(err, http.StatusNotFound) {
		return nil
	}
	return err
}

// Collateral: a key is one credential, but everything that holds a copy of it
// stops, and IAM does not say who does.
func (t *Target) Collateral(ctx context.Context, c target.Credential) ([]target.Hit, error) {
	name, err := t.name(ctx, c)
	if err != nil {
		return nil, err
	}
	return []target.Hit{{Text: "every workload that holds a copy of this key of " + accountOf(name) + "; access tokens it got before work for an hour at most"}}, nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (t *Target) ownPrincipal() string {
	return schemas.Key{System: system, Instance: t.cfg.Instance, Type: typePrincipal, ID: "serviceAccount:" + t.cfg.ServiceAccount}.String()
}

func (t *Target) own(name string) bool { return accountOf(name) == t.cfg.ServiceAccount }

// Protected are the account that the enforcer acts as and all of its keys.
func (t *Target) Protected(ctx context.Context) ([]string, error) {
	list, err := t.keysOf(ctx, "projects/-/serviceAccounts/"+t.cfg.ServiceAccount)
	if err != nil {
		return nil, err
	}
	keys := []string{t.ownPrincipal()}
	for _, k := range list {
		keys = append(keys, schemas.Key{System: system, Instance: t.cfg.Instance, Type: typeKey, ID: idOf(k.Name)}.String())
	}
	return keys, nil
}

// Live counts the keys that are enabled.
func (t *Target) Live(ctx context.Context) (int, error) {
	keys, err := t.list(ctx)
	n := 0
	for _, k := range keys {
		if t.state(k, k.Name).Status == target.Alive {
			n++
		}
	}
	return n, err
}
