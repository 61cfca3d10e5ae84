package messaging_test

import (
	"sync"
	"testing"

	"rollcall/eventstore/storetest"
	"rollcall/handlers/messaging"
)

func TestInstancesThatStartAtOnceOnANewClusterOpenTheSameStreamsAndBuckets(t *testing.T) {
	var opening sync.WaitGroup
	begin := make(chan struct{})
	for range 3 {
		for _, js := range connectEach(t, storetest.RunCluster(t, 3)) {
			opening.Go(func() {
				<-begin
				if _, err := messaging.OpenState(t.Context(), js, 3); err != nil {
					t.Errorf("open a bucket: %v", err)
				}
				if _, err := messaging.OpenOutcomes(t.Context(), js, 3); err != nil {
					t.Errorf("open a stream: %v", err)
				}
			})
		}
	}
	close(begin)
	opening.Wait()
}
