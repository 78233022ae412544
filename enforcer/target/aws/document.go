package aws

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
)

// Sizes of all inline policies of a role or user together; white space is not
// counted. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
const (
	roleLimit = 10_240
	userLimit = 2_048
)

// document is an IAM policy whose statements stay as they are written.
type document struct {
	Version    string
	ID         string `json:"Id,omitempty"`
	Statements []json.RawMessage
}

// parseDocument reads what IAM gives, which is escaped as in a URL, or plain.
func parseDocument(text string) (document, error) {
	var d struct {
		Version   string
		ID        string `json:"Id"`
		Statement json.RawMessage
	}
	if err := strict([]byte(plain(text)), &d); err != nil {
		return document{}, err
	}
	out := document{Version: d.Version, ID: d.ID}
	switch body := bytes.TrimSpace(d.Statement); {
	case len(body) == 0:
		return out, errors.New("it has no Statement")
	case body[0] == '[':
		if err := json.Unmarshal(body, &out.Statements); err != nil {
			return out, errors.New("its Statement can not be read")
		}
	default:
		out.Statements = []json.RawMessage{body}
	}
	return out, nil
}

// plain is a document as it was written.
func plain(text string) string {
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		if p, err := url.PathUnescape(text); err == nil {
			return p
		}
	}
	return text
}

// strict refuses fields it does not know: what is not understood must not be
// carried over as if it were. Its errors quote no value.
func strict(text []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return errors.New("it is no JSON of the form that IAM's grammar gives")
	}
	if d.More() {
		return errors.New("it is followed by more text")
	}
	return nil
}

// text is the document as people read it; white space costs nothing.
func (d document) text() string {
	if d.Version == "" {
		d.Version = "2012-10-17"
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	// What was parsed, or made here, can be written.
	_ = e.Encode(struct {
		Version   string
		ID        string            `json:"Id,omitempty"`
		Statement []json.RawMessage `json:"Statement"`
	}{d.Version, d.ID, d.Statements})
	return strings.TrimRight(b.String(), "\n")
}

// size of a policy as IAM counts it.
func size(text string) (n int) {
	for _, r := range text {
		if !unicode.IsSpace(r) {
			n++
		}
	}
	return n
}

// same tells whether two policies are the same JSON.
func same(a, b string) bool {
	var x, y bytes.Buffer
	if json.Compact(&x, []byte(plain(a))) != nil || json.Compact(&y, []byte(plain(b))) != nil {
		return plain(a) == plain(b)
	}
	return bytes.Equal(x.Bytes(), y.Bytes())
}

// texts is one text or a list of them.
type texts []string

// UnmarshalJSON takes both forms.
func (t *texts) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] == '"' {
		*t = texts{""}
		return json.Unmarshal(raw, &(*t)[0])
	}
	var list []string
	if err := json.Unmarshal(raw, &list); err != nil {
		return errors.New("want a text or a list of texts")
	}
	*t = list
	return nil
}

// statement of a policy that stands on a role or user.
type statement struct {
	Sid         string `json:",omitempty"`
	Effect      string
	Action      texts           `json:",omitempty"`
	NotAction   texts           `json:",omitempty"`
	Resource    texts           `json:",omitempty"`
	NotResource texts           `json:",omitempty"`
	Condition   json.RawMessage `json:",omitempty"`
}

func parseStatement(raw json.RawMessage) (s statement, err error) {
	if err := strict(raw, &s); err != nil {
		return s, err
	}
	switch {
	case s.Effect != "Allow" && s.Effect != "Deny":
		return s, errors.New("its Effect is neither Allow nor Deny")
	case (len(s.Action) == 0) == (len(s.NotAction) == 0):
		return s, errors.New("it needs one of Action and NotAction")
	case (len(s.Resource) == 0) == (len(s.NotResource) == 0):
		return s, errors.New("it needs one of Resource and NotResource")
	}
	return s, nil
}

func (s statement) raw() json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // texts alone
	return bytes.TrimSpace(b.Bytes())
}

// statements of a policy, read.
func (d document) read() ([]statement, error) {
	list := make([]statement, len(d.Statements))
	for i, raw := range d.Statements {
		var err error
		if list[i], err = parseStatement(raw); err != nil {
			return nil, fmt.Errorf("statement %d: %w", i+1, err)
		}
	}
	return list, nil
}

// covers tells whether pattern matches everything that text, which may be a
// pattern itself, matches. * is any text, ? any one letter.
func covers(pattern, text string) bool {
	p, s, star, mark := 0, 0, -1, 0
	for s < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, s
			p++
		case p < len(pattern) && (pattern[p] == text[s] || pattern[p] == '?' && text[s] != '*'):
			p++
			s++
		case star >= 0:
			mark++
			p, s = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
