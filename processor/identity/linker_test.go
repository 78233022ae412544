package identity

import (
	"fmt"
	"testing"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// A catalog is asked about every identity that was seen since the linker last had to forget, also about those whose
// credentials it knows.
func TestAHolderThatWasForgottenIsMetAgain(t *testing.T) {
	l := NewLinker(New(), Options{})
	l.most = 10
	for n := range 30 {
		l.Event(event("vault", pb.Event_USED, fmt.Sprint("vault/default/token/t-", n), fmt.Sprint("vault/default/entity/e-", n)), "")
	}
	const first = "vault/default/entity/e-0"
	if _, ok := l.known[first]; ok {
		t.Fatal("nothing was forgotten")
	}
	l.Event(event("vault", pb.Event_USED, "vault/default/token/t-0", first), first)
	if _, ok := l.known[first]; !ok {
		t.Error("seen again, it is not known")
	}
}

func TestNewsOutlivesTheEvent(t *testing.T) {
	l := NewLinker(New(), Options{})
	ev := vaultLogin("jwt", "auth/jwt/", "entity_alias", "alice")
	l.Event(ev, "")
	ev.OccurredAt.Seconds += 60 // it is used for the next
	if news := l.News(); len(news) != 1 || news[0].Link.At.Seconds != ev.OccurredAt.Seconds-60 {
		t.Errorf("%v", news)
	}
}
