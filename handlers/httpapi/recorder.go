package httpapi

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// unreadPatience bounds how long an answer waits for a body that nobody wants.
	unreadPatience = 5 * time.Second
	// maxUnread is how much of such a body is read, in bytes, to keep the connection. net/http does the
	// same, but without a deadline.
	maxUnread = 256 << 10
	// writePart is how many bytes a client is given WriteTimeout for.
	writePart = 64 << 10
)

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// recorder remembers the status of an answer, and sees to it that no client
// keeps a connection by not sending a body or not reading an answer.
type recorder struct {
	http.ResponseWriter
	control      *http.ResponseController
	body         *requestBody  // nil when the request has none
	writeTimeout time.Duration // for each part of an answer; none when zero
	status       int
	actor        string
}

// newRecorder returns what a request is answered through, and the request with its
// body watched.
func (h *Handler) newRecorder(w http.ResponseWriter, r *http.Request) (*recorder, *http.Request) {
	rec := &recorder{ResponseWriter: w, control: http.NewResponseController(w), writeTimeout: h.WriteTimeout}
	// The request before on this connection has left its own. A server that cannot is a test's.
	_ = rec.control.SetWriteDeadline(time.Time{})
	if r.Body == nil || r.Body == http.NoBody {
		return rec, r
	}
	_ = rec.control.SetReadDeadline(time.Now().Add(h.BodyTimeout))
	rec.body = &requestBody{
		ReadCloser: r.Body, control: rec.control, patience: min(h.BodyTimeout, unreadPatience),
		long: r.ContentLength > maxUnread, awaited: strings.EqualFold(r.Header.Get("Expect"), "100-continue"),
	}
	r = r.WithContext(r.Context()) // a copy: net/http looks at the body that it made
	r.Body = rec.body
	return rec, r
}

// stream leaves the deadlines of the answer to the caller, who may read the body
// while it writes. A connection whose body is not read to the end is not used again.
func (r *recorder) stream(reads bool) {
	r.writeTimeout = 0
	if !reads {
		return // the body is settled before the answer, as of any other
	}
	if r.body != nil && !r.body.ended {
		r.body.taken = true
		r.Header().Set("Connection", "close")
	}
}

// streaming tells a recorder that an answer is a stream, see recorder.stream.
func streaming(w http.ResponseWriter, reads bool) {
	if rec, ok := w.(*recorder); ok {
		rec.stream(reads)
	}
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 {
		r.begin(status)
	}
	r.extend()
	r.ResponseWriter.WriteHeader(status)
}

// begin is called before the first byte of an answer.
func (r *recorder) begin(status int) {
	r.status = status
	if r.body != nil && !r.body.settle() {
		r.Header().Set("Connection", "close")
	}
}

// Write writes a part after the other, each of which the client must take in time.
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.begin(http.StatusOK)
	}
	written := 0
	for {
		part := b[written:min(len(b), written+writePart)]
		r.extend()
		n, err := r.ResponseWriter.Write(part)
		written += n
		if err != nil || written == len(b) {
			return written, err
		}
	}
}

func (r *recorder) extend() {
	if r.writeTimeout > 0 {
		_ = r.control.SetWriteDeadline(time.Now().Add(r.writeTimeout))
	}
}

// Flush is here because huma and others ask for it by type.
func (r *recorder) Flush() {
	if r.status == 0 {
		r.begin(http.StatusOK)
	}
	r.extend()
	_ = r.control.Flush()
}

// Unwrap gives http.ResponseController access to the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// finish is called behind the answer. net/http then reads what is left of the body, for which it
// must not wait.
func (r *recorder) finish() {
	if r.body != nil && !r.body.ended {
		_ = r.control.SetReadDeadline(longAgo)
	}
}

// requestBody is the body of a request that knows whether it has been read.
// Its deadline ends with it: net/http goes on reading, to learn whether the client leaves,
// and takes a deadline for that.
type requestBody struct {
	io.ReadCloser
	control  *http.ResponseController
	patience time.Duration
	long     bool // it is not worth reading when nobody wants it
	awaited  bool // the client sends it only when it is read
	ended    bool // it has been read to its end
	failed   bool
	taken    bool // a stream reads it beside the answer
}

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.awaited = false
	switch {
	case errors.Is(err, io.EOF):
		b.ended = true
		_ = b.control.SetReadDeadline(time.Time{})
	case err != nil:
		b.failed = true
	}
	return n, err
}

// settle reads what is left of a body before the answer begins, because many
// clients read no answer before they have sent it all. It tells whether the
// connection can be used again.
func (b *requestBody) settle() bool {
	switch {
	case b.ended:
		return true
	case b.taken, b.failed, b.long, b.awaited:
		return false
	}
	_ = b.control.SetReadDeadline(time.Now().Add(b.patience))
	_, _ = io.CopyN(io.Discard, b, maxUnread) // what comes of it is noted in b
	return b.ended
}
