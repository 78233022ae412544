package gcpaudit

import (
	"reflect"
	"testing"
)

// A text that texts leaves out would be another record's. Two are no texts of its own: the record, and the name of its log.
func TestAllTextsOfARecordAreToldToItsShape(t *testing.T) {
	var r entry
	told := map[*[]byte]bool{}
	for _, text := range r.texts() {
		told[text] = true
	}
	if n := texts(reflect.TypeOf(r)) - 2; n != len(told) {
		t.Errorf("it has %d texts, %d of them are told", n, len(told))
	}
}

// texts counts those that a value of a type holds.
func texts(of reflect.Type) (n int) {
	switch {
	case of == reflect.TypeFor[[]byte]():
		return 1
	case of.Kind() == reflect.Array:
		return of.Len() * texts(of.Elem())
	case of.Kind() == reflect.Struct:
		for i := range of.NumField() {
			n += texts(of.Field(i).Type)
		}
	}
	return n
}
