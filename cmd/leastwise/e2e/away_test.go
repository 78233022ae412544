package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// thirds cuts a log into three, each cut in the middle of a line.
func thirds(log []byte) (first, second, third []byte) {
	a, b := len(log)/3, 2*len(log)/3
	return log[:a], log[a:b], log[b:]
}

// untilEventsPast waits until more than n event rows are there.
func (p *product) untilEventsPast(n uint64) {
	p.t.Helper()
	p.until(func() string {
		if have, _ := p.number("SELECT count() FROM events"); have <= n {
			return fmt.Sprintf("%d event rows, want more than %d", have, n)
		}
		return ""
	})
}

func (p *product) events() uint64 {
	n, _ := p.number("SELECT count() FROM events")
	return n
}

func (p *product) checkpoint() []byte {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.cfg.DataDir, "vault-default.checkpoint.json"))
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}

func TestKafkaAwayAtStartAndLater(t *testing.T) {
	t.Parallel()
	p := newProduct(t, 2)
	log, truth := writeLog(t, mixed(1, 200, 4000))
	first, second, third := thirds(log)

	p.append(first)
	p.start()
	p.untilReadyzNames("kafka")
	if _, err := os.Stat(filepath.Join(p.cfg.DataDir, "vault-default.checkpoint.json")); err == nil {
		t.Error("the collector has moved its checkpoint though nothing can have been stored")
	}
	p.kafka.start()
	p.untilReady()
	p.untilEventsPast(uint64(truth.Records) / 4)

	for range 2 {
		p.kafka.stop()
		part := second[:len(second)/2]
		second = second[len(second)/2:]
		p.untilReadyzNames("kafka")
		before := p.checkpoint()
		p.append(part)
		p.untilReadyzNames("vault_kafka") // the collector holds it, and can not publish it
		if now := p.checkpoint(); !bytes.Equal(now, before) {
			t.Errorf("the collector moved its checkpoint while Kafka was away:\n%s\n%s", before, now)
		}
		seen := p.events()
		p.kafka.start()
		p.untilEventsPast(seen)
		p.untilReady()
	}
	p.append(second)
	p.append(third)
	p.untilComplete(truth)
}

func TestClickHouseAwayAtStartAndLater(t *testing.T) {
	t.Parallel()
	p := newProduct(t, 2)
	p.kafka.start()
	log, truth := writeLog(t, mixed(2, 200, 4000))
	first, second, third := thirds(log)

	p.append(first)
	p.door.set(away)
	p.start()
	p.untilReadyzNames("clickhouse")
	p.door.set(failing)
	p.untilRefused(3)
	// The tables are made while answers get lost.
	p.door.set(lostAtStart)
	p.untilEventsPast(uint64(truth.Records) / 4)
	if p.door.lostN.Load() == 0 {
		t.Error("no answer was lost while the tables were made")
	}
	p.door.set(well)
	p.untilReady()

	for _, how := range []manner{away, failing} {
		p.door.set(how)
		part := second[:len(second)/2]
		second = second[len(second)/2:]
		seen := p.events()
		p.append(part)
		p.untilReadyzNames("clickhouse")
		p.untilRefused(3)
		if now := p.events(); now != seen {
			t.Errorf("%d event rows came past a closed door", now-seen)
		}
		p.door.set(well)
		p.untilEventsPast(seen)
		p.untilReady()
	}

	p.append(second)
	p.door.set(lost)
	for len(third) > 0 {
		n := min(len(third), 256<<10)
		had := p.door.lostN.Load()
		p.append(third[:n])
		third = third[n:]
		p.until(func() string {
			if p.door.lostN.Load() == had {
				return "no INSERT was lost yet"
			}
			return ""
		})
	}
	p.door.set(well)
	p.untilComplete(truth)
	p.untilReady()
}

func (p *product) untilRefused(n uint64) {
	p.t.Helper()
	p.until(func() string {
		if have := p.door.refused.Load(); have < n {
			return fmt.Sprintf("%d requests were refused, want %d", have, n)
		}
		return ""
	})
}
