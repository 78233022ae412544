package exceptionfile

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/enforcer/exception"
)

func stamp(at time.Time) *timestamppb.Timestamp { return timestamppb.New(at) }

func asJSON(t *testing.T, text string) any {
	t.Helper()
	var out any
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// clone is a repository whose people sign with SSH keys.
type clone struct {
	t            *testing.T
	dir, signers string
	keys         string
}

func newClone(t *testing.T) *clone {
	t.Helper()
	for _, tool := range []string{"git", "ssh-keygen"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	c := &clone{t: t, dir: t.TempDir(), keys: t.TempDir()}
	c.signers = filepath.Join(c.keys, "allowed")
	var allowed string
	for _, who := range []string{"ann@example.org", "bob@example.org", "noreply@github.com", "stranger@example.org"} {
		c.command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", who, "-f", filepath.Join(c.keys, who))
		public, err := os.ReadFile(filepath.Join(c.keys, who+".pub"))
		if err != nil {
			t.Fatal(err)
		}
		if who != "stranger@example.org" {
			allowed += who + " " + string(public)
		}
	}
	if err := os.WriteFile(c.signers, []byte(allowed), 0o600); err != nil {
		t.Fatal(err)
	}
	c.command("git", "init", "-q", "-b", "main", c.dir)
	c.write("README", "exceptions")
	c.commit("bob@example.org", "begin")
	return c
}

func (c *clone) command(name string, args ...string) {
	c.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// git as somebody; empty: nobody signs.
func (c *clone) git(who string, args ...string) {
	c.t.Helper()
	all := []string{"-C", c.dir, "-c", "user.name=x", "-c", "user.email=bob@example.org"} // what anybody may write
	if who != "" {
		all = append(all, "-c", "gpg.format=ssh", "-c", "commit.gpgSign=true", "-c", "user.signingKey="+filepath.Join(c.keys, who))
	}
	c.command("git", append(all, args...)...)
}

func (c *clone) write(name, text string) {
	c.t.Helper()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(c.dir, name)), 0o700); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *clone) commit(who, message string) {
	c.t.Helper()
	c.git(who, "add", "-A")
	c.git(who, "commit", "-q", "-m", message)
}

// change on a branch of its own, merged by somebody.
func (c *clone) change(author, merger, name, text string) {
	c.t.Helper()
	c.git("", "checkout", "-q", "-b", "change")
	c.write(name, text)
	c.commit(author, "change "+name)
	c.git("", "checkout", "-q", "main")
	c.git(merger, "merge", "-q", "--no-ff", "-m", "merge", "change")
	c.git("", "branch", "-q", "-D", "change")
}

var unnamed = strings.Split(batch, "    requested_by")[0]

func TestWhoAsksAndWhoApprovesIsWhoSignedTheCommitAndItsMerge(t *testing.T) {
	c := newClone(t)
	c.change("ann@example.org", "bob@example.org", "prod/a.yaml", unnamed)
	c.write("prod/a.yaml", "not committed")
	for _, path := range []string{c.dir, filepath.Join(c.dir, "prod"), filepath.Join(c.dir, "prod/a.yaml")} {
		entries, err := LoadVerified(t.Context(), path, c.signers)
		if err != nil || len(entries) != 1 || entries[0].RequestedBy != "ann@example.org" || entries[0].ApprovedBy != "bob@example.org" {
			t.Fatalf("%s: %+v %v", path, entries, err)
		}
		var log topic
		if applied(t, &log, entries, false, noon); valid(t, &log, noon) == "" {
			t.Errorf("%s: it is not in force", path)
		}
	}
}

func TestACommitWithoutAMergeOnlyAsks(t *testing.T) {
	c := newClone(t)
	c.write("a.yaml", unnamed)
	c.commit("ann@example.org", "straight to main")
	entries, err := LoadVerified(t.Context(), c.dir, c.signers)
	if err != nil || entries[0].RequestedBy != "ann@example.org" || entries[0].ApprovedBy != "" {
		t.Fatalf("%+v %v", entries, err)
	}
	var log topic
	applied(t, &log, entries, false, noon)
	all, _ := exception.List(t.Context(), &log)
	if valid(t, &log, noon) != "" || len(all) != 1 {
		t.Errorf("%v", all)
	}
	if _, err := exception.Approve(t.Context(), &log, all[0].Id, "bob", exception.Limits{}, noon); err != nil || valid(t, &log, noon) == "" {
		t.Errorf("approved otherwise: %v", err)
	}
	if out := applied(t, &log, entries, true, noon); out != "1 unchanged.\n" {
		t.Error(out)
	}
}

func TestWhatGitDoesNotProveIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		author, merger, text, want string
		then                       func(*clone)
	}{
		"nobody signed the commit":   {"", "bob@example.org", unnamed, "has no signature", nil},
		"nobody signed the merge":    {"ann@example.org", "", unnamed, "has no signature", nil},
		"a key that nobody knows":    {"stranger@example.org", "bob@example.org", unnamed, "nobody here vouches for", nil},
		"one person is both":         {"ann@example.org", "ann@example.org", unnamed, "somebody else has to merge", nil},
		"a service merged":           {"ann@example.org", "noreply@github.com", unnamed, "a service and no person", nil},
		"the file says another name": {"ann@example.org", "bob@example.org", strings.Replace(batch, "Ann@", "eve@", 1), `requested_by is "eve@example.org", and by git's signatures`, nil},
		"the merge changed the text": {"ann@example.org", "bob@example.org", unnamed, "holds another text than commit", func(c *clone) {
			c.write("a.yaml", strings.Replace(unnamed, "2026-12-31", "2036-12-31", 1))
			c.git("", "add", "-A")
			c.git("bob@example.org", "commit", "-q", "--amend", "-m", "merge")
		}},
		"two in one file": {"ann@example.org", "bob@example.org", unnamed + strings.TrimPrefix(strings.Replace(unnamed, "id: batch", "id: two", 1), "exceptions:\n"), "a second exception in one file", nil},
		"a commit put in place of another": {"", "bob@example.org", unnamed, "has no signature", func(c *clone) {
			c.git("", "checkout", "-q", "-b", "signed", "HEAD^2")
			c.git("ann@example.org", "commit", "-q", "--amend", "-m", "signed")
			c.git("", "checkout", "-q", "main")
			c.git("", "replace", "HEAD^2", "signed")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClone(t)
			c.change(test.author, test.merger, "a.yaml", test.text)
			if test.then != nil {
				test.then(c)
			}
			entries, err := LoadVerified(t.Context(), c.dir, c.signers)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "a.yaml:") {
				t.Errorf("%v, %v", entries, err)
			}
		})
	}
}

func TestWhoMayChangeTheRepositoryDoesNotNameItsSigners(t *testing.T) {
	c := newClone(t)
	c.change("ann@example.org", "bob@example.org", "a.yaml", unnamed)
	inside := filepath.Join(c.dir, "allowed")
	if err := os.Rename(c.signers, inside); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadVerified(t.Context(), c.dir, inside); !errors.Is(err, ErrUnverified) || !strings.Contains(err.Error(), "keep them outside") {
		t.Errorf("%v", err)
	}
	c.git("", "config", "gpg.ssh.allowedSignersFile", inside)
	if _, err := LoadVerified(t.Context(), c.dir, ""); !errors.Is(err, ErrUnverified) {
		t.Errorf("%v", err)
	}
	shallow := t.TempDir()
	c.command("git", "clone", "-q", "--depth", "1", "file://"+c.dir, shallow)
	if _, err := LoadVerified(t.Context(), shallow, ""); !errors.Is(err, ErrUnverified) || !strings.Contains(err.Error(), "shallow") {
		t.Errorf("%v", err)
	}
}

func TestASignatureOfGPGNamesTheAddressOfAKeyThatIsTrustedFully(t *testing.T) {
	c := newClone(t)
	for _, tool := range []string{"gpg", "gpgconf"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	home, err := os.MkdirTemp("", "gpg") // the socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	t.Setenv("GNUPGHOME", home)
	c.command("gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", "Ann Example <Ann@example.org>", "ed25519", "sign", "never")
	t.Cleanup(func() { c.command("gpgconf", "--kill", "gpg-agent") })
	c.write("a.yaml", unnamed)
	c.git("", "add", "-A")
	c.git("", "-c", "user.signingKey=Ann@example.org", "commit", "-q", "-S", "-m", "signed")
	entries, err := LoadVerified(t.Context(), c.dir, c.signers)
	if err != nil || entries[0].RequestedBy != "ann@example.org" {
		t.Fatalf("%v %v", entries, err)
	}
	for _, trust := range []string{"marginal", "undefined"} {
		level := map[string]string{"undefined": "2", "marginal": "4"}[trust]
		list, err := exec.Command("gpg", "--batch", "--with-colons", "--list-keys").Output()
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(string(list), "\nfpr:::::::::")
		fingerprint, _, _ := strings.Cut(after, ":")
		set := exec.Command("gpg", "--batch", "--quiet", "--import-ownertrust")
		set.Stdin = strings.NewReader(fingerprint + ":" + level + ":\n")
		if out, err := set.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if _, err := LoadVerified(t.Context(), c.dir, c.signers); err == nil || !strings.Contains(err.Error(), "nobody here vouches for") {
			t.Errorf("%s: %v", trust, err)
		}
	}
}
