package messaging_test

import (
	"errors"
	"testing"

	"rollcall/eventstore"
	"rollcall/handlers/messaging"
)

func TestTheLatestCheckpointIsKept(t *testing.T) {
	node := newNode(t)
	c, err := messaging.OpenCheckpoints(t.Context(), node.connect(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	if signed, at, err := c.Latest(t.Context()); signed != nil || at != 0 || err != nil {
		t.Errorf("before the first: %q at %d, %v", signed, at, err)
	}
	at := uint64(0)
	for _, text := range []string{"one\n", "two\n"} {
		if at, err = c.Publish(t.Context(), []byte(text), at); err != nil {
			t.Fatal(err)
		}
	}
	for _, behind := range []uint64{0, at - 1, at + 1} {
		if _, err := c.Publish(t.Context(), []byte("of one that does not know the latest\n"), behind); !errors.Is(err, eventstore.ErrConflict) {
			t.Errorf("publish behind %d: %v, want ErrConflict", behind, err)
		}
	}
	again, err := messaging.OpenCheckpoints(t.Context(), node.connect(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	if signed, latest, err := again.Latest(t.Context()); string(signed) != "two\n" || latest != at || err != nil {
		t.Errorf("the latest is %q at %d, %v", signed, latest, err)
	}
}
