package listtest

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/projections/accountlist"
)

// What benchmarks of every adapter have in common, so that their figures compare.

// LoadBatch is how many events Load applies at a time.
const LoadBatch = 8192

// LoadApp is the application that Load fills.
const LoadApp domain.AppID = "bench"

// adminEvery is how many accounts of a load have one administrator among them.
const adminEvery = 50_000

// GCMSealer seals with one key, so that unsealing costs what it costs in service.
type GCMSealer struct{ aead cipher.AEAD }

// NewGCMSealer returns a sealer with a key that everyone knows.
func NewGCMSealer(b testing.TB) GCMSealer {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		b.Fatal(err)
	}
	return GCMSealer{aead}
}

// Seal seals the plaintext.
func (s GCMSealer) Seal(_ context.Context, _ string, plaintext, aad []byte) ([]byte, error) {
	return s.aead.Seal(nil, make([]byte, 12), plaintext, aad), nil
}

// Unseal returns the plaintext of what was sealed.
func (s GCMSealer) Unseal(_ context.Context, _ string, sealed, aad []byte) ([]byte, error) {
	return s.aead.Open(nil, make([]byte, 12), sealed, aad)
}

const (
	surnames  = "김이박최정강조윤장임한오서신권황안송류홍전고문양손배백허유남심노하곽성차주우구나민진지엄채원천방공현함변염여추도소석선설마길연위표명기반왕금옥육인맹제모"
	syllables = "민준서연하늘지우도윤예은수아현시후건채원유진호영성재훈정희경태상동미혜선주형석광철종대기용인규환승범찬빈율솔별봄결온새람슬빛나래"
)

// loadName returns a Korean name, common surnames more often, or sometimes one
// of another script.
func loadName(r *rand.Rand) string {
	if r.IntN(10) == 0 {
		return []string{"Alice", "Bob", "Chen", "محمد", "王小明", "😀"}[r.IntN(6)] + fmt.Sprint(r.IntN(1000))
	}
	sur, given := []rune(surnames), []rune(syllables)
	return string([]rune{sur[min(r.IntN(len(sur)), r.IntN(len(sur)))], given[r.IntN(len(given))], given[r.IntN(len(given))]})
}

// LoadAccount returns the creation of the account number i of a load.
func LoadAccount(r *rand.Rand, i int) domain.AccountCreated {
	e := domain.AccountCreated{
		App: LoadApp, UserID: domain.UserID(fmt.Sprintf("user_%07d", (uint64(i)*2654435761)%10_000_019)), Type: domain.TypeNormal,
		Profile: domain.Profile{Nickname: loadName(r), FaceURL: fmt.Sprintf("https://example.com/faces/%d.png", i), Gender: domain.GenderUnknown, Language: domain.Num(1)},
		At:      Epoch.Add(time.Duration(i) * time.Millisecond),
	}
	if i%adminEvery == 0 {
		e.Type = domain.TypeAdmin
	}
	return e
}

// LoadRandom returns what the accounts of a load are drawn from, one after another.
func LoadRandom() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// Load fills an empty list with n accounts and returns how long Apply took, and the position
// then.
func Load(b testing.TB, l accountlist.List, c *codec.Codec, n int) (took time.Duration, position eventstore.Position) {
	b.Helper()
	w := &World{List: l, Codec: c}
	r := LoadRandom()
	apply := func(events []domain.Event) {
		envelopes := w.Encode(b, w.Position, events...)
		start := time.Now()
		if err := l.Apply(b.Context(), w.Position, envelopes); err != nil {
			b.Fatal(err)
		}
		took += time.Since(start)
		w.Position += eventstore.Position(len(envelopes))
	}
	apply(NewApp(LoadApp))
	for done := 0; done < n; {
		events := make([]domain.Event, 0, LoadBatch)
		for range min(LoadBatch, n-done) {
			events = append(events, LoadAccount(r, done))
			done++
		}
		apply(events)
	}
	return took, w.Position
}

// DeepCursor returns the cursor of a page far behind, which is taken from a list of
// larger pages: a cursor does not depend on the limit.
func DeepCursor(b testing.TB, l accountlist.List, listing domain.Listing, pages int) string {
	rows := pages * listing.Limit
	for rows > 0 {
		listing.Limit = min(rows, domain.MaxListLimit)
		page, err := l.Page(b.Context(), listing)
		if err != nil {
			b.Fatal(err)
		}
		rows -= len(page.Accounts)
		listing.Cursor = page.Next
	}
	return listing.Cursor
}

// BenchPage reads one page over and over and reports percentiles in microseconds.
func BenchPage(b *testing.B, l accountlist.List, listing domain.Listing) {
	var times []time.Duration
	var page domain.Page
	for b.Loop() {
		start := time.Now()
		var err error
		if page, err = l.Page(b.Context(), listing); err != nil {
			b.Fatal(err)
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-us")
	b.ReportMetric(float64(page.Total), "total")
}

// BenchAll reads all accounts over and over.
func BenchAll(b *testing.B, l accountlist.List) {
	for b.Loop() {
		start := time.Now()
		all, _, err := All(b.Context(), l, LoadApp)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(all))/time.Since(start).Seconds(), "rows/s")
	}
}

// LoadTexts are texts to search a load for: common and rare, of one and more characters.
func LoadTexts() []string {
	return []string{"김", "홍", "민준", "김민준", "홍길", "옥봄", "왕", "王", "user", "user_00123", "99", "7", "bob12", "zzz", "없음"}
}
