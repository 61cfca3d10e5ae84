package files

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"path"

	"gocloud.dev/gcerrors"

	"rollcall/handlers/export"
)

const (
	cacheControl = "private, no-store"
	jsonType     = "application/json"
)

// contentType returns the media type of a file by the end of its name: as registered with IANA and, where
// nothing is, what is commonly sent. A compressed file is served as what it is, for its hash is of
// the compressed bytes.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".csv":
		return "text/csv; charset=utf-8" // RFC 4180 section 3
	case ".ndjson":
		return "application/x-ndjson"
	case ".xlsx":
		return "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
	case ".parquet":
		return "application/vnd.apache.parquet"
	case ".gz":
		return "application/gzip" // RFC 6713
	case ".zst":
		return "application/zstd" // RFC 8878 section 7.1
	case ".json":
		return jsonType
	}
	return "application/octet-stream"
}

func disposition(name string) string {
	return mime.FormatMediaType("attachment", map[string]string{"filename": name})
}

// ServeHTTP serves the file that a signed URL stands for to GET and HEAD, with ranges (RFC 9110
// section 14) and conditions (section 13). It answers 403 with the code
// invalid_signature or url_expired, 410 export_expired when the file has been
// removed, 405 to other methods. It is to be mounted at PathPrefix.
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", cacheControl)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		problem(w, http.StatusMethodNotAllowed, "method_not_allowed", "a file is fetched with GET")
		return
	}
	if s.signer == nil {
		problem(w, http.StatusNotFound, "not_found", "files are served by the store itself; follow the download_url of the export")
		return
	}
	name, err := s.signer.verify(r.URL, s.now())
	switch {
	case errors.Is(err, errURLExpired):
		problem(w, http.StatusForbidden, "url_expired", "this URL has expired; read the export again for a new one")
	case err != nil:
		problem(w, http.StatusForbidden, "invalid_signature", "this URL is not one that was given out; read the export for its download_url")
	default:
		s.serve(w, r, name)
	}
}

func (s *Store) serve(w http.ResponseWriter, r *http.Request, name export.FileName) {
	attrs, err := s.bucket.Attributes(r.Context(), key(name))
	if err != nil {
		fileProblem(w, err)
		return
	}
	body, err := s.bucket.NewReader(r.Context(), key(name), nil)
	if err != nil {
		fileProblem(w, err)
		return
	}
	defer body.Close()
	h := w.Header()
	h.Set("Content-Type", contentType(name.Name))
	h.Set("Content-Disposition", disposition(name.Name))
	if attrs.ETag != "" {
		h.Set("ETag", attrs.ETag)
	}
	http.ServeContent(w, r, "", attrs.ModTime, body)
}

func fileProblem(w http.ResponseWriter, err error) {
	if gcerrors.Code(err) == gcerrors.NotFound {
		problem(w, http.StatusGone, "export_expired", "the file of this export has been removed; order a new export")
		return
	}
	problem(w, http.StatusServiceUnavailable, "store_unavailable", "the file cannot be read at the moment; try again")
}

// problem answers with RFC 9457 problem details.
func problem(w http.ResponseWriter, status int, code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	// A client that has gone away needs no answer.
	_ = json.NewEncoder(w).Encode(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Code   string `json:"code"`
		Detail string `json:"detail"`
	}{"about:blank", http.StatusText(status), status, code, detail})
}
