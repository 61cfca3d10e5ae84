package httpapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"rollcall/handlers/httpapi"
)

// dial opens a connection on which everything must happen within seconds.
func (r *rig) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", r.Listener.Addr().String())
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	return conn
}

func TestABodyThatDoesNotComeKeepsNoConnection(t *testing.T) {
	r := newRig(t, func(c *httpapi.Config) { c.BodyTimeout = 100 * time.Millisecond })
	auth := "Authorization: Bearer " + operatorToken + "\r\n"
	for name, c := range map[string]struct {
		head   string
		status int
	}{
		"a body that nobody reads":      {"GET /healthz HTTP/1.1\r\nContent-Length: 10\r\n", 200},
		"a body half sent":              {"GET /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", 200},
		"without a token":               {"POST " + accounts + " HTTP/1.1\r\nContent-Length: 10\r\n", 401},
		"of a wrong type":               {"POST " + accounts + " HTTP/1.1\r\nContent-Type: text/html\r\nContent-Length: 10\r\n" + auth, 415},
		"too large":                     {"POST " + accounts + " HTTP/1.1\r\nContent-Length: 100000\r\n" + auth, 413},
		"far too large":                 {"POST " + accounts + " HTTP/1.1\r\nContent-Length: 100000000\r\n" + auth, 413},
		"a body that is wanted":         {"POST " + accounts + " HTTP/1.1\r\nContent-Length: 10\r\n" + auth, 408},
		"a body that waits to be asked": {"POST " + accounts + " HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 10\r\n", 401},
		"a path that is not there":      {"POST /nothing HTTP/1.1\r\nContent-Length: 10\r\n", 404},
		"an import":                     {"POST " + accounts + ":import HTTP/1.1\r\nContent-Type: application/x-ndjson\r\nContent-Length: 10\r\n" + auth, 200},
	} {
		t.Run(name, func(t *testing.T) {
			conn := r.dial(t)
			line, rest, _ := strings.Cut(c.head, "\r\n")
			_, err := fmt.Fprintf(conn, "%s\r\nHost: test\r\n%s", line, rest)
			must(t, err)
			if !strings.Contains(c.head, "\r\n\r\n") {
				_, err = io.WriteString(conn, "\r\n")
				must(t, err)
			}
			in := bufio.NewReader(conn)
			res, err := http.ReadResponse(in, nil)
			must(t, err)
			if res.StatusCode != c.status {
				t.Errorf("answered %s, want %d", res.Status, c.status)
			}
			_, err = io.Copy(io.Discard, res.Body)
			must(t, err)
			if b, err := in.ReadByte(); err != io.EOF {
				t.Errorf("the connection goes on with %q, %v", b, err)
			}
		})
	}
}

func TestAConnectionServesOnBehindABodyThatNobodyWanted(t *testing.T) {
	r := newRig(t, func(c *httpapi.Config) { c.BodyTimeout = 100 * time.Millisecond })
	conn := r.dial(t)
	in := bufio.NewReader(conn)
	e := r.order(t, `{"format":"csv"}`)
	for _, path := range []string{"/healthz", exports + "/" + e.ID, "/nothing", "/healthz"} {
		_, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer %s\r\nContent-Length: 4\r\n\r\nbody", path, operatorToken)
		must(t, err)
		res, err := http.ReadResponse(in, nil)
		must(t, err)
		if _, err := io.Copy(io.Discard, res.Body); err != nil || res.Close {
			t.Fatalf("%s: closes: %t, %v", path, res.Close, err)
		}
	}
}

func TestAStreamOutlivesTheDeadlineOfItsBody(t *testing.T) {
	r := newRig(t, func(c *httpapi.Config) {
		c.BodyTimeout, c.WriteTimeout, c.Heartbeat = 500*time.Millisecond, 500*time.Millisecond, 100*time.Millisecond
	})
	e := r.order(t, `{"format":"csv"}`)
	conn := r.dial(t)
	_, err := fmt.Fprintf(conn, "GET %s/%s/events HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer %s\r\nContent-Length: 4\r\n\r\nbody", exports, e.ID, operatorToken)
	must(t, err)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	lines := bufio.NewScanner(res.Body)
	for heartbeats := 0; heartbeats < 10; {
		if !lines.Scan() {
			t.Fatalf("the stream ended after %d heartbeats: %v", heartbeats, lines.Err())
		}
		if strings.HasPrefix(lines.Text(), ": ") {
			heartbeats++
		}
	}
}

func TestAClientThatDoesNotReadKeepsNoConnection(t *testing.T) {
	over := make(chan error, 1)
	endless := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		part := make([]byte, 1<<20)
		for {
			if _, err := w.Write(part); err != nil {
				over <- err
				return
			}
		}
	})
	r := newRig(t, func(c *httpapi.Config) {
		c.WriteTimeout, c.Downloads, c.DownloadPath = 500*time.Millisecond, endless, "/files/"
	})
	_, err := io.WriteString(r.dial(t), "GET /files/x HTTP/1.1\r\nHost: test\r\n\r\n")
	must(t, err)
	select {
	case <-over:
	case <-time.After(20 * time.Second):
		t.Fatal("the download goes on")
	}
}
