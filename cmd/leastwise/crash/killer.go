package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
)

const (
	// atWork bounds how long a process may take until it is seen at work. A component that joins its group after its
	// predecessor was killed waits for that one's session to run out: ten seconds.
	atWork = time.Minute
	// Of kills of the all-in-one process, one in this many falls into its start.
	early = 5
	// How long the feeder may take to come to its next piece.
	rotationTakes = 300 * time.Millisecond
	// What it takes about until the next kill: the pace of the log.
	upTakes, componentTakes = 1500 * time.Millisecond, 2500 * time.Millisecond
)

// killer starts what is to be killed, and kills it.
type killer struct {
	site *site
	opts Options
	rand *rand.Rand
	feed *feeder

	running map[string]*child
	engines *allinone.Engines // what the parent sees of the engines while the components are killed
	done    int
}

func (k *killer) run(ctx context.Context) error {
	k.running = map[string]*child{}
	for k.done < k.opts.Kills/2 {
		k.feed.goOn(k.share(), upTakes)
		if err := k.killUp(ctx); err != nil {
			return err
		}
	}
	if err := k.apart(ctx); err != nil {
		return err
	}
	parts := []string{PartCollector, PartProcessor, PartEnforcer}
	for n := 0; k.done < k.opts.Kills; n++ {
		if n%len(parts) == 0 {
			k.rand.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		}
		k.feed.goOn(k.share(), componentTakes)
		if err := k.killComponent(ctx, parts[n%len(parts)]); err != nil {
			return err
		}
	}
	return nil
}

// share of the log that is to be written by the next kill.
func (k *killer) share() float64 { return float64(k.done+1) / float64(k.opts.Kills+1) }

func (k *killer) begin(part string) (err error) {
	k.running[part], err = k.site.start(part)
	return err
}

// killUp lets the all-in-one process begin its work, or not even that, and kills it.
func (k *killer) killUp(ctx context.Context) error {
	if err := k.begin(PartUp); err != nil {
		return err
	}
	inStart, delay := k.rand.IntN(early) == 0, k.random(100*time.Millisecond, 2500*time.Millisecond)
	if inStart {
		delay /= 2
	} else if err := k.waitFor(ctx, PartUp, k.checkpointMoved); err != nil {
		return err
	}
	if err := k.kill(ctx, PartUp, delay); err != nil {
		return err
	}
	return k.turnLog(ctx)
}

// apart goes on with each component in a process of its own, beside engines that are left alone.
func (k *killer) apart(ctx context.Context) error {
	if err := allinone.Forget(k.site.dir); err != nil {
		return err
	}
	if err := k.begin(PartEngines); err != nil {
		return err
	}
	for _, part := range []string{PartCollector, PartProcessor, PartEnforcer} {
		if err := k.begin(part); err != nil {
			return err
		}
	}
	var err error
	k.engines, err = k.site.open(ctx)
	return err
}

// killComponent waits until a component is at work, and kills it in the midst of it.
func (k *killer) killComponent(ctx context.Context, part string) error {
	working := k.checkpointMoved
	switch part {
	case PartProcessor:
		working = k.rowsGrew()
	case PartEnforcer:
		working = func(c *child) bool { return k.site.issuer.heardFrom(c.pid()) }
	}
	delay := k.random(50*time.Millisecond, 2*time.Second)
	if err := k.waitFor(ctx, part, working); err != nil {
		return err
	}
	if err := k.kill(ctx, part, delay); err != nil {
		return err
	}
	if part == PartCollector {
		if err := k.turnLog(ctx); err != nil {
			return err
		}
	}
	return k.begin(part)
}

// turnLog rotates the log, every other time, while nobody reads it: what the killed process had published and not
// remembered is then found under another name.
func (k *killer) turnLog(ctx context.Context) error {
	if k.rand.IntN(2) == 0 {
		return nil
	}
	k.feed.rotate()
	if !wait(ctx, rotationTakes) {
		return context.Cause(ctx)
	}
	return nil
}

func (k *killer) kill(ctx context.Context, part string, delay time.Duration) error {
	if !wait(ctx, delay) {
		return context.Cause(ctx)
	}
	c := k.running[part]
	if err := c.kill(); err != nil {
		return err
	}
	k.done++
	mode := "components"
	if part == PartUp {
		mode = "all-in-one"
	}
	k.opts.say("kill %d  %s  %s  after %d ms", k.done, mode, part, time.Since(c.began).Milliseconds())
	return nil
}

// waitFor waits until a process is seen at work. One that never is fails the run: kills of idle processes prove nothing.
func (k *killer) waitFor(ctx context.Context, part string, working func(*child) bool) error {
	c := k.running[part]
	for deadline := time.Now().Add(atWork); ; {
		if working(c) {
			return nil
		}
		select {
		case <-c.ended:
			return c.gone()
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s was not seen at work within %s: its log in %s tells why", part, atWork, k.site.dir)
		}
		if !wait(ctx, 20*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}

func (k *killer) random(from, to time.Duration) time.Duration {
	return from + time.Duration(k.rand.Int64N(int64(to-from)))
}

// checkpointMoved: the collector has published something since.
func (k *killer) checkpointMoved(c *child) bool {
	info, err := os.Stat(filepath.Join(k.site.dir, "vault-default.checkpoint.json"))
	return err == nil && info.ModTime().After(c.began)
}

// rowsGrew: events were written since the process was started. While a killed processor's successor waits for its
// partitions nothing is.
func (k *killer) rowsGrew() func(*child) bool {
	var first uint64
	return func(*child) bool {
		var n uint64
		if k.engines.Store.QueryRow(context.Background(), "SELECT count() FROM events").Scan(&n) != nil {
			return false
		}
		if first == 0 {
			first = n
		}
		return n > first
	}
}

// alive fails if something ended by itself.
func (k *killer) alive() error {
	for _, c := range k.running {
		select {
		case <-c.ended:
			if c.part != PartUp {
				return c.gone()
			}
		default:
		}
	}
	return nil
}

// close ends what runs, components before engines.
func (k *killer) close() {
	if k.engines != nil {
		k.engines.Close()
	}
	for _, part := range []string{PartCollector, PartEnforcer, PartProcessor, PartUp, PartEngines} {
		if c := k.running[part]; c != nil {
			_ = c.kill()
		}
	}
}
