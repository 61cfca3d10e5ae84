package client

import (
	"bytes"
	"encoding/json"
)

// What the service told of a thing is kept as it wrote it, so that it is handed on whole, with the fields
// that this client does not know.

// readKept reads JSON into a thing and keeps it in raw.
func readKept(b []byte, thing any, raw *json.RawMessage) error {
	if err := json.Unmarshal(b, thing); err != nil {
		return err
	}
	*raw = bytes.Clone(b)
	return nil
}

// writeKept returns what was kept, or a thing that came from nowhere as JSON.
func writeKept(thing any, raw json.RawMessage) ([]byte, error) {
	if raw != nil {
		return raw, nil
	}
	return json.Marshal(thing)
}
