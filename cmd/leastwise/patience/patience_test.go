package patience

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestItIsWaitedForAsLongAsSomethingGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(3*time.Minute, 15*time.Minute)
		for i := range 7 { // 14 minutes, something every two
			if why := w.Over(strconv.Itoa(i)); why != "" {
				t.Fatalf("given up after %d changes: %s", i, why)
			}
			time.Sleep(2 * time.Minute)
		}
		time.Sleep(2 * time.Minute)
		if why := w.Over("another"); why != "after 15m0s" {
			t.Errorf("past the limit: %q", why)
		}
	})
}

func TestItIsGivenUpWhenNothingGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(3*time.Minute, 15*time.Minute)
		time.Sleep(time.Minute)
		w.Over("a")
		time.Sleep(3 * time.Minute)
		if why := w.Over("a"); why != "" {
			t.Errorf("given up too early: %s", why)
		}
		time.Sleep(time.Second)
		if why := w.Over("a"); !strings.Contains(why, "the last 3m0s of which nothing went on") {
			t.Errorf("after three minutes of nothing: %q", why)
		}
	})
}

func TestWithoutBoundsItIsWaitedForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(0, 0)
		time.Sleep(1000 * time.Hour)
		if why := w.Over(""); why != "" {
			t.Error(why)
		}
	})
}
