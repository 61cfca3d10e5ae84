package webhook

import (
	"bytes"
	"testing"
	"time"
)

func TestSecretsThatAnotherKeyHasSealedSignAndAreSealedAnew(t *testing.T) {
	from, to := bytes.Repeat([]byte{1}, KeyBytes), bytes.Repeat([]byte{2}, KeyBytes)
	seal := func(key []byte, others ...[]byte) sealer {
		t.Helper()
		s, err := newSealer(key, others...)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	before, after, alone := seal(from), seal(to, from), seal(to)
	now := time.Now()
	r := Record{Webhook: Webhook{App: "demo", ID: "w"}}
	for range 2 {
		_, sealed := before.newSecret(r.Webhook)
		r.rotate(sealed, now)
	}
	want, err := before.sign(r, "d", now, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alone.sign(r, "d", now, []byte("{}")); err == nil {
		t.Error("a key that has not sealed them opens the secrets")
	}
	if got, err := after.sign(r, "d", now, []byte("{}")); err != nil || got != want {
		t.Errorf("beside the old key: %q, %v, want %q", got, err, want)
	}
	if changed, err := after.reseal(&r); err != nil || !changed {
		t.Fatalf("sealed anew: %t, %v", changed, err)
	}
	if got, err := alone.sign(r, "d", now, []byte("{}")); err != nil || got != want {
		t.Errorf("sealed anew, without the old key: %q, %v, want %q", got, err, want)
	}
	if changed, err := after.reseal(&r); err != nil || changed {
		t.Errorf("a second time: %t, %v", changed, err)
	}
}
