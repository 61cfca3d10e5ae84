package service

import (
	"testing"

	"rollcall/eventstore"
)

func TestACommandMayBeOnDiskUntilTheQueueWasEmptyOrHasMovedOnByAFile(t *testing.T) {
	t.Parallel()
	var d decided
	for i, c := range []struct {
		what    string
		log     eventstore.Position
		queue   queue
		through eventstore.Position
		waits   bool
	}{
		{"what was before the start is not known", 10, queue{waiting: 1, first: 5, last: 5}, 0, true},
		{"the queue is empty", 20, queue{first: 6, last: 5}, 20, false},
		{"one waits", 30, queue{waiting: 1, first: 6, last: 6}, 20, true},
		{"others were decided, and it still waits", 40, queue{waiting: 1, first: 6, last: 10 * blockOfCommands}, 20, true},
		{"the queue has moved on by less than a file", 50, queue{waiting: 1, first: blockOfCommands, last: 10 * blockOfCommands}, 20, true},
		{"the queue has moved on by a file", 60, queue{waiting: 1, first: blockOfCommands + 7, last: 10 * blockOfCommands}, 30, true},
		{"the log was read before another look", 55, queue{first: 10*blockOfCommands + 1, last: 10 * blockOfCommands}, 55, false},
		{"a position is not gone back from", 54, queue{first: 10*blockOfCommands + 1, last: 10 * blockOfCommands}, 55, false},
	} {
		d.see(c.log, c.queue)
		if s := d.standing(); s.Place != commandsPlace || s.Through != c.through || (s.Waits != "") != c.waits {
			t.Errorf("%d, %s: %+v", i, c.what, s)
		}
	}
}
