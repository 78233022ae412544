package jwtregistry

import (
	"cmp"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

const (
	// maxForgers bounds the issuers and keys that have a finding of their own: whoever forges a token names both.
	maxForgers = 64
	otherNames = "other issuers and keys"
	// quiet is how long after the last such token the finding stands.
	quiet = 24 * time.Hour
)

// unverified makes findings of tokens whose signature the issuer's keys did not make: one for each issuer and key that
// the tokens name, with how many were seen. It is called by the goroutine that reads records.
func (c *Collector) unverified(ev *leastwisev1.Event) {
	if ev.Labels["verified"] != string(signatureWrong) || ev.Index == indexForged {
		return
	}
	issuer, key := cmp.Or(ev.Labels["claimed_issuer"], "no issuer"), cmp.Or(ev.Labels["key_id"], "none")
	subject := issuer + " key " + key
	if !c.forgers[subject] {
		if len(c.forgers) >= maxForgers {
			issuer, key, subject = otherNames, "any", otherNames
		} else {
			c.forgers[subject] = true
		}
	}
	c.Found(collect.Found{Kind: schemas.FindingUnverifiedToken, Subject: subject, Times: 1, Quiet: quiet,
		Detail: fmt.Sprintf("tokens are shown that name the issuer %s and its key %s, and whose signature that issuer's keys did not make: "+
			"somebody makes tokens, or jwks and algorithms are not those of the issuer. Compare jwks with what the issuer publishes; "+
			"if it is right, find where the tokens come from and see that whoever accepts them verifies signatures", issuer, key),
		Evidence: []string{fmt.Sprintf("newest: record %s at %s, hash of the token in the credential's key", ev.RecordId, ev.Position)},
		About:    []string{ev.Credential}})
}
