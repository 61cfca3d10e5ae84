package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

const (
	sendTimeout     = 15 * time.Second
	dialTimeout     = 10 * time.Second
	maxAnswerHeader = 16 << 10
	// drained is how much of an answer is read, so that its connection can be used again. It is not kept.
	drained = 16 << 10
)

// sender makes the requests of deliveries. It is safe for concurrent use.
type sender struct {
	client *http.Client
	agent  string
}

func newSender(private bool, timeout time.Duration, agent string) *sender {
	dialer := &net.Dialer{Timeout: dialTimeout}
	if !private {
		dialer.Control = onlyPublic
	}
	return &sender{agent: agent, client: &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{ // without a proxy, which would dial for us
			DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: dialTimeout,
			ForceAttemptHTTP2: true, MaxResponseHeaderBytes: maxAnswerHeader, DisableCompression: true,
			MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// close gives connections back.
func (s *sender) close() { s.client.CloseIdleConnections() }

// answer is what became of one attempt.
type answer struct {
	status int    // zero for none
	err    string // for people, empty when it was taken
	gone   bool   // the receiver wants nothing more
	// wait is how long the receiver wants to be left alone.
	wait time.Duration
}

// send makes one attempt.
func (s *sender) send(ctx context.Context, d Delivery, url, signature string, at time.Time) answer {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(d.Body))
	if err != nil {
		return answer{err: "its URL cannot be used"}
	}
	req.Header.Set("Content-Type", "application/cloudevents+json")
	req.Header.Set("User-Agent", s.agent)
	req.Header.Set("webhook-id", d.ID)
	req.Header.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
	req.Header.Set("webhook-signature", signature)
	resp, err := s.client.Do(req)
	if err != nil {
		return answer{err: sendError(err)}
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, drained)
	a := answer{status: resp.StatusCode}
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
	case resp.StatusCode == http.StatusGone:
		a.gone, a.err = true, "the receiver answered 410 Gone"
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		a.err = fmt.Sprintf("the receiver answered %d; redirects are not followed: register the address that it leads to", resp.StatusCode)
	default:
		a.err = fmt.Sprintf("the receiver answered %d", resp.StatusCode)
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 && a.err != "" {
		a.wait = time.Duration(min(seconds, int(maxAskedWait/time.Second))) * time.Second
	}
	return a
}

// maxAskedWait bounds how long a receiver can ask to be left alone.
const maxAskedWait = time.Hour

// sendError words why no answer came. Nothing of the network of the service is told.
func sendError(err error) string {
	var timeout net.Error
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	switch {
	case errors.Is(err, errNotPublic):
		return errNotPublic.Error()
	case errors.As(err, &name):
		return "its host name cannot be resolved"
	case errors.As(err, &certificate), errors.As(err, &authority):
		return "its certificate is not valid"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "the receiver did not answer in time"
	}
	return "the receiver cannot be reached, or broke the connection off"
}
