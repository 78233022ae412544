package exceptionfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrUnverified is wrapped by everything that git does not prove.
var ErrUnverified = errors.New("git does not prove it")

// git runs the git binary on one clone.
type git struct {
	top     string
	head    string // the commit that is read, whatever is checked out meanwhile
	signers string
}

// LoadVerified reads what HEAD holds, not the folder, and takes names from the signatures of commits: who signed the commit
// that changed the file last asks; who signed the merge that brought it into the first-parent line approves. A commit that
// came without a merge has one signature, so its exception waits for somebody's approval. Each file holds one exception,
// since git tells who changed a file and not who changed a line. signers is a file of SSH keys outside of the clone; empty:
// what git is configured with.
func LoadVerified(ctx context.Context, path, signers string) ([]*Entry, error) {
	g, under, err := openClone(ctx, path, signers)
	if err != nil {
		return nil, err
	}
	list := []string{"ls-tree", "-r", "-z", "--name-only", "--full-tree", g.head}
	if under != "." {
		list = append(list, "--", under)
	}
	names, err := g.run(ctx, list...)
	if err != nil {
		return nil, err
	}
	var files []file
	for _, name := range strings.Split(strings.TrimRight(names, "\x00"), "\x00") {
		if !isYAML(name) || strings.HasPrefix(name, ".") || strings.Contains(name, "/.") {
			continue
		}
		data, err := g.run(ctx, "cat-file", "blob", g.head+":"+name)
		if err != nil {
			return nil, err
		}
		files = append(files, file{name, []byte(data)})
	}
	all, err := parse(files)
	if err != nil {
		return nil, err
	}
	in := map[string]*Entry{}
	for _, e := range all {
		if in[e.File] != nil {
			return nil, e.problem("a second exception in one file; with --verify-commits each has a file of its own, since git tells who changed a file")
		}
		in[e.File] = e
		asks, approves, err := g.names(ctx, e.File)
		if err != nil {
			return nil, e.problem("%v", err)
		}
		for key, names := range map[string][2]string{"requested_by": {e.RequestedBy, asks}, "approved_by": {e.ApprovedBy, approves}} {
			if names[0] != "" && !strings.EqualFold(strings.TrimSpace(names[0]), names[1]) {
				return nil, e.problem("%s is %q, and by git's signatures it is %q; leave it out, or write what git shows", key, names[0], names[1])
			}
		}
		e.RequestedBy, e.ApprovedBy = asks, approves
	}
	return all, nil
}

func openClone(ctx context.Context, path, signers string) (g git, under string, err error) {
	if path, err = realPath(path); err != nil {
		return g, "", fmt.Errorf("read exceptions: %w", err)
	}
	g.top = path
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		g.top = filepath.Dir(path)
	}
	top, err := g.run(ctx, "rev-parse", "--show-toplevel")
	if err != nil {
		return g, "", err
	}
	g.top = strings.TrimSpace(top)
	if under, err = filepath.Rel(g.top, path); err != nil {
		return g, "", fmt.Errorf("read exceptions: %w", err)
	}
	head, err := g.run(ctx, "rev-parse", "--verify", "HEAD^{commit}")
	if err != nil {
		return g, "", err
	}
	g.head = strings.TrimSpace(head)
	if shallow, err := g.run(ctx, "rev-parse", "--is-shallow-repository"); err != nil {
		return g, "", err
	} else if strings.TrimSpace(shallow) != "false" {
		return g, "", fmt.Errorf("%w: the clone is shallow, so its oldest commit stands for all before it; run git fetch --unshallow", ErrUnverified)
	}
	if signers == "" {
		signers, _ = g.run(ctx, "config", "--type=path", "gpg.ssh.allowedSignersFile") // fails if it is not set
		signers = strings.TrimSpace(signers)
	}
	if signers != "" {
		if signers, err = outside(signers, g.top); err != nil {
			return g, "", err
		}
	}
	g.signers = signers
	return g, under, nil
}

// outside refuses keys that whoever changes the repository may change, too.
func outside(signers, top string) (string, error) {
	path, err := realPath(signers)
	if err != nil {
		return "", fmt.Errorf("allowed signers: %w", err)
	}
	if rel, err := filepath.Rel(top, path); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
		return "", fmt.Errorf("%w: the allowed signers %s are in the repository itself, so whoever changes it names them; keep them outside", ErrUnverified, signers)
	}
	return path, nil
}

// realPath is absolute and without symbolic links.
func realPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}

// names of who asks and who approves what a file of HEAD holds; approves is empty if nobody but the first has signed.
func (g git) names(ctx context.Context, name string) (asks, approves string, err error) {
	brought, err := g.run(ctx, "log", "-1", "--first-parent", "--format=%H %P", g.head, "--", name)
	if err != nil {
		return "", "", err
	}
	commits := strings.Fields(brought)
	if len(commits) == 0 {
		return "", "", fmt.Errorf("%w: no commit of HEAD brings this file", ErrUnverified)
	}
	merge, changed := "", commits[0]
	if len(commits) > 2 {
		merge = commits[0]
		list, err := g.run(ctx, "log", "-1", "--no-merges", "--full-history", "--format=%H", merge, "^"+commits[1], "--", name)
		if err != nil {
			return "", "", err
		}
		if changed = strings.TrimSpace(list); changed == "" {
			return "", "", fmt.Errorf("%w: merge %s changes the file by itself, so nobody else wrote it", ErrUnverified, short(merge))
		}
		same, err := g.run(ctx, "rev-parse", merge+":"+name, changed+":"+name)
		if err != nil {
			return "", "", err
		}
		if blobs := strings.Fields(same); len(blobs) != 2 || blobs[0] != blobs[1] {
			return "", "", fmt.Errorf("%w: merge %s holds another text than commit %s, which it merges", ErrUnverified, short(merge), short(changed))
		}
	}
	if asks, err = g.signer(ctx, changed); err != nil || merge == "" {
		return asks, "", err
	}
	if approves, err = g.signer(ctx, merge); err != nil {
		return "", "", err
	}
	if approves == asks {
		return "", "", fmt.Errorf("%w: %s signed commit %s and its merge %s; somebody else has to merge", ErrUnverified, asks, short(changed), short(merge))
	}
	return asks, approves, nil
}

// signer of a commit, by a signature that is good and whose key is trusted to be that person's.
func (g git) signer(ctx context.Context, commit string) (string, error) {
	told, err := g.run(ctx, "show", "--no-patch", "--format=%G?%x00%GT%x00%GS", commit)
	if err != nil {
		return "", err
	}
	parts := strings.Split(strings.TrimSuffix(told, "\n"), "\x00")
	if len(parts) != 3 {
		return "", fmt.Errorf("%w: git tells nothing of the signature of commit %s", ErrUnverified, short(commit))
	}
	good, trust, who := parts[0], parts[1], parts[2]
	if good != "G" || trust != "fully" && trust != "ultimate" {
		return "", fmt.Errorf("%w: commit %s has %s", ErrUnverified, short(commit), lacking(good))
	}
	if at := strings.LastIndexByte(who, '<'); at >= 0 && strings.HasSuffix(who, ">") {
		who = who[at+1 : len(who)-1]
	}
	who = strings.ToLower(strings.TrimSpace(who))
	if local, _, _ := strings.Cut(who, "@"); who == "" || local == "noreply" || local == "no-reply" {
		return "", fmt.Errorf("%w: commit %s was signed by %q, a service and no person", ErrUnverified, short(commit), who)
	}
	return who, nil
}

func lacking(good string) string {
	switch good {
	case "N":
		return "no signature"
	case "B":
		return "a bad signature"
	case "X", "Y", "R":
		return "a signature whose time or key is over"
	case "E":
		return "a signature by a key that is not known here"
	default:
		return "a signature by a key that nobody here vouches for"
	}
}

func short(commit string) string { return commit[:min(len(commit), 12)] }

// run gives what git prints. What a repository holds can not change what a commit is (no replacements, no grafts), and runs
// nothing (no hooks, no monitor).
func (g git) run(ctx context.Context, args ...string) (string, error) {
	all := []string{"--no-replace-objects", "-C", g.top, "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "log.showSignature=false"}
	if g.signers != "" {
		all = append(all, "-c", "gpg.ssh.allowedSignersFile="+g.signers)
	}
	cmd := exec.CommandContext(ctx, "git", append(all, args...)...)
	cmd.Env = append(os.Environ(), "GIT_GRAFT_FILE=/dev/null", "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0", "GIT_LITERAL_PATHSPECS=1")
	var out, told bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &told
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(told.String()))
	}
	return out.String(), nil
}
