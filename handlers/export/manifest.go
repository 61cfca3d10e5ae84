package export

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"rollcall/domain"
)

// ManifestVersion is the schema_version of a Manifest. It is raised when what a member means changes, not when one is added.
const ManifestVersion = 1

// Manifest tells what a file holds to those who have the file alone. It is kept beside the file, as JSON. It holds
// nothing personal: neither the user ids that were chosen nor the text that was searched for.
type Manifest struct {
	SchemaVersion int             `json:"schema_version"`
	JobID         string          `json:"job_id"`
	App           domain.AppID    `json:"app"`
	File          string          `json:"file"` // its name
	Format        Format          `json:"format"`
	Compression   Compression     `json:"compression"`
	Position      uint64          `json:"position"`        // of the log that the file shows
	AsOf          bool            `json:"as_of,omitempty"` // whether an earlier position was asked for
	Rows          int64           `json:"rows"`
	Bytes         int64           `json:"bytes"`
	SHA256        string          `json:"sha256"` // of the file as it is, in hexadecimal digits
	Fields        []ManifestField `json:"fields"`
	Filter        *ManifestFilter `json:"filter,omitempty"`     // absent where there was none
	UserCount     int             `json:"user_count,omitempty"` // how many accounts were chosen, absent where all were
	StartedAt     time.Time       `json:"started_at"`           // the attempt that wrote the file
	FinishedAt    time.Time       `json:"finished_at"`
}

// ManifestField is a column.
type ManifestField struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // text, number or time
}

// ManifestFilter tells how accounts were chosen.
type ManifestFilter struct {
	Type domain.AccountType `json:"type,omitempty"`
	Text bool               `json:"text"` // whether a text was searched for
}

// manifestSuffix is what the name of a file's manifest has behind it.
const manifestSuffix = ".manifest.json"

// manifest returns the name of a file's manifest.
func (n FileName) manifest() FileName {
	n.Name += manifestSuffix
	return n
}

// manifestOf describes the file that an attempt has written for a job.
func manifestOf(job Job, w *fileWriter, finished time.Time) Manifest {
	m := Manifest{
		SchemaVersion: ManifestVersion, JobID: job.ID, App: job.App, File: w.name.Name,
		Format: job.Spec.Format, Compression: job.Spec.Compression, Position: w.version.position, AsOf: !job.Spec.AsOf.IsZero(),
		Rows: w.rows.Load(), Bytes: w.bytes.Load(), SHA256: w.sum(), UserCount: job.Spec.UserCount,
		StartedAt: w.started.UTC(), FinishedAt: finished.UTC(),
	}
	for _, f := range job.Spec.Fields {
		m.Fields = append(m.Fields, ManifestField{Name: f.String(), Kind: kindName(f.Kind())})
	}
	if text := job.keyID != ""; text || job.Spec.Filter.Type != "" {
		m.Filter = &ManifestFilter{Type: job.Spec.Filter.Type, Text: text}
	}
	return m
}

func kindName(k domain.Kind) string {
	switch k {
	case domain.KindNumber:
		return "number"
	case domain.KindTime:
		return "time"
	}
	return "text"
}

// writeManifest keeps a manifest beside its file.
func (s *Service) writeManifest(ctx context.Context, name FileName, m Manifest) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(m); err != nil {
		return fmt.Errorf("write the manifest of %s: %w", name.Name, err)
	}
	upload, err := s.cfg.Files.Create(ctx, name.manifest())
	if err != nil {
		return fmt.Errorf("%w: begin the manifest: %w", errStore, err)
	}
	if _, err = upload.Write(b.Bytes()); err == nil {
		err = upload.Commit()
	}
	if err != nil {
		upload.Abort()
		return fmt.Errorf("%w: write the manifest: %w", errStore, err)
	}
	return nil
}

// describe keeps a manifest beside its file and signs the URLs of both for their life, which is that long from when the file was finished.
func (s *Service) describe(ctx context.Context, name FileName, m Manifest, life time.Duration) (Links, error) {
	if err := s.writeManifest(ctx, name, m); err != nil {
		return Links{}, err
	}
	links, err := s.sign(ctx, name, true, m.FinishedAt.Add(life).Sub(s.cfg.Now()))
	if err != nil {
		return Links{}, fmt.Errorf("%w: sign the download URLs: %w", errStore, err)
	}
	return links, nil
}

// remove removes a file and its manifest. Those that are not there are no error.
func (s *Service) remove(ctx context.Context, name FileName) error {
	// The file first: it is the one that must not outlive an erasure.
	for _, n := range [...]FileName{name, name.manifest()} {
		if err := s.cfg.Files.Delete(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// Links are signed URLs of what a completed job has. The zero value is of a job that has nothing to fetch.
type Links struct {
	File     string
	Manifest string // empty for a job that has none
	Until    time.Time
}

// Link mints URLs that serve the job's file and manifest. They never outlive these.
func (s *Service) Link(ctx context.Context, j Job) (Links, error) {
	now := s.cfg.Now()
	if j.Status != StatusCompleted || j.mustErase() || !now.Before(j.ExpiresAt) {
		return Links{}, nil
	}
	life := min(URLLife, j.ExpiresAt.Sub(now))
	l, err := s.sign(ctx, j.File(), j.hasManifest, life)
	if err != nil {
		return Links{}, err
	}
	l.Until = now.Add(life)
	return l, nil
}

// sign signs the URLs of a file and, where it has one, of its manifest.
func (s *Service) sign(ctx context.Context, name FileName, manifest bool, life time.Duration) (l Links, err error) {
	if l.File, err = s.cfg.Files.URL(ctx, name, life); err != nil || !manifest {
		return l, err
	}
	l.Manifest, err = s.cfg.Files.URL(ctx, name.manifest(), life)
	return l, err
}
