package sourcetest

import (
	"reflect"
	"testing"
)

// AllTextsTold holds that texts names every []byte that a record holds, for jsonrecord.Shapes: one that is left out would be
// another record's. except is how many of them are no texts of its own, such as the record itself.
func AllTextsTold(t *testing.T, record any, texts []*[]byte, except int) {
	t.Helper()
	told := map[*[]byte]bool{}
	for _, text := range texts {
		told[text] = true
	}
	if n := countTexts(reflect.TypeOf(record)) - except; n != len(told) {
		t.Errorf("it has %d texts, %d of them are told", n, len(told))
	}
}

// countTexts counts those that a value of a type holds.
func countTexts(of reflect.Type) (n int) {
	switch {
	case of == reflect.TypeFor[[]byte]():
		return 1
	case of.Kind() == reflect.Array:
		return of.Len() * countTexts(of.Elem())
	case of.Kind() == reflect.Struct:
		for i := range of.NumField() {
			n += countTexts(of.Field(i).Type)
		}
	}
	return n
}
