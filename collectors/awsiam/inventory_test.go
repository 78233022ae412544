package awsiam

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// kafka keeps what was published.
type kafka struct {
	mu   sync.Mutex
	said []*leastwisev1.Grant
	keys []string
}

func (k *kafka) Publish(_ context.Context, messages ...stream.Message) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, m := range messages {
		var fact leastwisev1.Fact
		if err := fact.UnmarshalVT(m.Value); err != nil {
			return err
		}
		k.said = append(k.said, fact.GetGrant())
		k.keys = append(k.keys, string(m.Key))
	}
	return nil
}

// take gives what was published since, by what the id ends with.
func (k *kafka) take() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []string
	for i, grant := range k.said {
		if k.keys[i] != grant.Id {
			out = append(out, "key "+k.keys[i])
		}
		text := strings.TrimPrefix(grant.Id, "cloudtrail/default/")
		if grant.Deleted {
			text = "deleted " + text
		}
		out = append(out, text)
	}
	k.said, k.keys = nil, nil
	return out
}

func inventory(t *testing.T, cfg Config) (*Inventory, *kafka, *collect.Collector) {
	t.Helper()
	published := &kafka{}
	collector, err := collect.New(collect.Options{Source: System, Instance: "default",
		Deps: collect.Deps{Stream: published, Env: daemon.Env{Now: time.Now}}})
	if err != nil {
		t.Fatal(err)
	}
	i, err := New(cfg, collector)
	if err != nil {
		t.Fatal(err)
	}
	return i, published, collector
}

func write(t *testing.T, path, text string, at time.Time) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func role1(actions string) string {
	return fmt.Sprintf(`{"RoleDetailList": [{"Arn": "arn:aws:iam::1:role/a", "RolePolicyList": [{"PolicyName": "p", "PolicyDocument":
		{"Statement": {"Effect": "Allow", "Action": %q, "Resource": "*"}}}]}, {"Arn": "arn:aws:iam::1:role/b"}]}`, actions)
}

func TestOnlyWhatChangedIsPublishedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "details.json")
	i, published, _ := inventory(t, Config{Files: []string{path}})
	round := func(want ...string) {
		t.Helper()
		if err := i.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := published.take(); !slices.Equal(got, want) {
			t.Fatalf("published %q, want %q", got, want)
		}
	}
	start := time.Unix(1_700_000_000, 0)
	write(t, path, role1("s3:Get*"), start)
	round("policy/arn:aws:iam::1:role/a#p", "principal/arn:aws:iam::1:role/a", "principal/arn:aws:iam::1:role/b")
	round()
	write(t, path, role1("s3:Put*"), start.Add(time.Minute))
	round("policy/arn:aws:iam::1:role/a#p")
	write(t, path, `{"RoleDetailList": [{"Arn": "arn:aws:iam::1:role/a"}]}`, start.Add(2*time.Minute))
	if err := i.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := published.take()
	slices.Sort(got)
	if want := []string{"deleted policy/arn:aws:iam::1:role/a#p", "deleted principal/arn:aws:iam::1:role/b", "principal/arn:aws:iam::1:role/a"}; !slices.Equal(got, want) {
		t.Fatalf("published %q, want %q", got, want)
	}
}

func TestASnapshotIsDatedByItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "details.json")
	at := time.Unix(1_700_000_000, 0)
	write(t, path, role1("*"), at)
	i, published, _ := inventory(t, Config{Files: []string{path}})
	if err := i.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := published.said[0].AsOf.AsTime(); !got.Equal(at) {
		t.Fatalf("as of %v, want %v", got, at)
	}
}

func TestAFileThatIsBrokenChangesNothingAndIsReadAgainWhenItIsMended(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "1.json"), filepath.Join(dir, "2.json")
	at := time.Unix(1_700_000_000, 0)
	write(t, one, role1("s3:*"), at)
	write(t, two, `{"Policies": [`, at)
	i, published, _ := inventory(t, Config{Files: []string{one, two}})
	if err := i.Round(t.Context()); err == nil || !strings.Contains(err.Error(), "2.json") || len(published.take()) != 0 {
		t.Fatalf("%v: the error names the file, and nothing is published", err)
	}
	write(t, two, `{"Policies": []}`, at.Add(time.Second))
	if err := i.Round(t.Context()); err != nil || len(published.take()) != 3 {
		t.Fatalf("%v: all is published once both can be read", err)
	}
	if err := os.Remove(two); err != nil {
		t.Fatal(err)
	}
	if err := i.Round(t.Context()); !errors.Is(err, os.ErrNotExist) || len(published.take()) != 0 {
		t.Fatalf("%v: a file that is gone deletes nothing", err)
	}
}

// answer is one page as the API writes it.
func answer(marker, content string) string {
	more := "<IsTruncated>false</IsTruncated>"
	if marker != "" {
		more = "<IsTruncated>true</IsTruncated><Marker>" + marker + "</Marker>"
	}
	return `<GetAccountAuthorizationDetailsResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><GetAccountAuthorizationDetailsResult>` +
		more + content + `</GetAccountAuthorizationDetailsResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetAccountAuthorizationDetailsResponse>`
}

func api(t *testing.T, pages map[string]string) Config {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret-canary")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, ok := pages[r.FormValue("Marker")]
		if !ok {
			http.Error(w, "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>", http.StatusForbidden)
			return
		}
		fmt.Fprint(w, page)
	}))
	t.Cleanup(server.Close)
	return Config{Endpoint: server.URL}
}

func TestTheAPIIsAskedPageByPage(t *testing.T) {
	document := url.PathEscape(`{"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}`)
	cfg := api(t, map[string]string{
		"": answer("2", `<UserDetailList><member><Arn>arn:aws:iam::1:user/u</Arn><UserName>u</UserName><GroupList><member>g</member></GroupList>
			<PermissionsBoundary><PermissionsBoundaryArn>arn:aws:iam::1:policy/b</PermissionsBoundaryArn></PermissionsBoundary></member></UserDetailList>`),
		"2": answer("", `<GroupDetailList><member><Arn>arn:aws:iam::1:group/g</Arn><GroupName>g</GroupName><GroupPolicyList><member>
			<PolicyName>p</PolicyName><PolicyDocument>`+document+`</PolicyDocument></member></GroupPolicyList></member></GroupDetailList>`),
	})
	i, published, _ := inventory(t, cfg)
	if err := i.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(published.said) != 2 {
		t.Fatalf("published %q", published.take())
	}
	if got, want := say(published.said[0]), "deny=false if=false [s3:*] not[] on [*] not[]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := say(published.said[1]), "policy/arn:aws:iam::1:group/g#p; within policy/arn:aws:iam::1:policy/b"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestWhatTheAPIDoesNotGiveWholeIsNotPublished(t *testing.T) {
	role := `<RoleDetailList><member><Arn>arn:aws:iam::1:role/r</Arn></member></RoleDetailList>`
	for name, pages := range map[string]map[string]string{
		"the second page is refused": {"": answer("2", role)},
		"the same page again":        {"": answer("2", role), "2": answer("2", role)},
		"no arn":                     {"": answer("", `<RoleDetailList><member></member></RoleDetailList>`)},
	} {
		i, published, _ := inventory(t, api(t, pages))
		if err := i.Round(t.Context()); err == nil || len(published.take()) != 0 || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTroubleIsToldAndTheRunGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing.json")
	i, _, collector := inventory(t, Config{Files: []string{path}, Interval: time.Millisecond})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- i.Run(ctx) }()
	await(t, func() bool { return strings.Contains(collector.Trouble("inventory"), "missing.json") })
	write(t, path, role1("*"), time.Unix(1_700_000_000, 0))
	await(t, func() bool { return collector.Trouble("inventory") == "" })
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// await polls until something has come about.
func await(t *testing.T, ready func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ready() {
		if time.Now().After(deadline) {
			t.Fatal("it did not come about within 30 s")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestAConfigurationThatCanNotWorkIsRefused(t *testing.T) {
	for name, cfg := range map[string]Config{
		"negative": {Interval: -1}, "files and API": {Files: []string{"a"}, Endpoint: "http://x"}, "empty path": {Files: []string{""}},
	} {
		if _, err := New(cfg, nil); err == nil || !strings.Contains(err.Error(), "iam_inventory") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
