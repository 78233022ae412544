package spire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
)

// Bounds of what the inventory remembers.
const (
	maxLive = 100_000
	maxTold = 1_000_000
)

// inventory asks the server, in rounds, for what the log does not say: who may get which SVID, which agents there are and
// which SVIDs they hold, which trust domains are federated. What it may not read it names, and goes on with the rest; it
// never stops the collector.
type inventory struct {
	cfg       InventoryConfig
	collector *Collector
	wake      chan struct{}

	mu sync.Mutex
	// live are SVIDs seen issued since the last look, with what their events say; under mu.
	live map[string]issuedSVID

	// Only in run's goroutine.
	told    map[string]string            // what was published last, so that what did not change is not published again
	entries map[string]map[string]string // labels of each entry, as of the last round
	links   map[string]*link             // that were published and hold
	loaded  bool
	// attested are the agents of the round: their join tokens are spent.
	attested map[string]bool
}

// issuedSVID is one that is still good.
type issuedSVID struct {
	entry, principal string
	expires          time.Time
}

// link is what links.json remembers of a link, so that it can be retracted after a restart.
type link struct {
	Kind int32  `json:"kind"`
	From string `json:"from"`
	To   string `json:"to"`
}

func newInventory(cfg InventoryConfig, c *Collector) *inventory {
	return &inventory{cfg: cfg, collector: c, wake: make(chan struct{}, 1), live: map[string]issuedSVID{},
		told: map[string]string{}, links: map[string]*link{}}
}

// notice learns from an event of the log. It is called by the goroutine that reads records and does not block.
func (i *inventory) notice(ev *leastwisev1.Event) {
	if ev.Kind != leastwisev1.Event_ISSUED || ev.Credential == "" || ev.Labels["entry_id"] == "" {
		return
	}
	expires := ev.Lifetime.GetExpiresAt()
	if expires == nil || expires.AsTime().Before(i.collector.Now()) {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.live) >= maxLive {
		return // the next round makes room
	}
	i.live[ev.Credential] = issuedSVID{ev.Labels["entry_id"], ev.Principal, expires.AsTime()}
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

// run makes rounds until ctx ends. Between them it tells what entries say of SVIDs that were issued meanwhile.
func (i *inventory) run(ctx context.Context) error {
	due := time.Now()
	for {
		timer := time.NewTimer(time.Until(due))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
			began := time.Now()
			err := i.round(ctx)
			next := i.cfg.Interval
			if err != nil {
				next = min(next, time.Minute)
			}
			due = began.Add(next)
			i.report(ctx, err)
		case <-i.wake:
			timer.Stop()
			unknown, err := i.describeLive(ctx)
			if err != nil && ctx.Err() == nil {
				i.report(ctx, err)
			}
			if unknown { // an entry made since the last round: ask sooner
				if soon := time.Now().Add(min(i.cfg.Interval, 10*time.Second)); soon.Before(due) {
					due = soon
				}
			}
		}
	}
}

func (i *inventory) report(ctx context.Context, err error) {
	if ctx.Err() == nil {
		i.collector.Say("inventory", err)
	}
}

// round reads everything once. Parts are independent: what one may not read does not hold up the others.
func (i *inventory) round(ctx context.Context) (err error) {
	limited, cancel := context.WithTimeout(ctx, i.cfg.Timeout)
	defer cancel()
	s, err := dial(limited, i.cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	var batch []stream.Message
	put := func(ev *leastwisev1.Event) {
		if i.news(ev.RecordId[:len(ev.RecordId)-16], ev.RecordId) {
			batch = append(batch, i.collector.Message(ev))
		}
	}
	i.attested = map[string]bool{}
	errs := []error{
		s.agents(limited, func(a *types.Agent) {
			i.attested[spiffeID(a.Id)] = true
			put(i.agentEvent(a))
		}),
		s.bundles(limited, func(b *types.Bundle, own bool) { put(i.bundleEvent(b, own)) }),
		s.federation(limited, func(f *types.FederationRelationship) { put(i.federationEvent(f)) }),
	}
	entries, found := map[string]map[string]string{}, map[string]*link{}
	if err := s.entries(limited, func(e *types.Entry) {
		ev := i.entryEvent(e)
		put(ev)
		entries[e.Id] = ev.Labels
		i.entryLinks(found, e, ev)
	}); err != nil {
		errs = append(errs, err)
	} else {
		i.entries = entries
		messages, changed, err := i.changedLinks(found)
		errs = append(errs, err)
		if err == nil && changed {
			if err := i.collector.Send(ctx, messages...); err != nil {
				return err
			}
			i.links = found
			errs = append(errs, i.saveLinks())
		}
	}
	if err := i.collector.Send(ctx, batch...); err != nil {
		return err
	}
	_, err = i.describeLive(ctx)
	return together(append(errs, err))
}

// news is whether this was not told before.
func (i *inventory) news(of, what string) bool {
	if i.told[of] == what {
		return false
	}
	if len(i.told) >= maxTold { // a bound, not a cache: then everything is told once more
		clear(i.told)
	}
	i.told[of] = what
	return true
}

// describeLive publishes what entries say of SVIDs that are still good: whether an SVID is an administrator's is not in
// the log. unknown is whether some belong to an entry that is not known yet.
func (i *inventory) describeLive(ctx context.Context) (unknown bool, err error) {
	if i.entries == nil {
		return false, nil
	}
	now := i.collector.Now()
	var batch []stream.Message
	i.mu.Lock()
	for credential, svid := range i.live {
		labels, known := i.entries[svid.entry]
		switch {
		case svid.expires.Before(now):
			delete(i.live, credential)
		case known:
			delete(i.live, credential)
			batch = append(batch, i.collector.Message(i.svidEvent(credential, svid, labels)))
		default:
			unknown = true
		}
	}
	i.mu.Unlock()
	return unknown, i.collector.Send(ctx, batch...)
}

func (i *inventory) linksPath() string { return i.collector.statePath("links") }

// loadLinks reads which links were published before a restart. A damaged file is no reason to stop: links that hold are
// published again; only those that ended meanwhile stay, which is said.
func (i *inventory) loadLinks() error {
	text, err := os.ReadFile(i.linksPath())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, &i.links)
	}
	if err != nil || i.links == nil {
		i.links = map[string]*link{}
	}
	if err != nil {
		return fmt.Errorf("read %s: %w; links of entries that were deleted meanwhile are not retracted", i.linksPath(), err)
	}
	return nil
}

func (i *inventory) saveLinks() error {
	text, err := json.Marshal(i.links)
	if err != nil {
		return fmt.Errorf("write links: %w", err)
	}
	if err := source.ReplaceFile(i.linksPath(), text); err != nil {
		return fmt.Errorf("write links: %w", err)
	}
	return nil
}

// changedLinks gives the messages of links that are new, and of those that no longer hold.
func (i *inventory) changedLinks(found map[string]*link) (messages []stream.Message, changed bool, err error) {
	first := !i.loaded
	if first {
		i.loaded = true
		err = i.loadLinks()
		if err != nil {
			i.report(context.Background(), err)
		}
	}
	for id, l := range found {
		if i.links[id] == nil || first { // after a start all are told once more, with the time of now
			messages = append(messages, i.linkMessage(id, l, false))
			changed = true
		}
	}
	for id, l := range i.links {
		if found[id] == nil {
			messages = append(messages, i.linkMessage(id, l, true))
			changed = true
		}
	}
	return messages, changed, nil
}

func (i *inventory) linkMessage(id string, l *link, retracted bool) stream.Message {
	return collect.FactMessage(id, &leastwisev1.Fact{Fact: &leastwisev1.Fact_Link{Link: i.linkFact(id, l, retracted)}})
}
