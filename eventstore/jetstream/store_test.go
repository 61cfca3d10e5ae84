package jetstream_test

import (
	"testing"

	"rollcall/eventstore"
	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/storetest"
)

func TestStoreOnTheEmbeddedServerKeepsTheContract(t *testing.T) {
	s := embedded(t)
	storetest.Run(t, func(*testing.T) eventstore.Store { return s })
}

func TestStoreOnAClusterKeepsTheContract(t *testing.T) {
	nc := storetest.Connect(t, storetest.RunCluster(t, 3).URL())
	s, err := jetstream.Open(t.Context(), nc, jetstream.Config{Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	storetest.Run(t, func(*testing.T) eventstore.Store { return s })
}
