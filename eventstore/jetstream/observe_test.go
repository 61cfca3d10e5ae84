package jetstream_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"rollcall/eventstore"
	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/storetest"
)

func TestEachAcknowledgedWriteIsToldWithItsSize(t *testing.T) {
	var mu sync.Mutex
	var told []jetstream.Commit
	nc := storetest.Connect(t, storetest.RunServer(t))
	s, err := jetstream.Open(t.Context(), nc, jetstream.Config{Observe: func(c jetstream.Commit) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, c)
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const appends = 200
	var wg sync.WaitGroup
	for i := range appends {
		wg.Go(func() {
			one := eventstore.Proposal{Event: storetest.Event(eventstore.Account("app", fmt.Sprintf("u%d", i)), "c")}
			two := eventstore.Proposal{Event: storetest.Event(eventstore.Account("app", fmt.Sprintf("v%d", i)), "c")}
			if _, err := s.Append(t.Context(), one, two); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	stale := eventstore.Proposal{Event: storetest.Event(eventstore.Account("app", "u0"), "c")}
	if _, err := s.Append(t.Context(), stale); err == nil {
		t.Error("an append with a stale guard succeeded")
	}
	mu.Lock()
	defer mu.Unlock()
	var all jetstream.Commit
	for _, c := range told {
		all.Appends += c.Appends
		all.Events += c.Events
	}
	if want := (jetstream.Commit{Appends: appends, Events: 2 * appends}); all != want {
		t.Errorf("the writes that were told of have %+v in all, want %+v", all, want)
	}
	if len(told) == appends {
		t.Error("no two appends shared a write")
	}
}

func TestTheLogTellsWhenItTookAnEventIn(t *testing.T) {
	s := embedded(t)
	before := time.Now()
	at, err := s.Append(t.Context(), eventstore.Proposal{Event: storetest.Event(eventstore.Account("app", "u"), "c")})
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := s.Recorded(t.Context(), at[0])
	if err != nil || recorded.Before(before) || recorded.After(time.Now()) {
		t.Errorf("it was taken in at %s (%v), appended from %s on", recorded, err, before)
	}
	if _, err := s.Recorded(t.Context(), at[0]+1); err == nil {
		t.Error("the log tells the time of an event that it does not have")
	}
}

func TestTheDoorCountsThoseWhoCameInByIt(t *testing.T) {
	s := startServer(t, everything)
	if n := s.Clients(); n != 0 {
		t.Errorf("%d clients though nobody has connected", n)
	}
	first, _ := outsider(t, s)
	outsider(t, s)
	storetest.Eventually(t, "two clients are there", func() bool { return s.Clients() == 2 })
	first.Close()
	storetest.Eventually(t, "one client is left", func() bool { return s.Clients() == 1 })
}
