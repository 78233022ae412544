package store_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/chdb"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/storetest"
)

// The tests' own binary plays the process that is killed: see child.
const (
	childMode = "LEASTWISE_TEST_CHILD" // insert or count
	childDir  = "LEASTWISE_TEST_CHILD_DIR"
	perInsert = 5000
)

func TestMain(m *testing.M) {
	if mode := os.Getenv(childMode); mode != "" {
		if err := child(mode, os.Getenv(childDir)); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child inserts for ever and says after each acknowledged insert how many there
// were, or says how many rows of which inserts it finds.
func child(mode, dir string) error {
	ctx := context.Background()
	engine, err := chdb.Open(dir, os.Getenv("LEASTWISE_LIBCHDB"))
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, store.Config{Embedded: true, Transport: engine.Transport(), Database: "default"}, nil)
	if err != nil {
		return err
	}
	if mode == "count" {
		var rows, inserts, partial, newest uint64
		err := db.QueryRow(ctx, `SELECT sum(n), count(), countIf(n != {size:UInt64}), max(insert) FROM
			(SELECT insert, count() AS n FROM durable.t GROUP BY insert)`, store.Named("size", perInsert)).
			Scan(&rows, &inserts, &partial, &newest)
		fmt.Println("found", inserts, partial, newest)
		return err
	}
	for _, ddl := range []string{
		"CREATE DATABASE IF NOT EXISTS durable",
		"CREATE TABLE IF NOT EXISTS durable.t (insert UInt64, n UInt64) ENGINE = MergeTree ORDER BY (insert, n)",
	} {
		if err := db.Exec(ctx, ddl); err != nil {
			return err
		}
	}
	for i := uint64(1); ; i++ {
		batch, err := db.PrepareBatch(ctx, "INSERT INTO durable.t (insert, n)")
		if err != nil {
			return err
		}
		for n := range uint64(perInsert) {
			if err := batch.Append(i, n); err != nil {
				return err
			}
		}
		if err := batch.Send(); err != nil {
			return err
		}
		fmt.Println("acknowledged", i)
	}
}

func runChild(t *testing.T, mode, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childMode+"="+mode, childDir+"="+dir)
	cmd.Stderr = io.Discard
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

func TestAcknowledgedInsertsSurviveAKill(t *testing.T) {
	storetest.Engine(t) // skips without the library
	dir := t.TempDir()
	for _, kills := range []uint64{1, 7, 30} {
		os.RemoveAll(dir)
		cmd, lines := runChild(t, "insert", dir)
		acknowledged := uint64(0)
		for acknowledged < kills && lines.Scan() {
			if _, err := fmt.Sscanf(lines.Text(), "acknowledged %d", &acknowledged); err != nil {
				t.Fatal(lines.Text())
			}
		}
		// The next insert is under way.
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what was said before the kill
			_, _ = fmt.Sscanf(lines.Text(), "acknowledged %d", &acknowledged)
		}
		_ = cmd.Wait()

		cmd, lines = runChild(t, "count", dir)
		var inserts, partial, newest uint64
		lines.Scan()
		if _, err := fmt.Sscanf(lines.Text(), "found %d %d %d", &inserts, &partial, &newest); err != nil {
			t.Fatal(lines.Text())
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		if inserts < acknowledged || partial != 0 || newest != inserts {
			t.Errorf("%d inserts acknowledged; found %d, newest %d, %d in part", acknowledged, inserts, newest, partial)
		}
	}
}

func TestSecondProcessOnTheDirectoryIsRefused(t *testing.T) {
	e := storetest.Engine(t)
	cmd, lines := runChild(t, "count", e.Dir())
	lines.Scan()
	if !strings.Contains(lines.Text(), "in use by another process") {
		t.Errorf("got %q", lines.Text())
	}
	if cmd.Wait() == nil {
		t.Error("it ended without an error")
	}
}
