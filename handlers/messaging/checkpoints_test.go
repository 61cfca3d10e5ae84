package messaging_test

import (
	"testing"

	"rollcall/handlers/messaging"
)

func TestTheLatestCheckpointIsKept(t *testing.T) {
	node := newNode(t)
	c, err := messaging.OpenCheckpoints(t.Context(), node.connect(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	if signed, err := c.Latest(t.Context()); signed != nil || err != nil {
		t.Errorf("before the first: %q, %v", signed, err)
	}
	for _, text := range []string{"one\n", "two\n"} {
		if err := c.Publish(t.Context(), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	again, err := messaging.OpenCheckpoints(t.Context(), node.connect(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	if signed, err := again.Latest(t.Context()); string(signed) != "two\n" || err != nil {
		t.Errorf("the latest is %q, %v", signed, err)
	}
}
