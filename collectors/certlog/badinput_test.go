package certlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// wrapped is a record around a leaf.
func wrapped(t testing.TB, leaf []byte, extra []byte) []byte {
	t.Helper()
	out, err := json.Marshal(map[string]any{"log": someLog, "index": 1, "leaf_input": leaf, "extra_data": extra})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestBadRecordsGetAReasonAndAreNotQuoted(t *testing.T) {
	ca := newAuthority(t, "CA")
	good := ca.certificate(leafTemplate(1, "spiffe://example.org/CANARY", "CANARY.example.com"), testBegin)
	pre := ca.precertificate(leafTemplate(1, "spiffe://example.org/CANARY"), testBegin)
	input, preInput := good.input(t), pre.input(t)
	with := func(raw []byte, at int, b byte) []byte {
		out := bytes.Clone(raw)
		out[at] = b
		return out
	}
	x509 := func(der []byte) []byte {
		out := bytes.Clone(input[:12])
		out = append(out, byte(len(der)>>16), byte(len(der)>>8), byte(len(der)))
		return append(append(out, der...), 0, 0)
	}
	der := good.leaf.TimestampedEntry.X509Entry.Data
	text := func(format string, args ...any) []byte { return fmt.Appendf(nil, format, args...) }
	for name, c := range map[string]struct {
		record []byte
		reason string
	}{
		"empty":                     {nil, "malformed"},
		"no JSON":                   {text("CANARY"), "malformed"},
		"an array":                  {text(`["CANARY"]`), "malformed"},
		"cut":                       {text(`{"leaf_input":"CANARY`), "truncated"},
		"no leaf":                   {text(`{"log":"CANARY","index":1}`), "malformed"},
		"leaf is a number":          {text(`{"leaf_input":5}`), "malformed"},
		"leaf is no base64":         {text(`{"leaf_input":"CANARY!!"}`), "malformed"},
		"index is text":             {text(`{"log":"x","index":"CANARY","leaf_input":%q}`, b64(input)), "malformed"},
		"index is negative":         {text(`{"log":"x","index":-1,"leaf_input":%q}`, b64(input)), "malformed"},
		"NUL":                       {text("{\"leaf_input\":\"CANARY\x00\"}"), "encoding"},
		"not UTF-8":                 {text("{\"leaf_input\":\"\xff\"}"), "encoding"},
		"deep":                      {text(`{"a":%s1%s}`, strings.Repeat("[", 400), strings.Repeat("]", 400)), "too_deep"},
		"too long":                  {text(`{"leaf_input":%q}`, strings.Repeat("A", 9<<20)), "too_long"},
		"leaf is empty":             {wrapped(t, nil, nil), "malformed"},
		"wrong version":             {wrapped(t, with(input, 0, 1), nil), "malformed"},
		"cut in the head":           {wrapped(t, input[:9], nil), "truncated"},
		"cut in the certificate":    {wrapped(t, input[:40], nil), "truncated"},
		"cut before the extensions": {wrapped(t, input[:len(input)-1], nil), "truncated"},
		"trailing bytes":            {wrapped(t, append(bytes.Clone(input), 0), nil), "malformed"},
		"trailing bytes, precert":   {wrapped(t, append(bytes.Clone(preInput), 0), nil), "malformed"},
		"precert cut in the hash":   {wrapped(t, preInput[:30], nil), "truncated"},
		"after the year 9999":       {wrapped(t, with(input, 2, 0x7f), nil), "malformed"},
		"no certificate":            {wrapped(t, x509(nil), nil), "malformed"},
		"not X.509":                 {wrapped(t, x509([]byte("CANARY")), nil), "malformed"},
		"certificate is cut":        {wrapped(t, x509(der[:len(der)-20]), nil), "malformed"},
		"bytes after certificate":   {wrapped(t, x509(append(bytes.Clone(der), 0)), nil), "malformed"},
		"a TBS as a certificate":    {wrapped(t, x509(pre.leaf.TimestampedEntry.PrecertEntry.TBSCertificate), nil), "malformed"},
		"a giant certificate":       {wrapped(t, x509(bytes.Repeat([]byte{0x30}, 1<<22)), nil), "malformed"},
		"alarm without log":         {text(`{"alarm":"gap","at":1790000000000}`), "malformed"},
		"alarm without time":        {text(`{"log":"x","alarm":"gap"}`), "malformed"},
		"alarm is free text":        {text(`{"log":"x","alarm":"CANARY CANARY","at":1790000000000}`), "malformed"},
	} {
		events, err := decodeOne(t, ours, c.record)
		var bad *source.Malformed
		if len(events) != 0 || !errors.As(err, &bad) {
			t.Errorf("%s: %d events, error %v", name, len(events), err)
			continue
		}
		if bad.Reason != c.reason || bad.Detail == "" {
			t.Errorf("%s: %s: %s; want %s", name, bad.Reason, bad.Detail, c.reason)
		}
		letter := source.DeadLetter(System, "default", source.Record{Bytes: c.record}, bad)
		if strings.Contains(err.Error()+letter.String(), "CANARY") {
			t.Errorf("%s: text of the record in %v, %v", name, err, letter)
		}
	}
}

func TestUnknownTypesAreKept(t *testing.T) {
	input := newAuthority(t, "CA").certificate(leafTemplate(1, "spiffe://example.org/a"), testBegin).input(t)
	for at, name := range map[int]string{1: "leaf_type_9_entry_0", 11: "leaf_type_0_entry_9"} {
		raw := bytes.Clone(input)
		raw[at] = 9
		ev := event(t, ours, wrapped(t, raw, nil))
		if ev.Kind != leastwisev1.Event_UNKNOWN || ev.Action != name || ev.RecordId != someLog+":1" {
			t.Errorf("%v", ev)
		}
	}
	if ev := event(t, ours, []byte(`{"log":"x","alarm":"new_kind","at":1790000000000}`)); ev.Kind != leastwisev1.Event_UNKNOWN {
		t.Errorf("%v", ev)
	}
}

func TestEntryFromTheFutureIsFlagged(t *testing.T) {
	ca := newAuthority(t, "CA")
	for after, want := range map[time.Duration]leastwisev1.Event_Flag{65*time.Minute - time.Second: leastwisev1.Event_NONE, 65*time.Minute + time.Second: leastwisev1.Event_FUTURE} {
		ev := event(t, ours, ca.certificate(leafTemplate(1, "spiffe://example.org/a"), testBegin.Add(after)).text(t, someLog, 1))
		if ev.Flag != want {
			t.Errorf("%s: flag %v", after, ev.Flag)
		}
	}
}

func TestFieldsThatAreNotOursAreNotCopied(t *testing.T) {
	e := newAuthority(t, "CA").certificate(leafTemplate(1, "spiffe://example.org/a"), testBegin)
	text := string(e.text(t, someLog, 1))
	with := strings.Replace(text, "{", `{"token":"CANARY","nested":{"private_key":"CANARY"},"at":"CANARY","tree_size":"CANARY",`, 1)
	a, b := event(t, ours, []byte(text)), event(t, ours, []byte(with))
	if a.String() != b.String() || strings.Contains(b.String(), "CANARY") {
		t.Errorf("%v\n%v", a, b)
	}
	alarm := string((&Alarm{Kind: AlarmGap}).record(someLog, testBegin))
	alarm = strings.Replace(alarm, `"root_hash":""`, `"root_hash":"CANARY!","detail":"CANARY","signature":{"x":"CANARY"}`, 1)
	if ev := event(t, ours, []byte(alarm)); strings.Contains(ev.String(), "CANARY") {
		t.Errorf("%v", ev)
	}
}
