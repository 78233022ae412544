package level

// Verdict says whether a permission is granted on a resource.
type Verdict uint8

// The verdicts, the weakest first, so that the smaller of two holds where both have to grant.
const (
	// No: no statement grants it, or one denies it.
	No Verdict = iota
	// Perhaps: only under a condition, or on a resource whose place is not known.
	Perhaps
	Yes
)
