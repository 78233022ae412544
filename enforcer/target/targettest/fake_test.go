package targettest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/leastwise/leastwise/enforcer/target"
)

func TestTheFakeHoldsTheContract(t *testing.T) {
	Run(t, func(*testing.T) World {
		f := &Fake{}
		f.Add("fake/default/token/own")
		f.Own("fake/default/token/own")
		n := 0
		return World{
			Target: f,
			New: func(*testing.T) (target.Credential, func() bool) {
				n++
				key := fmt.Sprintf("fake/default/token/%d", n)
				f.Add(key)
				return target.Credential{Key: key}, func() bool { return slices.Contains(f.Alive(), key) }
			},
			Unknown: target.Credential{Key: "fake/default/token/nonesuch"},
		}
	})
}
