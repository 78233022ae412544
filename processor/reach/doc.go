// Package reach says what the holder of a credential could do if it leaked: what it may do by itself, which principals
// it could become step by step, and which sensitive things it would get to.
//
// It works on what is known already (grants, trust policies, credentials, links) and touches no live system. What it
// says of each step is one of three: the log proves that it was done, what is granted allows it, or it is only suggested,
// since a condition, a trust or a place is not known. A path is as certain as its weakest step; of several the most
// certain one is told, and of those the shortest. What is unknown makes a step suggested and never leaves it out, but an
// unknown scope may hold more than is told: Node.Partly says so.
//
// The steps are data, rules.yaml, each with its source. Nothing here blocks or keeps state; a Map is safe for concurrent
// use once it is made.
package reach
