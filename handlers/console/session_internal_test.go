package console

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func testSealer(t *testing.T, secret byte) sealer {
	t.Helper()
	s, err := newSealer(bytes.Repeat([]byte{secret}, minSecretBytes))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestASessionIsTakenByAllWhoShareTheSecretUntilItExpires(t *testing.T) {
	now := time.Now()
	value := testSealer(t, 1).seal(begin("the token", now))
	if strings.Contains(value, "token") {
		t.Error("the token can be read in the cookie")
	}
	got, err := testSealer(t, 1).open(value, now.Add(sessionLife-2*time.Second))
	if err != nil || got.token != "the token" {
		t.Errorf("another instance: %+v, %v", got, err)
	}
	if _, err := testSealer(t, 1).open(value, now.Add(sessionLife)); err == nil {
		t.Error("it is taken after its end")
	}
	if _, err := testSealer(t, 2).open(value, now); err == nil {
		t.Error("it is taken with another secret")
	}
}

func TestAValueThatWasTamperedWithIsNoSession(t *testing.T) {
	s, now := testSealer(t, 1), time.Now()
	value := s.seal(begin("the token", now))
	for i := range len(value) {
		other := []byte(value)
		other[i] = 'A' + (other[i]-'A'+1)%26
		if _, err := s.open(string(other), now); err == nil {
			t.Fatalf("character %d can be changed", i)
		}
	}
	for _, v := range []string{"", "x", value[:len(value)-4], value + "AAAA", strings.Repeat("A", 4096)} {
		if _, err := s.open(v, now); err == nil {
			t.Errorf("%.20q is taken", v)
		}
	}
}

func TestASessionThatIsUsedLastsAWeekAtMost(t *testing.T) {
	now := time.Now()
	v := begin("token", now)
	if _, worth := v.renewed(now.Add(sessionLife / 3)); worth {
		t.Error("it is renewed at each page")
	}
	renewals := 0
	for at := now; at.Before(v.expires); at = at.Add(time.Hour) {
		if later, worth := v.renewed(at); worth {
			v = later
			renewals++
		}
	}
	if got := v.expires.Sub(now); got != sessionLimit || renewals < 10 {
		t.Errorf("it lasts %v after %d renewals, want %v", got, renewals, sessionLimit)
	}
}

func TestASecretThatIsTooShortIsRefused(t *testing.T) {
	if _, err := newSealer(make([]byte, minSecretBytes-1)); err == nil {
		t.Error("it is taken")
	}
}

func TestALinkIsGoodOnceAndForTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l links
		first, second := l.give("a", time.Now()), l.give("b", time.Now())
		if token, ok := l.take(first, time.Now()); !ok || token != "a" {
			t.Errorf("first: %q, %t", token, ok)
		}
		if _, ok := l.take(first, time.Now()); ok {
			t.Error("it is good twice")
		}
		if _, ok := l.take("made up", time.Now()); ok {
			t.Error("a code that was not given is good")
		}
		time.Sleep(linkLife)
		if _, ok := l.take(second, time.Now()); ok {
			t.Error("it is good after its end")
		}
		if len(l.given) > 0 {
			t.Error("codes that expired are kept")
		}
	})
}

func TestNoAddressLeadsOutOfTheConsole(t *testing.T) {
	for next, want := range map[string]string{
		"": homePath, "/console/apps/a/accounts?q=%ED": "/console/apps/a/accounts?q=%ED", "https://elsewhere.example/console/": homePath,
		"//elsewhere.example/console/": homePath, "/console/\\elsewhere.example": homePath, "/v1/apps": homePath, "/console//elsewhere.example": homePath,
		"javascript:alert(1)": homePath, "/console/../v1/apps": homePath,
	} {
		if got := within(next); got != want {
			t.Errorf("%q: %q, want %q", next, got, want)
		}
	}
}
