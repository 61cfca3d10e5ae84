package messaging

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// lookupTimeout is how long the leader of a stream may take to answer. One that is stopped leaves a question unanswered.
const lookupTimeout = 5 * time.Second

// lastMessage asks the leader of a stream for the latest message on a subject. The sequence is zero when there
// is none. A direct get could be answered by a replica that is behind.
func lastMessage(ctx context.Context, nc *nats.Conn, stream, subject string) (data []byte, sequence uint64, err error) {
	req, err := json.Marshal(map[string]string{"last_by_subj": subject})
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	reply, err := nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, req)
	if err != nil {
		return nil, 0, fmt.Errorf("read from stream %s: %w", stream, err)
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Sequence uint64 `json:"seq"`
			Data     []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return nil, 0, fmt.Errorf("read from stream %s: %w", stream, err)
	}
	switch {
	case answer.Error == nil:
		return answer.Message.Data, answer.Message.Sequence, nil
	case answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, 0, nil
	}
	return nil, 0, fmt.Errorf("read from stream %s: %w", stream, answer.Error)
}
