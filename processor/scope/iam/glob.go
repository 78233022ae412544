package iam

import "strings"

// Match reports whether a pattern of IAM covers a text: * stands for any number of characters, ? for exactly one
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_action.html). It is exact; who wants
// case ignored lowers both. It takes linear time for one *, and at most the product of the lengths.
func Match(pattern, text string) bool {
	p, t := 0, 0
	star, mark := -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == text[t] || pattern[p] == '?' && text[t] != '*'):
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// Overlap reports whether some text is covered by both of two patterns. A text without * and ? is a pattern that covers
// itself alone. It takes at most the product of the lengths.
func Overlap(a, b string) bool {
	if !strings.ContainsAny(a, "*?") {
		return Match(b, a)
	}
	if !strings.ContainsAny(b, "*?") {
		return Match(a, b)
	}
	// reach[j]: what was read of a so far has a text in common with the first j of b.
	reach, next := make([]bool, len(b)+1), make([]bool, len(b)+1)
	reach[0] = true
	empty := func(row []bool) { // a * of b may cover nothing
		for j := range b {
			row[j+1] = row[j+1] || row[j] && b[j] == '*'
		}
	}
	empty(reach)
	for i := range a {
		clear(next)
		for j := 0; j <= len(b); j++ {
			if !reach[j] {
				continue
			}
			if a[i] == '*' { // covers nothing, or anything that b goes on with
				for k := j; k <= len(b); k++ {
					next[k] = true
				}
				break
			}
			if j < len(b) {
				switch {
				case b[j] == '*':
					next[j] = true
				case a[i] == b[j] || a[i] == '?' || b[j] == '?':
					next[j+1] = true
				}
			}
		}
		empty(next)
		reach, next = next, reach
	}
	return reach[len(b)]
}
