package order

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/pushd/pushd/worker"
)

// MaxItems bounds a batch.
const MaxItems = 100

// Item is one order of a batch: its publications, or why it is refused.
type Item struct {
	Verb         string
	Publications []worker.Publication
	Err          error // an *Error
}

// Batch reads {"items":[…]}, up to MaxItems orders, each with its verb as "op".
// One that is wrong is refused alone; all are, if together they are over
// MaxTargets or MaxBytes.
func Batch(f Fields, known Names) ([]Item, error) {
	for name := range f {
		if name != "items" {
			return nil, invalid(name, "unknown field %q; known are items", clip(name))
		}
	}
	var items []Item
	var budget Budget
	n, err := list(f["items"], MaxItems, func(v json.RawMessage) error {
		it := parseItem(v, known, &budget)
		var e *Error
		if errors.As(it.Err, &e) && (e.Cause == TooMany || e.Cause == TooLarge) {
			return &Error{Cause: e.Cause, Field: "items", Message: "items: " + e.Message}
		}
		items = append(items, it)
		return nil
	})
	switch {
	case errors.Is(err, errNoList):
		return nil, invalid("items", "items: must be a list of objects")
	case err == nil && n == 0, errors.Is(err, errTooMany):
		return nil, invalid("items", "items: must have 1 to %d entries", MaxItems)
	}
	return items, err
}

func parseItem(v json.RawMessage, known Names, b *Budget) (it Item) {
	f, err := Object(v)
	if err != nil {
		it.Err = &Error{Cause: Malformed, Message: "item must be an object"}
		return it
	}
	if it.Verb, err = Text(f["op"]); err != nil {
		it.Err = invalid("op", "op: must be a string")
		return it
	}
	if !Known(it.Verb) {
		it.Err = invalid("op", "unknown op %q; known are [%s]", clip(it.Verb), strings.Join(Verbs(), " "))
		return it
	}
	delete(f, "op")
	it.Publications, it.Err = Parse(it.Verb, f, known, b)
	return it
}
