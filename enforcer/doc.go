// Package enforcer takes decisions about credentials down the graded ladder:
// the owner is told, reminded, and when the grace period is over and every
// guard is silent, the credential is revoked at its issuer, proven gone there,
// and one with the right scope is given back.
//
// # The state machine
//
//	                 exception                     exception over, violated: a new ladder
//	VIOLATED ───────────────────────▶ EXEMPTED ─────────────────────────▶ VIOLATED
//	   │  │ nobody to tell, or notify_deadline over
//	   │  └──────────▶ ESCALATED ──▶ (told after all) NOTIFIED
//	   │ owner told        │ revoke_untold, grace over
//	   ▼                   ▼
//	NOTIFIED ─▶ REMINDED ─▶ (grace over) ──a guard refuses──▶ HELD
//	   │                        │ all guards silent           │ silent now
//	   │                        ▼                             │
//	   │                  asks the target ◀───────────────────┘
//	   │                   │ alive        │ gone: RESOLVED
//	   │                   ▼
//	   │            REVOKE_INTENDED ◀──────────────┐ alive still, guards silent
//	   │                   │ revoke, verify        │
//	   │                   ├── failed ─▶ RETRYING ─┤ asks the target first
//	   │                   │              └─ max_attempts, permission ─▶ ESCALATED (goes on, slowly)
//	   │                   ▼ proven gone
//	   │                REVOKED ─▶ REISSUE_INTENDED ─▶ REISSUED ─┬────────────▶ CLOSED ─▶ ROLLED_BACK (asked, or by policy)
//	   │                   └─────────────────────────────────────┤                ▲
//	   │                                 the target has a second │ step           │
//	   ▼                                                         ▼                │
//	RESOLVED                             FINISH_INTENDED ─▶ FINISHED ─────────────┘
//	(nothing violated any more, or the credential ended by itself)
//
//	from an intent on, when somebody asks to have it back:
//	       RESTORE_INTENDED ─▶ alive again: RESTORED ─▶ violated by a later decision: a new ladder
//
// Ladder.Next is that machine: a pure function of the newest journal entry,
// the clock and what is known. The worker of a partition does what it says.
//
// # What it promises
//
// A revocation is done only with a decision confirmed within max_decision_age,
// after the owner was told its time and the grace period has passed, in mode
// enforce both overall and by policy, with the kill switch off, no exception,
// no protection, room in the budgets (overall, of the target, of the owner),
// within business hours and outside freezes, with the approvals that policies
// ask for, and hitting no more besides than policies allow or a person has
// approved. What is unknown refuses: the ladder is HELD and its entry says by
// what. The kill switch is asked once more when the intent is stored, so that
// no act starts after this process has read that it is on.
//
// An announced time is moved later only, and the owner is told. A revocation
// is closed when its second step is done, where the target has one, and when
// the issuer, asked again past works_until, proves that nothing of it works.
//
// What was taken is given back when a person asks for it with a reason
// (restore.go says why no budget, mode or kill switch hinders that), and is not
// taken again but by a new ladder, with its owner told anew and a full grace
// period. The second step is not done to what was given back.
//
// What was given back is watched: what it denies although the former scope
// allowed it is told to owner and security, and where the policy says so the
// former scope is put back (correct.go, watch.go).
//
// The journal (topic leastwise.enforcement, key: credential) gets an entry
// before and after every act, and an act starts only when its intent is
// durable. After a crash between the two the target is asked what is true
// first. So an act is neither forgotten nor its harm repeated; a message may
// be sent twice.
//
// # What blocks, and what it may lose
//
// Run blocks until its context ends or another enforcer's partition count
// differs. While Kafka is away nothing is done, since no intent can be stored;
// while a target or channel is away its acts are retried with back-off. One
// worker serves a partition and does one act at a time.
//
// The budgets are counted from the journal of all partitions. Within one process
// it is exact; processes of one group learn of each other's revocations with
// the delay of the topic, and may together exceed it by what they do in that
// time.
//
// The package links neither a log parser nor a policy engine: it holds the
// keys that revoke.
package enforcer
