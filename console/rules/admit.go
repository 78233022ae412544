package rules

import (
	"context"

	"github.com/leastwise/leastwise/console/contract"
)

// Admission asks the policies at issuance, as `leastwise admit` does. It fails with ErrRefused if the request can not be
// read. It needs ClickHouse for policies of Vault that a request names, and says so where it did not answer.
type Admission interface {
	Admit(ctx context.Context, request *contract.AdmissionRequest) (*contract.Admission, error)
}
