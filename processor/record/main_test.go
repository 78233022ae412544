package record

import (
	"testing"

	"github.com/leastwise/leastwise/internal/storetest"
)

func TestMain(m *testing.M) { storetest.Exit(m.Run()) }
