package schemas

import (
	"errors"
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/schemas/migrations"
)

func TestEventIDsTellApartWhatConcatenationWouldNot(t *testing.T) {
	seen := map[[16]byte][4]string{}
	for _, parts := range [][4]string{{"a", "bc", "d", "0"}, {"ab", "c", "d", "0"}, {"a", "b", "cd", "0"}, {"", "abcd", "", "0"}, {"a", "bc", "d", "1"}} {
		id := EventID(parts[0], parts[1], parts[2], uint32(parts[3][0]-'0'))
		if other, ok := seen[id]; ok {
			t.Errorf("%v and %v have one id", parts, other)
		}
		seen[id] = parts
	}
}

func TestEventIDsNeverChange(t *testing.T) {
	got := EventID("vault", "default", "c850ea98-2551-90d4-636f-4934a1dd7723", 1)
	want := [16]byte{0x68, 0x94, 0x75, 0x75, 0xae, 0x49, 0x5d, 0x53, 0xd2, 0x52, 0xdf, 0xd0, 0x3f, 0x07, 0x8c, 0x27}
	if got != want {
		t.Fatalf("%#v: events already stored would be counted anew", got)
	}
}

func TestKeysComeBackAsTheyWere(t *testing.T) {
	for _, key := range []Key{{"vault", "default", "token", "hmac-sha256:7d"}, {"vault", "eu", "lease", "pki/issue/leased/AyV3"}} {
		got, err := ParseKey(key.String())
		if err != nil || got != key {
			t.Errorf("%v: %v %v", key, got, err)
		}
	}
	if got := (Key{"vault", "a/b", "token", "x"}).String(); got != "vault/a_b/token/x" {
		t.Error(got)
	}
	for _, bad := range []string{"", "vault", "vault/default/token", "vault//token/x", "vault/default/token/"} {
		if _, err := ParseKey(bad); !errors.Is(err, ErrKey) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestCoPartitionedTopicsAreTheOnesKeyedByCredential(t *testing.T) {
	for _, topic := range Topics() {
		if topic.CoPartitioned != (topic.Key == "credential key") {
			t.Errorf("%s: key %q, co-partitioned %v", topic.Name, topic.Key, topic.CoPartitioned)
		}
	}
}

var column = regexp.MustCompile(`^    \w+ +[A-Z]`)

func TestEveryTableViewAndColumnHasAComment(t *testing.T) {
	files, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		text, err := fs.ReadFile(migrations.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		up, _, found := strings.Cut(string(text), "-- +goose Down")
		if !found {
			t.Errorf("%s has no way down", name)
		}
		for _, statement := range strings.Split(up, ";\n") {
			head := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(statement), "-- +goose Up"))
			if !strings.HasPrefix(head, "CREATE") {
				continue
			}
			lines := strings.Split(head, "\n")
			if !strings.HasPrefix(lines[len(lines)-1], "COMMENT '") {
				t.Errorf("%s: %s has no comment", name, lines[0])
			}
			for _, line := range lines {
				if strings.HasPrefix(head, "CREATE TABLE") && column.MatchString(line) && !strings.Contains(line, " COMMENT '") {
					t.Errorf("%s: column without a comment: %s", name, line)
				}
			}
		}
	}
}
