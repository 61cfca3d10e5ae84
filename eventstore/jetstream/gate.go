package jetstream

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
)

// gate is the listener of the embedded server. It hands connections on to the server and
// looks at one thing that the server's permissions do not cover: the subjects
// that a client has others publish on. Whoever answers a request publishes on the client's
// reply subject with rights of their own, be it Rollcall or JetStream with an
// acknowledgement; a push consumer publishes on the client's deliver subject. Without the gate any client
// could so write into the log, unguarded.
type gate struct {
	listener net.Listener
	dial     func() (net.Conn, error)
	log      *slog.Logger

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
	work   sync.WaitGroup
}

// openGate listens on a host:port and hands each connection on to one that dial makes.
func openGate(listen string, dial func() (net.Conn, error), log *slog.Logger) (*gate, error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", listen, err)
	}
	g := &gate{listener: l, dial: dial, log: log, conns: make(map[net.Conn]struct{})}
	g.work.Go(g.accept)
	return g, nil
}

func (g *gate) accept() {
	for {
		outer, err := g.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			g.log.Warn("a connection to the log failed", "error", err)
			continue
		}
		inner, err := g.dial()
		if err != nil {
			_ = outer.Close()
			continue
		}
		if !g.add(outer, inner) {
			return
		}
		g.work.Go(func() {
			defer g.remove(outer, inner)
			_, _ = io.Copy(outer, inner) // ends with either connection
		})
		g.work.Go(func() {
			defer g.remove(outer, inner)
			if err := filter(inner, outer); errors.Is(err, errForbidden) {
				g.log.Warn("a client of the log was cut off", "remote", outer.RemoteAddr().String(), "error", err)
				_, _ = fmt.Fprintf(outer, "-ERR 'Permissions Violation for Publish with Reply: %s'\r\n", err)
			}
		})
	}
}

// add keeps the connections to close them with the gate. It closes them at once when that is closed.
func (g *gate) add(conns ...net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range conns {
		if g.closed {
			_ = c.Close()
		} else {
			g.conns[c] = struct{}{}
		}
	}
	return !g.closed
}

func (g *gate) remove(conns ...net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(g.conns, c)
	}
}

// close cuts all connections and waits for what serves them.
func (g *gate) close() error {
	g.mu.Lock()
	g.closed = true
	err := g.listener.Close()
	for c := range g.conns {
		_ = c.Close()
	}
	g.mu.Unlock()
	g.work.Wait()
	return err
}

// errForbidden means that a client wants others to publish where it must not.
var errForbidden = errors.New("forbidden subject to answer on")

// maxLine bounds a line of the protocol, as the server does by default with a margin for CONNECT.
const maxLine = 64 << 10

// filter copies what a client sends, in the NATS client protocol, until it
// ends or one of its publications has a forbidden subject to be answered on.
func filter(to io.Writer, from io.Reader) error {
	in, out := bufio.NewReaderSize(from, maxLine), bufio.NewWriterSize(to, maxLine)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		p, err := parsePublication(line)
		if err != nil {
			return err
		}
		if forbidden(p.reply) {
			return fmt.Errorf("%w: reply %q", errForbidden, p.reply)
		}
		if _, err := out.Write(line); err != nil {
			return err
		}
		if err := forward(out, in, p); err != nil {
			return err
		}
		if in.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
}

// forward copies the payload of a publication with the line end behind it.
func forward(out io.Writer, in io.Reader, p publication) error {
	if !p.is {
		return nil
	}
	if !strings.HasPrefix(p.subject, "$JS.API.CONSUMER.") {
		_, err := io.CopyN(out, in, int64(p.size)+2)
		return err
	}
	payload := make([]byte, p.size+2)
	if _, err := io.ReadFull(in, payload); err != nil {
		return err
	}
	// The server reads the request with the same package, so that both see the same in it.
	var request struct {
		Config struct {
			DeliverSubject string `json:"deliver_subject"`
		} `json:"config"`
	}
	if err := json.Unmarshal(payload[p.header:p.size], &request); err == nil && forbidden(request.Config.DeliverSubject) {
		return fmt.Errorf("%w: deliver subject %q", errForbidden, request.Config.DeliverSubject)
	}
	_, err := out.Write(payload)
	return err
}

// forbidden tells whether nobody may be made to publish on a subject: those of
// Rollcall and of the server. What a client listens on for answers is neither.
func forbidden(subject string) bool {
	return strings.HasPrefix(subject, "accounts.") || strings.HasPrefix(subject, "$")
}

// publication is a line of the protocol that publishes, or is false.
type publication struct {
	is             bool
	subject, reply string
	header, size   int // bytes of the header, and of header and payload
}

var errProtocol = errors.New("malformed publication")

// parsePublication reads PUB subject [reply] size and HPUB subject [reply] header-size size.
func parsePublication(line []byte) (publication, error) {
	verb, _, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(" "))
	verb, _, _ = bytes.Cut(verb, []byte("\t"))
	sizes := 1
	switch strings.ToUpper(string(verb)) {
	case "PUB":
	case "HPUB":
		sizes = 2
	default:
		return publication{}, nil
	}
	args := strings.FieldsFunc(string(line[len(verb):]), func(r rune) bool { return strings.ContainsRune(" \t\r\n", r) })
	if len(args) != sizes+1 && len(args) != sizes+2 {
		return publication{}, errProtocol
	}
	p := publication{is: true, subject: args[0]}
	if len(args) == sizes+2 {
		p.reply = args[1]
	}
	var err error
	if p.size, err = strconv.Atoi(args[len(args)-1]); err != nil || p.size < 0 || p.size > maxPayload+maxLine {
		return publication{}, errProtocol
	}
	if sizes == 2 {
		if p.header, err = strconv.Atoi(args[len(args)-2]); err != nil || p.header < 0 || p.header > p.size {
			return publication{}, errProtocol
		}
	}
	return p, nil
}
