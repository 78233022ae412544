package awsiam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
)

// maxSnapshot is the longest file that is read. The snapshot of an account at all of IAM's quotas is shorter.
const maxSnapshot = 1 << 30

// account is a snapshot, in the words of the API
// (https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountAuthorizationDetails.html).
type account struct {
	Users    []user
	Groups   []group
	Roles    []role
	Policies []managed
}

type user struct {
	Arn      string
	Groups   []string   `json:"GroupList"`
	Attached []attached `json:"AttachedManagedPolicies"`
	Inline   []inline   `json:"UserPolicyList"`
	Boundary *boundary  `json:"PermissionsBoundary"`
}

type group struct {
	Arn       string
	GroupName string
	Attached  []attached `json:"AttachedManagedPolicies"`
	Inline    []inline   `json:"GroupPolicyList"`
}

type role struct {
	Arn      string
	Trust    document   `json:"AssumeRolePolicyDocument"`
	Attached []attached `json:"AttachedManagedPolicies"`
	Inline   []inline   `json:"RolePolicyList"`
	Boundary *boundary  `json:"PermissionsBoundary"`
}

type managed struct {
	Arn              string
	DefaultVersionId string
	Versions         []version `json:"PolicyVersionList"`
}

type version struct {
	VersionId        string
	IsDefaultVersion bool
	Document         document
}

type inline struct {
	PolicyName     string
	PolicyDocument document
}

type attached struct{ PolicyArn string }

type boundary struct{ PermissionsBoundaryArn string }

// document is the JSON of a policy. The API gives it as text with percent signs (RFC 3986), the CLI as an object.
type document []byte

// UnmarshalJSON implements json.Unmarshaler.
func (d *document) UnmarshalJSON(value []byte) error {
	if value[0] != '"' {
		*d = bytes.Clone(value)
		return nil
	}
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		return err
	}
	*d = decoded(text)
	return nil
}

// decoded takes percent signs away where there are any. A text that is not so encoded stays as it is, and is refused or
// not when it is parsed.
func decoded(text string) document {
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		if plain, err := url.PathUnescape(text); err == nil {
			return document(plain)
		}
	}
	return document(text)
}

// readSnapshot reads a file: one page, or several after one another. Its errors quote nothing of the file.
func readSnapshot(r io.Reader) (*account, error) {
	limited := &io.LimitedReader{R: r, N: maxSnapshot + 1}
	decoder := json.NewDecoder(limited)
	var all account
	more, pages := false, 0
	for ; ; pages++ {
		var raw struct {
			UserDetailList  *[]user
			GroupDetailList *[]group
			RoleDetailList  *[]role
			Policies        *[]managed
			IsTruncated     bool
			NextToken       string
		}
		err := decoder.Decode(&raw)
		if errors.Is(err, io.EOF) {
			break
		}
		if limited.N <= 0 {
			return nil, fmt.Errorf("the snapshot is longer than %d bytes", int64(maxSnapshot))
		}
		if err != nil {
			return nil, fmt.Errorf("page %d is no answer of GetAccountAuthorizationDetails: %w", pages+1, quiet(err))
		}
		if raw.UserDetailList == nil && raw.GroupDetailList == nil && raw.RoleDetailList == nil && raw.Policies == nil {
			return nil, fmt.Errorf("page %d has none of UserDetailList, GroupDetailList, RoleDetailList and Policies", pages+1)
		}
		all.add(raw.UserDetailList, raw.GroupDetailList, raw.RoleDetailList, raw.Policies)
		more = raw.IsTruncated || raw.NextToken != ""
	}
	switch {
	case pages == 0:
		return nil, errors.New("the snapshot is empty")
	case more:
		return nil, errors.New("the snapshot is cut: its last page says that there is more; take it again without --max-items")
	}
	return &all, all.check()
}

func (a *account) add(users *[]user, groups *[]group, roles *[]role, policies *[]managed) {
	if users != nil {
		a.Users = append(a.Users, *users...)
	}
	if groups != nil {
		a.Groups = append(a.Groups, *groups...)
	}
	if roles != nil {
		a.Roles = append(a.Roles, *roles...)
	}
	if policies != nil {
		a.Policies = append(a.Policies, *policies...)
	}
}

// check refuses what can not be named.
func (a *account) check() error {
	named := true
	for _, u := range a.Users {
		named = named && u.Arn != ""
	}
	for _, g := range a.Groups {
		named = named && g.Arn != "" && g.GroupName != ""
	}
	for _, r := range a.Roles {
		named = named && r.Arn != ""
	}
	for _, p := range a.Policies {
		named = named && p.Arn != ""
	}
	if !named {
		return errors.New("the snapshot holds a user, a group, a role or a policy without its Arn")
	}
	return nil
}

// quiet takes values out of the errors of encoding/json.
func quiet(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("no valid JSON after %d bytes", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Errorf("the wrong kind of value at %q", kind.Field)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ends early")
	}
	return err
}
