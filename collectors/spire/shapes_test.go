package spire

import (
	"testing"

	"github.com/leastwise/leastwise/collectors/sourcetest"
)

// One is no text of its own: the record.
func TestAllTextsOfARecordAreToldToItsShape(t *testing.T) {
	var r entry
	sourcetest.AllTextsTold(t, r, r.texts(), 1)
}
