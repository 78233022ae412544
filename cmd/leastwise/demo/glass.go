package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/enforcer/control"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/leastwise/leastwise/simulator/fleet"
	"github.com/leastwise/leastwise/simulator/sources"
)

// backupJob is what the board shows of the job that works with an access key of AWS.
var backupJob = fleet.Agent{Name: sources.Backup, Story: "one access key of AWS, for ever: taken, missed at night, and given back", End: fleet.EndGivenBack}

// onCall is who breaks the glass.
const onCall = "kim@reliability"

// breakGlass plays who is on call: the backup fails since its key was taken, and has to run tonight. The key is asked back
// with a reason, as `leastwise restore` does, and an exception is asked for, so that it is not taken again.
func (w *watcher) breakGlass(ctx context.Context, engines *allinone.Engines) error {
	if w.sources.Key == nil {
		<-ctx.Done()
		return nil
	}
	var ladder string
	for ladder == "" {
		if !wait(ctx, pollEvery) {
			return nil
		}
		if ladder = w.taken(); ladder != "" {
			if _, refused := w.sources.BackedUp(); refused == 0 {
				ladder = "" // the job has not noticed yet
			}
		}
	}
	_, refused := w.sources.BackedUp()
	w.board.step("backup_fails", sources.Backup, "refused", refused)
	const reason = "the backup has to run tonight; it moves to a role with BACKUP-7"
	if err := control.RequestRestore(ctx, engines.Stream, ladder, control.Who{Name: onCall, Reason: reason}, time.Now()); err != nil {
		return fmt.Errorf("break the glass: %w", err)
	}
	w.board.step("glass_broken", sources.Backup, "ladder", ladder, "by", onCall, "reason", reason)
	var before *uint64
	for {
		if !wait(ctx, pollEvery) {
			return nil
		}
		written, refused := w.sources.BackedUp()
		if before == nil && w.givenBack() {
			before = &written
		}
		if before == nil || written < *before+wantCalls {
			continue
		}
		active, err := w.sources.Key.Active(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if active {
			w.mu.Lock()
			w.agents[sources.Backup].works = true
			w.moves++
			w.mu.Unlock()
			w.board.step("works_again", sources.Backup, "credential", w.sources.KeyID(), "at_aws", "Active", "written", written, "refused", refused)
			break
		}
	}
	<-ctx.Done()
	return nil
}

const pollEvery = 250 * time.Millisecond

// taken gives the ladder that took the key; empty: none did.
func (w *watcher) taken() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l := w.agents[sources.Backup].ladder; l != nil && (l.State == pb.LadderState_REVOKED || l.State == pb.LadderState_CLOSED) {
		return l.LadderId
	}
	return ""
}

func (w *watcher) givenBack() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.agents[sources.Backup].restored != nil
}

// missingOfBackup says what is not as expected yet.
func missingOfBackup(a *seen, state pb.LadderState_State) string {
	switch {
	case a.restored == nil:
		return fmt.Sprintf("is %s, expected to be revoked and given back", state)
	case !a.works:
		return "was given back and does not work again"
	// An exception that comes before the next decision leaves the ladder where it is.
	case state != pb.LadderState_EXEMPTED && !(state == pb.LadderState_RESTORED && a.asked):
		return fmt.Sprintf("is %s, expected an exception to hold after it was given back", state)
	}
	return ""
}
