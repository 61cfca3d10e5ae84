package httpapi_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"rollcall/domain"
	"rollcall/handlers/access"
	"rollcall/handlers/audit"
	"rollcall/handlers/httpapi"
)

// playedLedger is a ledger of seven events, played by hand; the real one is tested by the service.
type playedLedger struct{}

func (playedLedger) Key() string { return "ledger+00000000+AAAA" }

func (playedLedger) Checkpoint(ctx context.Context, fresh bool) ([]byte, uint64, error) {
	return fmt.Appendf(nil, "ledger\n7\nAAAA\n\n— ledger fresh=%t\n", fresh), 7, nil
}

func (playedLedger) Inclusion(_ context.Context, position, size uint64) (httpapi.InclusionProof, error) {
	return httpapi.InclusionProof{Position: position, Size: size, LeafHash: []byte{1}, Path: [][]byte{{2}}}, ahead(size)
}

func (playedLedger) Consistency(_ context.Context, from, to uint64) (httpapi.ConsistencyProof, error) {
	return httpapi.ConsistencyProof{From: from, To: to, Path: [][]byte{}}, ahead(to)
}

func (playedLedger) Tile(_ context.Context, path string) ([]byte, error) {
	switch path {
	case "tile/0/x001/234":
		return bytes.Repeat([]byte{7}, 8192), nil
	case "tile/0/000.p/7":
		return []byte{1, 2, 3}, nil
	}
	return nil, nil
}

func ahead(size uint64) error {
	if size > 7 {
		return &domain.Rejection{Code: audit.CodeFuture, Detail: "the ledger is at position 7"}
	}
	return nil
}

func TestAnAuditorGetsCheckpointsProofsAndTiles(t *testing.T) {
	r := newRig(t)
	token := r.token(t, access.Auditor, "demo")
	get := func(path string) answer {
		t.Helper()
		return r.call(t, request{method: "GET", path: "/v1/ledger/" + path, token: token})
	}
	var key httpapi.LedgerKey
	if get("key").status(t, 200).json(t, &key); key.Key != "ledger+00000000+AAAA" {
		t.Errorf("the key is %q", key.Key)
	}
	for query, want := range map[string]string{"": "fresh=false", "?fresh=true": "fresh=true"} {
		a := get("checkpoint"+query).status(t, 200)
		if a.Header.Get("Content-Type") != "text/plain; charset=utf-8" || !bytes.Contains(a.body, []byte("ledger\n7\n")) || !bytes.Contains(a.body, []byte(want)) {
			t.Errorf("the checkpoint%s is %q of %s", query, a.body, a.Header.Get("Content-Type"))
		}
	}
	var included httpapi.InclusionProof
	if get("inclusion?position=3").status(t, 200).json(t, &included); included.Position != 3 || included.Size != 7 || len(included.Path) != 1 {
		t.Errorf("the proof is %+v", included)
	}
	var grown httpapi.ConsistencyProof
	if get("consistency?from=0&to=5").status(t, 200).json(t, &grown); grown.From != 0 || grown.To != 5 {
		t.Errorf("the proof is %+v", grown)
	}
	for path, code := range map[string]domain.Code{
		"inclusion?position=8": domain.CodeInvalid, "inclusion": domain.CodeInvalid, "inclusion?position=0": domain.CodeInvalid, "inclusion?position=3&size=9": audit.CodeFuture,
		"consistency?from=6&to=5": domain.CodeInvalid, "consistency": domain.CodeInvalid, "consistency?from=1&to=9": audit.CodeFuture,
	} {
		get(path).problem(t, 422, code)
	}
	if a := get("tile/0/x001/234").status(t, 200); len(a.body) != 8192 || a.Header.Get("Cache-Control") != "private, max-age=31536000, immutable" {
		t.Errorf("a whole tile is %d bytes, to be cached as %q", len(a.body), a.Header.Get("Cache-Control"))
	}
	if a := get("tile/0/000.p/7").status(t, 200); len(a.body) != 3 || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("a part of a tile is %d bytes, to be cached as %q", len(a.body), a.Header.Get("Cache-Control"))
	}
	for _, path := range []string{"tile/0/001", "tile/", "tile/x", "tile/0/000.p/7/8"} {
		get(path).problem(t, 404, "not_found")
	}
	viewer := r.token(t, access.Viewer, "demo")
	for _, path := range []string{"key", "checkpoint", "tile/0/000.p/7"} {
		r.call(t, request{method: "GET", path: "/v1/ledger/" + path, token: viewer}).problem(t, 403, "forbidden")
		r.call(t, request{method: "GET", path: "/v1/ledger/" + path, token: "-"}).problem(t, 401, "unauthenticated")
	}
}
