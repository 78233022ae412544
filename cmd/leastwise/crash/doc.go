// Package crash proves by killing that a crash of any component, at any instant, loses nothing, counts nothing twice and
// revokes nothing twice.
//
// Run writes an audit log whose truth is known (package fleet), and feeds it to a pipeline of real processes while it
// kills them with SIGKILL at random moments: for the first half of the kills the all-in-one process with its embedded
// Kafka and ClickHouse, for the other half, on the same data directory, the collector, the processor and the enforcer in
// turn while the engines live on in a process of their own. The log is written in pieces that end inside lines, and is
// rotated. An issuer, in the parent, that outlives every kill counts what is done to each credential; some of its answers
// are failures before or after the act.
//
// Afterwards an uninterrupted run reads the same log into another data directory, and both are held against each other
// and against the truth: every event once, every malformed line once, equal credentials, and every ladder at its end with
// no revocation repeated, forgotten, early or of somebody who had to be left alone. Two kinds of differences are none:
// times that are written down when a process happens to look (decided_at), and an occurrence time that is that of the
// other of a call's two lines, which a collector killed between the two tells as well.
//
// The seed fixes the log, the moments between a start and a kill, and the issuer's failures in the order of calls. What
// a process is doing at such a moment is up to the machine, so a seed repeats the plan of a run and not each instruction.
//
// A run takes about five minutes on two cores, and writes about half a gigabyte.
package crash
