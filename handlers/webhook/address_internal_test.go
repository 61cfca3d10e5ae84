package webhook

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestOnlyAddressesThatAnybodyCouldReachArePublic(t *testing.T) {
	for address, want := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "2606:4700:4700::1111": true, "::ffff:8.8.8.8": true,
		"0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "100.64.0.1": false, "100.127.255.255": false, "127.0.0.1": false, "127.1.2.3": false,
		"169.254.169.254": false, "172.16.0.1": false, "192.168.1.1": false, "192.0.0.192": false, "198.18.0.1": false, "203.0.113.9": false,
		"224.0.0.1": false, "255.255.255.255": false, "240.0.0.1": false, "168.63.129.16": false,
		"::": false, "::1": false, "::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::7f00:1": false, "64:ff9b::7f00:1": false, "64:ff9b:1::1": false,
		"fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "fd00:ec2::254": false, "fec0::1": false, "ff02::1": false,
		"2001:db8::1": false, "2002:7f00:1::1": false, "2001:0:7f00:1::": false, "100::1": false,
	} {
		if got := isPublic(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s is public: %t, want %t", address, got, want)
		}
	}
}

// A name is judged by what it leads to when it is dialled, whatever it led to before.
func TestANameThatLeadsToLoopbackIsNotDialled(t *testing.T) {
	var asked atomic.Int32
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer receiver.Close()
	byName := strings.Replace(receiver.URL, "127.0.0.1", "localhost", 1)
	s := newSender(false, 10*time.Second, "test")
	defer s.close()
	for _, url := range []string{receiver.URL, byName, strings.Replace(receiver.URL, "127.0.0.1", "[::ffff:127.0.0.1]", 1)} {
		if a := s.send(t.Context(), Delivery{ID: "1"}, url, "v1,x", time.Now()); a.err != errNotPublic.Error() || a.status != 0 {
			t.Errorf("a request to %s: %+v", url, a)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
	private := newSender(true, 10*time.Second, "test")
	defer private.close()
	if a := private.send(t.Context(), Delivery{ID: "1"}, byName, "v1,x", time.Now()); a.err != "" || asked.Load() != 1 {
		t.Errorf("where private addresses are allowed: %+v", a)
	}
}
