// Package amplify makes much CloudTrail of little: the records of one recorded attack again and again, each time with
// ids, access keys, principals and times of their own, in gzip files laid out as the vendor lays them out.
//
// The same options give the same files. What belongs together in the recording belongs together in each copy of it: a
// key that STS issues is the key of the calls that follow.
package amplify

import (
	"bufio"
	"compress/gzip"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// The records of OTRF Security-Datasets, MIT licence (LICENSE).
//
//go:embed records.jsonl
var recording []byte

// Options of the files.
type Options struct {
	Dir   string
	Seed  uint64
	Bytes int64 // unpacked; the last file is finished after it
	// FileCopies of the recording go into one file; 0 is 40, some four thousand records.
	FileCopies int
}

// Truth is what was written.
type Truth struct {
	Files   []string
	Records int   // each with an id of its own
	Keys    int   // distinct access keys
	Bytes   int64 // unpacked
	Packed  int64
}

// accounts of the organisation. A file holds records of one.
const accounts = 64

// step is by how much a copy is later than the one before it.
const step = 97 * time.Second

// Write makes the files. It fails only if they can not be written.
func Write(opts Options) (truth Truth, err error) {
	if opts.FileCopies <= 0 {
		opts.FileCopies = 40
	}
	templates, err := parse(recording)
	if err != nil {
		return truth, err
	}
	for number := 0; truth.Bytes < opts.Bytes; {
		// As many at a time as there are processors: packing is what takes the time.
		wave := make([]written, max(1, runtime.GOMAXPROCS(0)))
		var writing sync.WaitGroup
		for i := range wave {
			writing.Go(func() { wave[i] = writeFile(opts, templates, number+i) })
		}
		writing.Wait()
		for _, w := range wave {
			if w.err != nil {
				return truth, fmt.Errorf("write %s: %w", w.name, w.err)
			}
			if truth.Bytes >= opts.Bytes { // one too many
				if err := os.Remove(w.name); err != nil {
					return truth, err
				}
				continue
			}
			number++
			truth.Files = append(truth.Files, w.name)
			truth.Bytes, truth.Packed = truth.Bytes+w.bytes, truth.Packed+w.packed
		}
	}
	copies := len(truth.Files) * opts.FileCopies
	truth.Records, truth.Keys = copies*len(templates), copies*keys(templates)
	return truth, nil
}

// written is what became of a file.
type written struct {
	name          string
	bytes, packed int64
	err           error
}

// writeFile of that number.
func writeFile(opts Options, templates []template, number int) (w written) {
	first := number * opts.FileCopies
	at := began.Add(time.Duration(first) * step)
	account := fmt.Sprintf("%012d", 210000000000+uint64(number%accounts)*1234567)
	w.name = filepath.Join(opts.Dir, "AWSLogs", account, "CloudTrail", "us-east-1", at.Format("2006/01/02"),
		fmt.Sprintf("%s_CloudTrail_us-east-1_%s_%s.json.gz", account, at.Format("20060102T1504Z"), letters(mix(opts.Seed, uint64(number)), 16)))
	w.bytes, w.packed, w.err = pack(w.name, func(out *bufio.Writer) (n int64) {
		n += text(out, `{"Records":[`)
		for i := range opts.FileCopies {
			c := round{seed: mix(opts.Seed, uint64(first+i)), account: account, shift: time.Duration(first+i) * step}
			for j := range templates {
				if i+j > 0 {
					n += text(out, ",")
				}
				n += templates[j].write(out, &c)
			}
		}
		return n + text(out, "]}")
	})
	return w
}

func pack(name string, write func(*bufio.Writer) int64) (written, packed int64, err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return 0, 0, err
	}
	file, err := os.Create(name)
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		if closing := file.Close(); err == nil {
			err = closing
		}
	}()
	packer := gzip.NewWriter(file)
	out := bufio.NewWriterSize(packer, 64<<10)
	written = write(out)
	if err := out.Flush(); err != nil {
		return 0, 0, err
	}
	if err := packer.Close(); err != nil {
		return 0, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return 0, 0, err
	}
	return written, info.Size(), nil
}

// text is written; an error stays in the writer until it is flushed.
func text(out *bufio.Writer, s string) int64 {
	n, _ := out.WriteString(s)
	return int64(n)
}
