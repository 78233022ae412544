package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// inventory asks Vault, in rounds, for what the log does not say: tokens that were issued before it began, whether they
// are orphans, when they expire; which aliases entities have, and which are gone; what policies permit; what hashes stand
// for. What it may not read it names, and goes on with the rest; it never stops the collector.
type inventory struct {
	cfg       InventoryConfig
	collector *Collector
	vault     *server
	hashes    *hashes
	// form is how the device writes accessors: 0 not known yet, 1 hashed, 2 in clear.
	form    atomic.Int32
	orphans atomic.Pointer[map[string]bool] // token role → makes orphans
	mounts  atomic.Pointer[mounts]          // whose roles are listed
	// policies that were named somewhere; wake says that there are new ones.
	policies *nameSet
	wake     chan struct{}
	aliases  *aliases
	entities *nameSet // that logins named

	drift     *drift
	secretIDs *secretIDs

	// Only in run's goroutine: what was published last, so that what did not change is not published again.
	told      map[string]string
	toldDrift map[string]bool // by grant id: findings that this process said
}

const (
	formHashed = 1
	formClear  = 2
)

// errWaiting is no failure: the round is tried again soon.
var errWaiting = errors.New("inventory waits for the first record, which tells whether the audit device hashes accessors; set hmac_accessor if it should not wait")

func newInventory(cfg InventoryConfig, c *Collector) (*inventory, error) {
	vault, err := newServer(cfg)
	if err != nil {
		return nil, err
	}
	i := &inventory{cfg: cfg, collector: c, vault: vault, policies: newNameSet(10000),
		wake: make(chan struct{}, 1), aliases: newAliases(c.aliasesPath()), entities: newNameSet(1_000_000), told: map[string]string{},
		drift: newDrift(c), secretIDs: newSecretIDs(c), toldDrift: map[string]bool{}}
	i.hashes = newHashes(vault, cfg.Device)
	known := i.configured()
	i.mounts.Store(&known)
	switch cfg.HMACAccessor {
	case "true":
		i.form.Store(formHashed)
	case "false":
		i.form.Store(formClear)
	}
	return i, nil
}

// notice learns from an event of the log. It is called by the goroutine that reads records and does not block.
func (i *inventory) notice(ev *leastwisev1.Event) {
	id, isToken := strings.CutPrefix(ev.Credential, i.collector.decoder.prefixes[keyToken])
	if isToken && i.form.Load() == 0 {
		if isHash(id) {
			i.form.CompareAndSwap(0, formHashed)
		} else {
			i.form.CompareAndSwap(0, formClear)
		}
	}
	if ev.Kind == leastwisev1.Event_ISSUED {
		switch {
		case isToken && !isHash(id):
			i.hashes.remember(id)
		case !isToken:
			for _, kind := range []keyKind{keyLease, keyCertificate} {
				if id, ok := strings.CutPrefix(ev.Credential, i.collector.decoder.prefixes[kind]); ok {
					i.hashes.remember(id)
				}
			}
		}
	}
	i.noticeAliases(ev)
	i.noticePolicies(ev.Policies)
	i.noticeDrift(ev)
}

func (i *inventory) noticePolicies(names []string) {
	fresh := false
	for _, name := range names {
		fresh = i.policies.add(name) || fresh
	}
	if fresh {
		select {
		case i.wake <- struct{}{}:
		default:
		}
	}
}

// resolve is the decoder's Options.Resolve.
func (i *inventory) resolve(name string) (string, bool) { return i.hashes.resolve(name) }

// roleOrphan is the decoder's Options.RoleOrphan: as of the last round.
func (i *inventory) roleOrphan(role string) (orphan, known bool) {
	roles := i.orphans.Load()
	if roles == nil {
		return false, false
	}
	orphan, known = (*roles)[role]
	return orphan, known
}

// run makes rounds until ctx ends. New policy names are read between rounds.
func (i *inventory) run(ctx context.Context) error {
	worker := make(chan struct{})
	go func() { defer close(worker); i.hashes.work(ctx) }()
	defer func() { <-worker }()
	due := time.Now()
	var failed error // of the last round: what a look at new policies finds does not take it back
	for {
		timer := time.NewTimer(time.Until(i.aliases.before(due)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-i.aliases.wake:
			timer.Stop()
		case <-timer.C:
			if time.Now().Before(due) {
				if err := errors.Join(i.vault.login(ctx), i.readAliases(ctx)); err != nil {
					i.report(ctx, errors.Join(failed, err))
					if again := time.Now().Add(time.Minute); again.Before(due) {
						due = again
					}
				}
				continue
			}
			err := i.round(ctx)
			next := i.cfg.Interval
			if err != nil {
				next = min(next, time.Minute)
			}
			if errors.Is(err, errWaiting) {
				next = min(next, 2*time.Second)
			}
			due = time.Now().Add(next)
			if failed = err; errors.Is(err, errWaiting) {
				failed = nil
			}
			i.report(ctx, err)
		case <-i.wake:
			timer.Stop()
			if err := errors.Join(i.vault.login(ctx), i.readPolicies(ctx, false)); err != nil {
				i.report(ctx, errors.Join(failed, err))
				collect.Pause(ctx, 5*time.Second)
			}
		case <-i.drift.wake:
			timer.Stop()
			// Vault writes the record before it carries the call out.
			if !collect.Pause(ctx, driftSoon) {
				return nil
			}
			if err := errors.Join(i.vault.login(ctx), i.readChanged(ctx)); err != nil {
				i.report(ctx, errors.Join(failed, err))
				if again := time.Now().Add(time.Minute); again.Before(due) {
					due = again
				}
			}
		}
	}
}

func (i *inventory) report(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	if errors.Is(err, errWaiting) {
		err = nil
	}
	i.collector.Say("inventory", err)
}

// round reads everything once. Parts are independent: what one may not read does not hold up the others.
func (i *inventory) round(ctx context.Context) error {
	if err := i.vault.login(ctx); err != nil {
		return err
	}
	if err := i.drift.load(); err != nil {
		return err
	}
	errs := []error{i.readRoles(ctx), i.readPolicies(ctx, false), i.readChanged(ctx), i.readAliases(ctx), i.readTokens(ctx), i.readPolicies(ctx, true)}
	if i.cfg.Leases {
		errs = append(errs, i.readLeases(ctx))
	}
	return errors.Join(errs...)
}

func (i *inventory) readTokens(ctx context.Context) error {
	form := i.form.Load()
	if form == 0 {
		return errWaiting
	}
	if form == formHashed && i.cfg.Device == "" {
		return errors.New("the audit device hashes accessors: set inventory.device to its name, as `vault audit list` shows it")
	}
	accessors, err := i.vault.list(ctx, "auth/token/accessors", true)
	if err != nil {
		return err
	}
	var batch []stream.Message
	for _, accessor := range accessors {
		data, err := i.vault.write(ctx, "auth/token/lookup-accessor", map[string]any{"accessor": accessor})
		if err != nil {
			if notFound(err) { // expired since it was listed
				continue
			}
			return err
		}
		id := accessor
		if form == formHashed {
			if id, err = i.hashes.hash(ctx, accessor); err != nil {
				return err
			}
		}
		ev := i.tokenEvent(id, data)
		i.noticePolicies(ev.Policies)
		if batch = i.add(batch, ev); len(batch) >= i.collector.cfg.BatchRecords {
			if err := i.collector.Send(ctx, batch...); err != nil {
				return err
			}
			batch = nil
		}
	}
	return i.collector.Send(ctx, batch...)
}

// add queues an event unless the very same was told before.
func (i *inventory) add(batch []stream.Message, ev *leastwisev1.Event) []stream.Message {
	if i.told[ev.Credential] == ev.RecordId {
		return batch
	}
	if len(i.told) > 1_000_000 { // a bound, not a cache: then everything is told once more
		i.told = map[string]string{}
	}
	i.told[ev.Credential] = ev.RecordId
	return append(batch, i.collector.Message(ev))
}

func (i *inventory) readLeases(ctx context.Context) error {
	folders := []string{""}
	for len(folders) > 0 {
		folder := folders[len(folders)-1]
		folders = folders[:len(folders)-1]
		names, err := i.vault.list(ctx, "sys/leases/lookup/"+folder, true)
		if err != nil {
			return err
		}
		var batch []stream.Message
		for _, name := range names {
			path := folder + name
			switch {
			case path == "auth/": // tokens have their own round
			case strings.HasSuffix(name, "/"):
				if strings.Count(path, "/") < 64 {
					folders = append(folders, path)
				}
			default:
				i.hashes.remember(path)
				data, err := i.vault.write(ctx, "sys/leases/lookup", map[string]any{"lease_id": path})
				if err != nil {
					if notFound(err) {
						continue
					}
					return err
				}
				batch = i.add(batch, i.leaseEvent(path, data))
			}
		}
		if err := i.collector.Send(ctx, batch...); err != nil {
			return err
		}
	}
	return nil
}

// missing names what a call was refused for.
func missing(path string, needs ...string) error {
	return fmt.Errorf("Vault refused the inventory's token: its policy needs capabilities [%s] on path %q",
		strings.Join(needs, ", "), path)
}
