package gcpaudit

import (
	"testing"

	"github.com/leastwise/leastwise/collectors/sourcetest"
)

// Two are no texts of its own: the record, and the name of its log.
func TestAllTextsOfARecordAreToldToItsShape(t *testing.T) {
	var r entry
	sourcetest.AllTextsTold(t, r, r.texts(), 2)
}
