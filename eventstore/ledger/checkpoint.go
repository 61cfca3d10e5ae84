package ledger

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"rollcall/eventstore"
)

// ErrCheckpoint means that a text is no checkpoint that the key has signed.
var ErrCheckpoint = errors.New("this is no checkpoint of the ledger")

// Checkpoint tells what the tree was at a size.
type Checkpoint struct {
	Origin string // the name of the key that signed it
	Size   uint64 // of the tree, which is the position of its last event
	Root   Hash
}

// Position returns the position of the last event that the checkpoint covers.
func (c Checkpoint) Position() eventstore.Position { return eventstore.Position(c.Size) }

func (c Checkpoint) tree() tlog.Tree { return tlog.Tree{N: int64(c.Size), Hash: c.Root} }

// Sign returns a checkpoint of the tree as a signed note: the origin, the size, the root in base64, and the signature.
func (k Key) Sign(size uint64, root Hash) ([]byte, error) {
	if k.IsZero() {
		return nil, fmt.Errorf("%w: there is none", ErrKey)
	}
	text := fmt.Sprintf("%s\n%d\n%s\n", k.signer.Name(), size, root)
	return note.Sign(&note.Note{Text: text}, k.signer)
}

// OpenCheckpoint returns the checkpoint in a signed note. One that the public key did not sign, or of another origin, is
// ErrCheckpoint; a malformed key is ErrKey.
func OpenCheckpoint(signed []byte, public string) (Checkpoint, error) {
	verifier, err := note.NewVerifier(strings.TrimSpace(public))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	n, err := note.Open(signed, note.VerifierList(verifier))
	var unknown *note.UnverifiedNoteError
	if errors.As(err, &unknown) {
		return Checkpoint{}, fmt.Errorf("%w: it is not signed by the key %s", ErrCheckpoint, verifier.Name())
	}
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	c, err := parseCheckpoint(n.Text)
	if err == nil && c.Origin != verifier.Name() {
		err = fmt.Errorf("%w: it is of %s, the key is of %s", ErrCheckpoint, c.Origin, verifier.Name())
	}
	return c, err
}

func parseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.SplitN(text, "\n", 4)
	if len(lines) < 4 {
		return Checkpoint{}, fmt.Errorf("%w: it has no origin, size and root", ErrCheckpoint)
	}
	size, err := strconv.ParseUint(lines[1], 10, 63)
	root, rerr := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || rerr != nil || len(root) != tlog.HashSize || strconv.FormatUint(size, 10) != lines[1] {
		return Checkpoint{}, fmt.Errorf("%w: its size or root cannot be read", ErrCheckpoint)
	}
	return Checkpoint{Origin: lines[0], Size: size, Root: Hash(root)}, nil
}
