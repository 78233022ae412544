package cloudtrail

import "github.com/aws/smithy-go"

// apiError is an answer of AWS's.
type apiError struct{ code string }

func (e *apiError) Error() string                 { return canary }
func (e *apiError) ErrorCode() string             { return e.code }
func (e *apiError) ErrorMessage() string          { return canary }
func (e *apiError) ErrorFault() smithy.ErrorFault { return smithy.FaultClient }
