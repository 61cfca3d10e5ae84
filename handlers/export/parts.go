package export

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/klauspost/compress/s2"

	"rollcall/domain"
)

// A part holds accounts that an attempt has found, in the order of the file. It is kept in the store from when it is full until the job
// is over, so that the next attempt at the same version finds them there, not in the list and the log. Nobody
// is ever given a URL of it. It is the same for all formats: from the same accounts an encoder makes the same bytes.
//
// It begins with a SHA-256 of its name, which has the version of its form, and of all that follows.
type part struct {
	version version
	index   int
}

const (
	partNames  = "part-"          // begins the names of parts of all forms
	partPrefix = partNames + "3-" // and the version of their form
)

func (p part) name(job Job) FileName {
	return FileName{App: job.App, Job: job.ID, Name: fmt.Sprintf("%s%06d-%d-%d", partPrefix, p.index, p.version.position, p.version.erasedUntil)}
}

// partOf undoes name.
func partOf(job Job, name FileName) (p part, ok bool) {
	_, err := fmt.Sscanf(name.Name, partPrefix+"%06d-%d-%d", &p.index, &p.version.position, &p.version.erasedUntil)
	return p, err == nil && p.name(job) == name
}

// mayUse tells whether a job may go on from parts of a version: it shows the job's position, and lacks all that was deleted.
func (j Job) mayUse(v version) bool {
	want := cmp.Or(j.Spec.AsOf.Position, j.Position)
	return !j.Status.Finished() && want != 0 && v.position == want && v.erasedUntil >= max(j.recalled, v.position)
}

// tidy removes what earlier attempts at a job have left, but for parts to go on from, which it returns the version and the number of.
func (s *Service) tidy(ctx context.Context, job Job) (v version, parts int, err error) {
	var all []StoredFile
	found := make(map[version]map[int]bool)
	for f, err := range s.cfg.Files.All(ctx, job.App, job.ID) {
		if err != nil {
			return v, 0, fmt.Errorf("%w: look what an earlier attempt left: %w", errStore, err)
		}
		all = append(all, f)
		if p, ok := partOf(job, f.Name); ok && !f.Unfinished && job.mayUse(p.version) {
			if found[p.version] == nil {
				found[p.version] = make(map[int]bool)
			}
			found[p.version][p.index] = true
		}
	}
	for _, candidate := range slices.SortedFunc(maps.Keys(found), func(a, b version) int { return cmp.Compare(a.erasedUntil, b.erasedUntil) }) {
		n := 0
		for found[candidate][n] {
			n++
		}
		if n > 0 && n >= parts {
			v, parts = candidate, n
		}
	}
	for _, f := range all {
		if p, ok := partOf(job, f.Name); ok && !f.Unfinished && p.version == v && p.index < parts {
			continue
		}
		if err := s.cfg.Files.Delete(ctx, f.Name); err != nil {
			return v, 0, fmt.Errorf("%w: remove what an earlier attempt left: %w", errStore, err)
		}
	}
	return v, parts, nil
}

// removeParts removes all parts of a job that is over.
func (s *Service) removeParts(ctx context.Context, job Job) error {
	return s.removeWhere(ctx, job, func(f StoredFile) bool { return strings.HasPrefix(f.Name.Name, partNames) || f.Unfinished })
}

// removeRest removes all that a completed job has no use for: parts, and what attempts have left that were taken over.
func (s *Service) removeRest(ctx context.Context, job Job) error {
	return s.removeWhere(ctx, job, func(f StoredFile) bool { return !job.has(f.Name) })
}

// removeWhere removes what a job has in the store, as far as the test lets it through.
func (s *Service) removeWhere(ctx context.Context, job Job, test func(StoredFile) bool) error {
	for f, err := range s.cfg.Files.All(ctx, job.App, job.ID) {
		if err == nil && test(f) {
			err = s.cfg.Files.Delete(ctx, f.Name)
		}
		if err != nil {
			return fmt.Errorf("remove what is left of export %s: %w", job.ID, err)
		}
	}
	return nil
}

// dropParts removes the parts of a job that will not go on from them, now rather than when the next attempt begins.
func (s *Service) dropParts(ctx context.Context, job Job) {
	if err := s.removeParts(ctx, job); err != nil {
		s.cfg.Logger.Warn("parts of an export stay until its next attempt", "app", job.App, "job", job.ID, "error", err)
	}
}

// partBytes is how large the accounts of a part are at most, about.
const partBytes = 1 << 20

// keeper keeps what an attempt finds, in parts. It is used by one goroutine.
type keeper struct {
	service *Service
	job     Job
	next    part
	rows    int // accounts that are gone through for a part, at most about

	looked  int64
	count   uint64
	records []byte
	packed  []byte // of the part before
	last    domain.Place
	keeping chan error // of the part before, nil when there is none
	broken  bool       // a part could not be kept, so none that follows is of use
}

// add takes accounts that have been written.
func (k *keeper) add(ctx context.Context, p piece) {
	if k.broken {
		return
	}
	for i := range p.accounts {
		k.records = appendRecord(k.records, &p.accounts[i])
	}
	k.count += uint64(len(p.accounts))
	k.looked += p.looked
	if !p.last.IsZero() {
		k.last = p.last
	}
	if k.looked >= int64(k.rows) || len(k.records) >= partBytes {
		k.finish(ctx)
	}
}

// finish begins to keep a part, once the one before is kept. That it cannot be kept costs time when the attempt breaks off, and nothing else.
func (k *keeper) finish(ctx context.Context) {
	if k.wait(); k.broken {
		return
	}
	head := binary.AppendUvarint(nil, uint64(k.looked))
	head = binary.AppendUvarint(head, k.count)
	head = binary.AppendVarint(head, k.last.CreatedAt.UnixNano())
	head = binary.AppendUvarint(head, uint64(len(k.last.UserID)))
	head = append(head, k.last.UserID...)
	k.packed = s2.Encode(k.packed[:cap(k.packed)], k.records)
	name, packed, done := k.next.name(k.job), k.packed, make(chan error, 1)
	go func() { done <- k.service.keep(ctx, name, head, packed) }()
	k.keeping = done
	k.next.index++
	k.looked, k.count, k.records = 0, 0, k.records[:0]
}

// wait waits until the latest part is kept.
func (k *keeper) wait() {
	if k.keeping == nil {
		return
	}
	err := <-k.keeping
	if err != nil {
		k.broken, k.records, k.packed = true, nil, nil
	}
	if err != nil && !errors.Is(err, context.Canceled) { // the attempt is at its end
		k.service.cfg.Logger.Warn("a part of an export cannot be kept; if the worker ends it goes on from the part before", "app", k.job.App, "job", k.job.ID, "error", err)
	}
	k.keeping = nil
}

// keep keeps a part.
func (s *Service) keep(ctx context.Context, name FileName, head, packed []byte) error {
	upload, err := s.cfg.Files.Create(ctx, name)
	if err != nil {
		return err
	}
	sum := partSum(name, head, packed)
	for _, b := range [...][]byte{sum[:], head, packed} {
		if err == nil {
			_, err = upload.Write(b)
		}
	}
	if err == nil {
		err = upload.Commit()
	}
	if err != nil {
		upload.Abort()
	}
	return err
}

// partSum returns what a part begins with.
func partSum(name FileName, content ...[]byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	fmt.Fprintf(h, "%s/%s/%s\n", name.App, name.Job, name.Name)
	for _, b := range content {
		h.Write(b)
	}
	h.Sum(sum[:0])
	return sum
}

// kept yields what the parts of an earlier attempt hold. One that is damaged is removed and ends the attempt.
func (s *Service) kept(ctx context.Context, job Job, v version, parts int) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) {
		for i := range parts {
			name := part{v, i}.name(job)
			p, err := s.readPart(ctx, name)
			if errors.Is(err, errRecord) { // the next attempt goes on from the one before
				err = errors.Join(err, s.cfg.Files.Delete(ctx, name))
			}
			if err != nil {
				err = fmt.Errorf("%w: read a part of the export: %w", errStore, err)
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// readPart reads a part. errRecord when it is not what was written.
func (s *Service) readPart(ctx context.Context, name FileName) (p piece, err error) {
	file, err := s.cfg.Files.Open(ctx, name)
	if err != nil {
		return piece{}, err
	}
	defer file.Close()
	data, err := io.ReadAll(file)
	if err != nil {
		return piece{}, err
	}
	if len(data) < sha256.Size || partSum(name, data[sha256.Size:]) != [sha256.Size]byte(data) {
		return piece{}, errRecord
	}
	data = data[sha256.Size:]
	head := records{left: string(data)}
	p.looked = int64(head.number())
	n := head.number()
	p.last = domain.Place{CreatedAt: head.time(), UserID: domain.UserID(head.text())}
	if data, err = s2.Decode(nil, data[len(data)-len(head.left):]); err != nil || head.failed {
		return piece{}, errors.Join(errRecord, err)
	}
	r := records{left: string(data)}
	for i := uint64(0); i < n && !r.failed; i++ {
		p.accounts = append(p.accounts, r.account(name.App))
	}
	if r.failed || r.left != "" {
		return piece{}, errRecord
	}
	return p, nil
}
