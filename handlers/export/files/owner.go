package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/aws/smithy-go"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"rollcall/handlers/export"
)

// markKey is that of the mark that tells whose the store is. It stands beside the folders of the applications.
const markKey = "rollcall.json"

// maxMarkBytes bounds what is read of a mark.
const maxMarkBytes = 4096

// mark is what is in the store of its owner.
type mark struct {
	Owner string `json:"owner"`
	Note  string `json:"note"`
}

const markNote = "The files here are of one Rollcall, which removes those that it does not need any more. Another one is refused."

// errTaken is wrapped with the owner that the mark names.
var errTaken = fmt.Errorf("%w; give each a folder, a bucket or a prefix of its own. Where the owner is no more, or this one was restored from a backup, remove %s from the store",
	export.ErrStoreTaken, markKey)

// Claim makes the store its owner's, for good, or tells that it is another's: export.ErrStoreTaken. All that reads or changes the store does so first, so
// that an error of another kind, such as that the store is away, needs no care.
func (s *Store) Claim(ctx context.Context) error {
	if s.owner == "" || s.claimed.Load() {
		return nil
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	owner, err := s.readMark(ctx)
	if gcerrors.Code(err) == gcerrors.NotFound {
		if err = s.writeMark(ctx); err == nil {
			owner, err = s.readMark(ctx) // that of another one who wrote it at the same moment, perhaps
		}
	}
	if err != nil {
		return fmt.Errorf("find out whose the store of exports is: %w", s.explain(ctx, err))
	}
	if owner != s.owner {
		return fmt.Errorf("%w: it is of %q, this is %q", errTaken, owner, s.owner)
	}
	s.claimed.Store(true)
	return nil
}

// readMark returns the owner that the mark names.
func (s *Store) readMark(ctx context.Context) (string, error) {
	r, err := s.bucket.NewReader(ctx, markKey, nil)
	if err != nil {
		return "", err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, maxMarkBytes))
	if err != nil {
		return "", err
	}
	var m mark
	if err := json.Unmarshal(data, &m); err != nil || m.Owner == "" {
		return "", fmt.Errorf("%w: there is a %s that names no owner", errTaken, markKey)
	}
	return m.Owner, nil
}

// writeMark writes the mark unless there is one, which is no error.
func (s *Store) writeMark(ctx context.Context) error {
	data, err := json.Marshal(mark{Owner: s.owner, Note: markNote})
	if err != nil {
		return err
	}
	err = s.writeWhole(ctx, data, &blob.WriterOptions{ContentType: jsonType, IfNotExist: true})
	var refused smithy.APIError
	switch {
	case gcerrors.Code(err) == gcerrors.FailedPrecondition:
		return nil
	case errors.As(err, &refused) && refused.ErrorCode() == "NotImplemented": // by a store that takes no conditions
		return s.writeWhole(ctx, data, &blob.WriterOptions{ContentType: jsonType})
	}
	return err
}

func (s *Store) writeWhole(ctx context.Context, data []byte, opts *blob.WriterOptions) error {
	u, err := s.write(ctx, markKey, opts)
	if err != nil {
		return err
	}
	defer u.Abort()
	if _, err := u.Write(data); err != nil {
		return err
	}
	return u.Commit()
}
