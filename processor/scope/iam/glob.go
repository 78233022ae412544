package iam

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
