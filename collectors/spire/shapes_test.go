package spire

import (
	"reflect"
	"testing"
)

// A text that texts leaves out would be another record's. One is no text of its own: the record.
func TestAllTextsOfARecordAreToldToItsShape(t *testing.T) {
	var r entry
	told := map[*[]byte]bool{}
	for _, text := range r.texts() {
		told[text] = true
	}
	if n := countTexts(reflect.TypeOf(r)) - 1; n != len(told) {
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
