package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/eventstore"
	"rollcall/eventstore/ledger"
)

// auditVerifyCmd compares the log with what was signed.
type auditVerifyCmd struct {
	AllApps    bool   `help:"The whole log, all applications; for operators. Default: the events of --app; with --offline those of the file."`
	Key        string `help:"The public key, or a file that holds it. Default: the one that the service tells, which proves nothing against the service itself." placeholder:"KEY"`
	Since      string `help:"A file with an earlier checkpoint, which the log must have grown from." placeholder:"FILE"`
	Save       string `help:"Write the checkpoint to this file, once all is verified, for --since of the next time." placeholder:"FILE"`
	Offline    bool   `help:"Verify the file of a replay, without a service."`
	Replay     string `help:"With --offline: the file that audit replay --to file:FILE --proof has written." placeholder:"FILE"`
	Some       bool   `help:"With --offline: the file has only some of an account's events, such as those of a type. Default: an event that follows one that is not there is an error."`
	Checkpoint string `help:"With --offline: the checkpoint. Default: FILE.checkpoint." placeholder:"FILE"`
	Proof      string `help:"With --offline: the proof. Default: FILE.proof; a replay of the whole log needs none." placeholder:"FILE"`
}

// Run verifies.
func (c *auditVerifyCmd) Run(ctx context.Context, r *remote, s *streams) error {
	if c.Offline {
		return c.offline(ctx, s)
	}
	if c.Replay != "" || c.Checkpoint != "" || c.Proof != "" || c.Some {
		return usage("--replay, --checkpoint, --proof and --some go with --offline")
	}
	api, app, err := r.appOrAll(c.AllApps)
	if err != nil {
		return err
	}
	key, err := keyOrTold(ctx, api, s, c.Key)
	if err != nil {
		return err
	}
	signed, checkpoint, err := freshCheckpoint(ctx, api, key)
	if err != nil {
		return err
	}
	if err := c.grown(ctx, api, checkpoint, key); err != nil {
		return err
	}
	v := ledger.Verification{Checkpoint: checkpoint, Leaves: ledger.NewTiles(checkpoint, api.Tile).Leaves(), Part: app != ""}
	n, err := v.Run(ctx, c.events(ctx, api, app, checkpoint, s))
	if err != nil {
		return err
	}
	whose := "the whole log"
	if app != "" {
		whose = "the events of " + app
	}
	fmt.Fprintf(s.out, "verified: %s up to position %d, %s events, are as they were signed\n", whose, checkpoint.Size, grouped(int64(n)))
	if c.Save != "" {
		return saveCheckpoint(c.Save, signed)
	}
	return nil
}

// keyOrTold returns the key that a flag gives, or else the one that the service tells, with a word about it.
func keyOrTold(ctx context.Context, api *client.Client, s *streams, given string) (string, error) {
	key, err := publicKey(given)
	if err != nil || key != "" {
		return key, err
	}
	if key, err = api.LedgerKey(ctx); err == nil {
		fmt.Fprintf(s.err, "the key is the service's own; keep it and give it with --key the next time: %s\n", key)
	}
	return key, err
}

// publicKey returns the key that a flag gives, as text or in a file, empty for none.
func publicKey(given string) (string, error) {
	if given == "" || ledger.IsPublicKey(given) {
		return given, nil
	}
	b, err := os.ReadFile(given)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("--key %s is neither a public key, which reads name+hash+key, nor a file that holds one", given)
	}
	return string(b), err
}

// grown proves that the log grew from what was kept before.
func (c *auditVerifyCmd) grown(ctx context.Context, api *client.Client, now ledger.Checkpoint, key string) error {
	if c.Since == "" {
		return nil
	}
	then, err := checkpointIn(c.Since, key)
	if err != nil {
		return err
	}
	if then.Size > now.Size {
		return fmt.Errorf("%w: %d events were signed in %s, now there are %d: position %d is lost", eventstore.ErrDamaged, then.Size, c.Since, now.Size, now.Size+1)
	}
	_, proof, err := growth(ctx, api, then.Size, now.Size)
	if err != nil {
		return err
	}
	proof.FromRoot, proof.ToRoot = then.Root, now.Root
	if err := proof.Check(); err != nil {
		return fmt.Errorf("%w: what was signed in %s, up to position %d, is not the beginning of what is signed now: the log was written anew: %w", eventstore.ErrDamaged, c.Since, then.Size, err)
	}
	return nil
}

func hashesOf(path [][]byte) ([]ledger.Hash, error) {
	hashes := make([]ledger.Hash, len(path))
	for i, b := range path {
		if len(b) != len(ledger.Hash{}) {
			return nil, errors.New("a hash of the proof has another length")
		}
		hashes[i] = ledger.Hash(b)
	}
	return hashes, nil
}

// events yields the events that are in a checkpoint, and shows how far they have been read.
func (c *auditVerifyCmd) events(ctx context.Context, api *client.Client, app string, upTo ledger.Checkpoint, s *streams) iter.Seq2[eventstore.Envelope, error] {
	return func(yield func(eventstore.Envelope, error) bool) {
		if upTo.Size == 0 {
			return
		}
		bar := newProgress(s.err, "positions", int64(upTo.Size))
		defer bar.end()
		last := uint64(0)
		for line, err := range api.Events(ctx, app, client.EventQuery{Until: whole(upTo.Size)}) {
			var e eventstore.Envelope
			if err == nil {
				e, err = eventstore.ParseLine(line.Line)
			} else if refused := new(client.Problem); ctx.Err() == nil && !(errors.As(err, &refused) && refused.Refused()) {
				err = fmt.Errorf("the log cannot be read behind position %d: %w", last, err)
			}
			if !yield(e, err) || err != nil {
				return
			}
			last = line.Position
			bar.at(int64(last))
		}
	}
}

// offline verifies the file of a replay.
func (c *auditVerifyCmd) offline(ctx context.Context, s *streams) error {
	if c.Replay == "" || c.Key == "" || c.Since != "" || c.Save != "" || c.Some && c.AllApps {
		return usage("--offline needs --replay and --key, and takes --checkpoint, --proof, and --some or --all-apps beside them")
	}
	key, err := publicKey(c.Key)
	if err != nil {
		return err
	}
	checkpoint, err := checkpointIn(cmp.Or(c.Checkpoint, c.Replay+".checkpoint"), key)
	if err != nil {
		return err
	}
	n, extent, err := c.verifyFile(ctx, checkpoint)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "verified: %s events of %s are as they were signed, up to position %d; %s\n", grouped(int64(n)), c.Replay, checkpoint.Size, missingFrom[extent])
	return nil
}

// missingFrom tells what is known of events that may be missing from a file.
var missingFrom = map[ledger.Extent]string{
	ledger.Whole:      "none is missing",
	ledger.Continuous: "none is missing from between those of an account",
	ledger.Chosen:     "whether any is missing was not looked at",
}

// verifyFile returns how many events the file has, and which it was found to have.
func (c *auditVerifyCmd) verifyFile(ctx context.Context, checkpoint ledger.Checkpoint) (uint64, ledger.Extent, error) {
	proof, err := os.Open(cmp.Or(c.Proof, c.Replay+".proof"))
	if errors.Is(err, fs.ErrNotExist) && c.Proof == "" {
		n, err := ledger.Verification{Checkpoint: checkpoint}.Run(ctx, eventsOf(c.Replay))
		if err != nil {
			err = fmt.Errorf("without %s.proof the file must be of the whole log: %w", c.Replay, err)
		}
		return n, ledger.Whole, err
	}
	if err != nil {
		return 0, "", err
	}
	defer proof.Close()
	extent := ledger.Continuous
	switch {
	case c.AllApps:
		extent = ledger.Whole
	case c.Some:
		extent = ledger.Chosen
	}
	n, err := ledger.VerifyReplay(ctx, checkpoint, proof, eventsOf(c.Replay), extent)
	return n, extent, err
}

// eventsOf yields the events of a file.
func eventsOf(path string) iter.Seq2[eventstore.Envelope, error] {
	return func(yield func(eventstore.Envelope, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(eventstore.Envelope{}, err)
			return
		}
		defer f.Close()
		const most = 8 << 20 // more than any line
		lines := bufio.NewScanner(f)
		lines.Buffer(make([]byte, 0, 1<<16), most)
		for n := 1; lines.Scan(); n++ {
			e, err := eventstore.ParseLine(lines.Bytes())
			if err != nil {
				err = fmt.Errorf("line %d of %s: %w", n, path, err)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(eventstore.Envelope{}, fmt.Errorf("read %s: %w", path, err))
		}
	}
}

// proveReplay writes what verifies the file of a replay beside it.
func proveReplay(ctx context.Context, api *client.Client, s *streams, path string, extent ledger.Extent) error {
	key, err := api.LedgerKey(ctx)
	if err != nil {
		return err
	}
	signed, checkpoint, err := freshCheckpoint(ctx, api, key)
	if err != nil {
		return err
	}
	positions := func(yield func(eventstore.Position, error) bool) {
		for e, err := range eventsOf(path) {
			if !yield(e.Position, err) {
				return
			}
		}
	}
	proof := func(w io.Writer) error { return ledger.NewTiles(checkpoint, api.Tile).WriteProof(ctx, w, positions) }
	if err := writeFile(path+".proof", proof); err != nil {
		return err
	}
	if err := saveCheckpoint(path+".checkpoint", signed); err != nil {
		return err
	}
	flags := map[ledger.Extent]string{ledger.Whole: " --all-apps", ledger.Chosen: " --some"}
	fmt.Fprintf(s.err, "verify it without a service: rollcall audit verify --offline --replay %s%s --key %s\n", path, flags[extent], key)
	return nil
}

// freshCheckpoint returns a checkpoint that covers all that is in the log now, as it was signed and, verified by the key, as it reads.
func freshCheckpoint(ctx context.Context, api *client.Client, key string) (signed []byte, c ledger.Checkpoint, err error) {
	if signed, err = api.Checkpoint(ctx, true); err == nil {
		c, err = ledger.OpenCheckpoint(signed, key)
	}
	return signed, c, err
}

// checkpointIn returns the checkpoint in a file, verified by the key.
func checkpointIn(path, key string) (ledger.Checkpoint, error) {
	signed, err := os.ReadFile(path)
	if err != nil {
		return ledger.Checkpoint{}, err
	}
	c, err := ledger.OpenCheckpoint(signed, key)
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return c, err
}

// saveCheckpoint writes a checkpoint to a file.
func saveCheckpoint(path string, signed []byte) error {
	return writeFile(path, func(w io.Writer) error {
		_, err := w.Write(signed)
		return err
	})
}

// auditCheckpointCmd prints a checkpoint.
type auditCheckpointCmd struct {
	Latest bool `help:"The latest that was published, at once. Default: one that covers all that is in the log now."`
}

// Run prints the checkpoint as it was signed.
func (c *auditCheckpointCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, err := r.client()
	if err != nil {
		return err
	}
	signed, err := api.Checkpoint(ctx, !c.Latest)
	if err != nil {
		return err
	}
	_, err = s.out.Write(signed)
	return err
}

// auditKeyCmd prints the key.
type auditKeyCmd struct {
	New bool `help:"Make a new key, for ROLLCALL_LEDGER_KEY, and print it. It is secret; no service is asked."`
}

// Run prints the key.
func (c *auditKeyCmd) Run(ctx context.Context, r *remote, s *streams) error {
	if c.New {
		_, text, err := ledger.NewKey()
		if err == nil {
			_, err = io.WriteString(s.out, text+"\n")
		}
		return err
	}
	api, err := r.client()
	if err != nil {
		return err
	}
	key, err := api.LedgerKey(ctx)
	if err != nil {
		return err
	}
	_, err = io.WriteString(s.out, key+"\n")
	return err
}
