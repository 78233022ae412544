package certlog

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"

	ct "github.com/google/certificate-transparency-go"
)

// dynamic is a log with the API of RFC 6962, section 4.
type dynamic struct {
	*getter
	key *logKey
}

func (d *dynamic) ask(ctx context.Context, method string, query url.Values, limit int64, into any) error {
	text, err := d.get(ctx, "ct/v1/"+method, query, limit)
	if err != nil {
		return err
	}
	if json.Unmarshal(text, into) != nil { // its error quotes the text
		return fmt.Errorf("%s: %w as JSON", method, errUnreadable)
	}
	return nil
}

func (d *dynamic) head(ctx context.Context) (Head, error) {
	var answer ct.GetSTHResponse
	if err := d.ask(ctx, "get-sth", nil, maxSmall, &answer); err != nil {
		return Head{}, err
	}
	h := Head{Size: answer.TreeSize, Root: answer.SHA256RootHash, Timestamp: answer.Timestamp, Signature: answer.TreeHeadSignature}
	return h, d.key.verify(h)
}

func (d *dynamic) entries(ctx context.Context, from, to uint64, _ Head) ([]entry, error) {
	var answer ct.GetEntriesResponse
	query := url.Values{"start": {decimal(from)}, "end": {decimal(to - 1)}}
	if err := d.ask(ctx, "get-entries", query, maxBody, &answer); err != nil {
		return nil, withheld(err)
	}
	if len(answer.Entries) == 0 {
		return nil, fmt.Errorf("%w: get-entries gives none of the entries %d to %d", errWithheld, from, to-1)
	}
	out := make([]entry, 0, len(answer.Entries))
	for _, e := range answer.Entries {
		out = append(out, entry{leaf: e.LeafInput, extra: e.ExtraData})
	}
	return out[:min(uint64(len(out)), to-from)], nil
}

func (d *dynamic) consistency(ctx context.Context, first, second uint64) ([][]byte, error) {
	var answer ct.GetSTHConsistencyResponse
	query := url.Values{"first": {decimal(first)}, "second": {decimal(second)}}
	err := d.ask(ctx, "get-sth-consistency", query, maxSmall, &answer)
	return answer.Consistency, withheld(err)
}

func (d *dynamic) inclusion(ctx context.Context, index uint64, leafHash []byte, size uint64) ([][]byte, error) {
	var answer ct.GetProofByHashResponse
	query := url.Values{"hash": {base64.StdEncoding.EncodeToString(leafHash)}, "tree_size": {decimal(size)}}
	if err := d.ask(ctx, "get-proof-by-hash", query, maxSmall, &answer); err != nil {
		return nil, withheld(err)
	}
	if answer.LeafIndex < 0 || uint64(answer.LeafIndex) != index {
		return nil, &Alarm{Kind: AlarmWrongInclusion,
			Detail: fmt.Sprintf("the log gives an entry as number %d and proves it to be number %d", index, answer.LeafIndex)}
	}
	return answer.AuditPath, nil
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }
