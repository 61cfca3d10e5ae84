package storetest

import (
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"

	"rollcall/eventstore"
)

// eventType is the type of the events that the suite writes. The log knows no types.
const eventType = "storetest.counted.v1"

// Event returns an event of an aggregate, made by a command.
func Event(id eventstore.AggregateID, commandID string) eventstore.Envelope {
	return eventstore.Envelope{
		ID: ulid.Make().String(), Type: eventType, Aggregate: id, Time: time.Now().UTC(),
		Actor: "storetest", CommandID: commandID, Data: []byte("{}"),
	}
}

// counted returns an event that holds a number.
func counted(id eventstore.AggregateID, commandID string, n int) eventstore.Envelope {
	e := Event(id, commandID)
	e.Data = []byte(strconv.Itoa(n))
	return e
}
