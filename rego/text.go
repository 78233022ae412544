package rego

import "strings"

// Text is one file of the Rego that decides, as it is written.
type Text struct {
	File, Source string
}

// Texts are the bundle's files, without its tests, and after them the free-form policies: what was in force when the set
// was made, whatever became of the files since.
func (s *Set) Texts() []Text { return s.texts }

func textsOf(bundle, custom []file) (out []Text) {
	for _, files := range [][]file{bundle, custom} {
		for _, f := range files {
			if strings.HasSuffix(f.name, ".rego") && !isTest(f.name) {
				out = append(out, Text{f.name, string(f.data)})
			}
		}
	}
	return out
}
